#!/usr/bin/env bash
# Sets everything up and runs the checks and tests:
#
#   scripts/test.sh              all of them, on every supported server
#   scripts/test.sh quick        format, lints, properties, and the server tests on the installed Redis
#
# or a part of them, as the jobs of continuous integration do:
#
#   scripts/test.sh checks       format, lints, documentation, the module's build
#   scripts/test.sh packages     the tests of every package except the module's
#   scripts/test.sh server NAME  the server tests on one server: installed, redis-6.2, valkey-9.1, …
#
# tests/README.md explains how to run one test, one seed or one server.
set -euo pipefail
cd "$(dirname "$0")/.."

quick() {
  scripts/setup.sh server libclang faketime clients </dev/null
  formats_and_lints
  cargo build --release -p redis-rl
  cargo test -p redis-rl-limits --no-fail-fast
  cargo test -p redis-rl-tests --test server --no-fail-fast
}

formats_and_lints() {
  cargo fmt --all -- --check
  scripts/arrows.py
  scripts/words.sh
  cargo clippy --workspace --all-targets -- -D warnings
}

checks() {
  scripts/setup.sh cc libclang </dev/null
  formats_and_lints
  RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items
  scripts/rust_version.py
  cargo build --release -p redis-rl
  scripts/panics.py
}

packages() {
  scripts/setup.sh </dev/null
  cargo build --release -p redis-rl
  cargo test --workspace --exclude redis-rl-tests --no-fail-fast
  scripts/clients/test.sh
}

whole() {
  scripts/setup.sh </dev/null
  local servers
  servers=$(scripts/servers.sh)

  checks
  scripts/memcheck.sh
  scripts/fuzz.sh 30
  packages
  on_servers "$servers"
}

# The server tests on one server, and the fuzzer.
server() {
  scripts/setup.sh server libclang faketime clients </dev/null
  local servers
  servers=$(scripts/servers.sh)
  cargo build --release -p redis-rl
  if [[ $1 == installed ]]; then
    servers=$(head -n 1 <<<"$servers")
  else
    servers=$(grep "^$1 " <<<"$servers")
  fi
  on_servers "$servers"
}

# The fuzzer on one server: for a minute on Debian's, which does not start with a clock of its own.
# Redis 6.2 cannot be asked when a key expires, so only leases are fuzzed there.
fuzzed() {
  local what=() settings=(REDIS_RL_FUZZ_SECONDS=10 REDIS_RL_FUZZ_CLOCK=1)
  case $1 in
    redis-7.0) settings=() ;;
    redis-6.2) what=(leases::) ;;
  esac
  env REDIS_RL_SERVER="$2" "${settings[@]}" \
    cargo test -p redis-rl-tests --test fuzz "${what[@]}" </dev/null
}

on_servers() {
  local status=0 results="" name path
  while read -r name path; do
    echo "== the server tests on $name: $path"
    if REDIS_RL_SERVER=$path cargo test -p redis-rl-tests --test server --no-fail-fast </dev/null &&
      fuzzed "$name" "$path"; then
      results+="$name: passed"$'\n'
    else
      results+="$name: FAILED"$'\n'
      status=1
    fi
  done <<<"$1"
  printf '\n%s' "$results"
  return "$status"
}

case ${1:-whole}/$# in
  quick/1 | checks/1 | packages/1 | server/2 | whole/[01]) "${@:-whole}" ;;
  *)
    echo "usage: scripts/test.sh [quick | checks | packages | server NAME]" >&2
    exit 2
    ;;
esac
