#!/usr/bin/env bash
# Installs what is missing, builds, and runs the demo. Its options are the demo's: try --help.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
"$root/scripts/setup.sh" server libclang
cargo build --quiet --release --lib --manifest-path "$root/Cargo.toml"
cargo build --quiet --example demo --manifest-path "$root/Cargo.toml"
exec "$root/target/debug/examples/demo" "$@"
