#!/usr/bin/env bash
# Replaces the module a hundred times, or as often as is named, under 30 clients that reconnect and
# wait, on each server.
#   scripts/wait_upgrade.sh [TIMES]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh server libclang </dev/null
cargo build --release -p redis-rl
export REDIS_RL_WAIT_UPGRADES="${1:-100}"
scripts/servers.sh | while read -r name server; do
  echo "$name"
  REDIS_RL_SERVER=$server cargo test -p redis-rl-tests --test server wait::upgrade -- --nocapture </dev/null
done
