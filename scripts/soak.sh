#!/usr/bin/env bash
# Ten million calls, or as many as are asked for, on keys that come and go, in a server whose
# memory is watched: none may stay behind. Takes some minutes, so it is no part of test.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh server libclang </dev/null
cargo build --release -p redis-rl
exec python3 scripts/memory/soak.py "$@"
