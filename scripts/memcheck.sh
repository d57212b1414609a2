#!/usr/bin/env bash
# Runs the fuzzer, and the tests of what it does not reach, on servers under valgrind: no invalid
# access, no leak. Takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh server libclang valgrind </dev/null
cargo build --release -p redis-rl
export REDIS_RL_VALGRIND=1 REDIS_RL_FUZZ_CALLS=${1:-20000}
cargo test -p redis-rl-tests --test fuzz
# Without the tests that count on a fast server or fill its memory.
cargo test -p redis-rl-tests --test server -- all:: docs:: errors:: holds:: load::failed load::module load::renamed \
  memory::noeviction mtake:: scripts::take_in top:: wait::ends wait::model wait::order
