#!/usr/bin/env bash
# Runs every command of the module in a server under valgrind: no invalid access, no leak. Takes
# half a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh server libclang valgrind </dev/null
cargo build --release -p redis-rl
exec python3 scripts/memory/memcheck.py
