#!/usr/bin/env bash
# Sets everything up and runs the checks and tests:
#
#   scripts/test.sh          all of them, on every supported server
#   scripts/test.sh quick    format, lints, properties, and the server tests on the installed Redis
#
# tests/README.md says how to run one test, one seed or one server.
set -euo pipefail
cd "$(dirname "$0")/.."

quick() {
  scripts/setup.sh server libclang faketime clients </dev/null
  cargo fmt --all -- --check
  scripts/arrows.py
  cargo clippy --workspace --all-targets -- -D warnings
  cargo build --release -p redis-rl
  cargo test -p redis-rl-limits --no-fail-fast
  cargo test -p redis-rl-tests --test server --no-fail-fast
}

whole() {
  scripts/setup.sh </dev/null
  local servers
  servers=$(scripts/servers.sh)

  cargo fmt --all -- --check
  scripts/arrows.py
  cargo clippy --workspace --all-targets -- -D warnings
  RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items
  scripts/rust_version.py
  cargo build --release -p redis-rl
  scripts/panics.py
  scripts/memcheck.sh
  scripts/fuzz.sh 30
  cargo test --workspace --exclude redis-rl-tests --no-fail-fast
  scripts/clients/test.sh
  cargo test -p redis-rl-tests --test fuzz
  on_every_server "$servers"
}

on_every_server() {
  local status=0 results="" name path
  while read -r name path; do
    echo "== the server tests on $name: $path"
    if REDIS_RL_SERVER=$path cargo test -p redis-rl-tests --test server --no-fail-fast </dev/null; then
      results+="$name: passed"$'\n'
    else
      results+="$name: FAILED"$'\n'
      status=1
    fi
  done <<<"$1"
  printf '\n%s' "$results"
  return "$status"
}

case ${1:-whole} in
  quick) quick ;;
  whole) whole ;;
  *)
    echo "usage: scripts/test.sh [quick]" >&2
    exit 2
    ;;
esac
