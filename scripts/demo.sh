#!/usr/bin/env bash
# Installs what is missing, builds, and runs the demo. Its options are the demo's: try --help.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
"$root/scripts/setup.sh" server libclang
cargo build --quiet --release --package redis-rl --manifest-path "$root/Cargo.toml"
cargo build --quiet --package redis-rl-demo --manifest-path "$root/Cargo.toml"
exec "$root/target/debug/demo" "$@"
