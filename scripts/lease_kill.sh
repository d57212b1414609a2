#!/usr/bin/env bash
# Hundreds of processes that take slots and are killed at random, for ten minutes, or as many
# processes and seconds as are named: never more at work than slots, and every slot comes back.
#   scripts/lease_kill.sh [PROCESSES [SECONDS]]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh server libclang </dev/null
cargo build --release -p redis-rl
export REDIS_RL_LEASE_KILL="${1:-300},${2:-600}"
exec cargo test -p redis-rl-tests --test server lease_kill::killed -- --nocapture
