#!/usr/bin/env bash
# Runs the fuzzer, and tests of code that it does not reach, on servers that are watched: no invalid
# access, no leak. Takes some minutes.
#
#   scripts/memcheck.sh [CALLS]            under valgrind
#   scripts/memcheck.sh address [CALLS]    with an address sanitizer, in the module and in a Redis that is
#                                          built for it from Debian's sources; on Debian
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$PWD/target/address

# Redis with the sanitizer, which takes the place of its allocator.
redis_for_addresses() {
  local apt=$folder/apt options
  [[ ! -x $folder/redis/src/redis-server ]] || return 0
  # shellcheck source=scripts/release/debian.sh
  source scripts/release/debian.sh
  rm -rf "$folder/redis"
  mkdir -p "$apt"/{lists,cache/archives}/partial "$folder/redis"
  echo "deb-src $(debian_mirror) bookworm main" >"$apt/sources.list"
  options=(-q -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=-
    -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache")
  apt-get "${options[@]}" update
  (cd "$apt" && apt-get "${options[@]}" source --download-only redis)
  tar -xf "$apt"/redis_*.orig.tar.gz -C "$folder/redis" --strip-components=1
  make -s -C "$folder/redis/src" SANITIZER=address BUILD_TLS=no USE_SYSTEMD=no OPTIMIZATION=-O1 redis-server
}

if [[ ${1:-} == address ]]; then
  shift
  scripts/setup.sh server libclang make </dev/null
  redis_for_addresses
  host=$(rustc -vV | sed -n 's/^host: //p')
  # A stable compiler allows the sanitizer only with RUSTC_BOOTSTRAP.
  RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address \
    cargo build --release -p redis-rl --target "$host" --target-dir "$folder"
  export REDIS_RL_SERVER=$folder/redis/src/redis-server REDIS_RL_MODULE=$folder/$host/release/libredis_rl.so
  # A report ends its server, so the test fails; leaks are reported when a server is shut down, which tests
  # then do with each of theirs.
  rm -f "$folder"/report.*
  trap 'compgen -G "$folder/report.*" >/dev/null && cat "$folder"/report.*' EXIT
  export ASAN_OPTIONS=log_path=$folder/report
else
  scripts/setup.sh server libclang valgrind </dev/null
  cargo build --release -p redis-rl
  export REDIS_RL_VALGRIND=1
fi
export REDIS_RL_FUZZ_CALLS=${1:-20000}
cargo test -p redis-rl-tests --test fuzz
# Without the tests that count on a fast server or fill its memory.
cargo test -p redis-rl-tests --test server -- all:: docs:: errors:: holds:: load::failed load::module load::renamed \
  memory::noeviction mtake:: scripts::take_in top:: wait::ends wait::model wait::order
! compgen -G "$folder/report.*"
