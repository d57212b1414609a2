#!/usr/bin/env bash
# Sets everything up and runs all checks and tests, on every server that is supported.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh </dev/null
servers=$(scripts/servers.sh)

cargo fmt --all -- --check
cargo clippy --workspace --all-targets -- -D warnings
cargo build --release -p redis-rl
scripts/panics.py
scripts/memcheck.sh
scripts/fuzz.sh 30
cargo test --workspace --no-fail-fast

status=0 results=""
while read -r name path; do
  echo "== the server tests on $name: $path"
  if REDIS_RL_SERVER=$path cargo test -p redis-rl-tests --test server </dev/null; then
    results+="$name: passed"$'\n'
  else
    results+="$name: FAILED"$'\n'
    status=1
  fi
done <<<"$servers"
printf '\n%s' "$results"
exit "$status"
