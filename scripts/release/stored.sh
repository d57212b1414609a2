#!/usr/bin/env bash
# Moves what older builds of the module stored to this one, and back, on every server (stored.py):
#
#   scripts/release/stored.sh [COMMIT]...
#
# Without names: the last commit of version 0.1, and the one before the checked-out commit. By hand;
# each commit is built, which takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."
last_of_0_1=259965b
scripts/setup.sh server libclang clients </dev/null
servers=$(scripts/servers.sh)
cargo build --release -p redis-rl
(($# > 0)) || set -- "$last_of_0_1" HEAD~1

folder=$PWD/target/tmp/stored
mkdir -p "$folder"
for commit in "$@"; do
  commit=$(git rev-parse --short "$commit^{commit}")
  old=$folder/$commit.so
  if [[ ! -e $old ]]; then
    rm -rf "$folder/sources"
    mkdir "$folder/sources"
    git archive "$commit" | tar --extract --directory "$folder/sources"
    (cd "$folder/sources" && CARGO_TARGET_DIR=$folder/target cargo build --release --locked -p redis-rl --lib)
    cp "$folder/target/release/libredis_rl.so" "$old"
  fi
  while read -r name server; do
    echo "== $commit on $name"
    target/clients/py/bin/python scripts/release/stored.py "$old" "$PWD/target/release/libredis_rl.so" "$server" </dev/null
  done <<<"$servers"
done
