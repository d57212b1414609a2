#!/usr/bin/env bash
# Makes ten million calls, or the given number, on keys that come and go, and checks that the
# server's memory does not grow. Takes some minutes, so it is not part of test.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh server libclang </dev/null
cargo build --release -p redis-rl
exec python3 scripts/memory/soak.py "$@"
