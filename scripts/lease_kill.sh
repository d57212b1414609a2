#!/usr/bin/env bash
# Kills hundreds of processes that take slots, at random, for ten minutes: never may more be at work than
# there are slots, and every slot must be free in the end.
#
#   scripts/lease_kill.sh [PROCESSES [SECONDS]]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh server libclang </dev/null
cargo build --release -p redis-rl
export REDIS_RL_LEASE_KILL="${1:-300},${2:-600}"
exec cargo test -p redis-rl-tests --test server lease_kill::killed -- --nocapture
