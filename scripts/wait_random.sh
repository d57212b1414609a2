#!/usr/bin/env bash
# Callers that wait for random times, from a millisecond on, while others unblock and kill them, with
# and without I/O threads: for ten minutes, or as many callers and seconds as are named.
#   scripts/wait_random.sh [CALLERS [SECONDS]]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh server libclang </dev/null
cargo build --release -p redis-rl
export REDIS_RL_WAIT_RANDOM="${1:-60},${2:-600}"
exec cargo test -p redis-rl-tests --test server wait::random::random -- --nocapture
