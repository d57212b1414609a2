#!/usr/bin/env bash
# Sets everything up and runs all checks and tests.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v redis-server >/dev/null || ! ls /usr/lib/llvm-*/lib/libclang*.so* >/dev/null 2>&1; then
  apt-get update -q && apt-get install -y -q redis-server redis-tools libclang-dev
fi
cargo fmt --all -- --check
cargo clippy --all-targets -- -D warnings
cargo build --release
cargo test
