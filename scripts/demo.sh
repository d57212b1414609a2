#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release
exec redis-server --loadmodule target/release/libredis_rl.so
