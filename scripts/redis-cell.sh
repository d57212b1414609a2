#!/usr/bin/env bash
# Builds redis-cell, whose command CL.THROTTLE the tests compare with ours, in target/redis-cell,
# once, and prints the library's path.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.2.2 # The newest that is published as a crate.
dir=$PWD/target/redis-cell/$version

library() { find "$dir/build/release" -maxdepth 1 -name 'libredis_cell.*' ! -name '*.d' 2>/dev/null; }

if [[ -z $(library) ]]; then
  # Cargo builds no library of a dependency that a server could load, but it unpacks the sources.
  rm -rf "$dir"
  mkdir -p "$dir/fetch/src"
  : >"$dir/fetch/src/lib.rs"
  cat >"$dir/fetch/Cargo.toml" <<TOML
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"
[dependencies]
redis-cell = "=$version"
[workspace]
TOML
  cargo fetch --quiet --manifest-path "$dir/fetch/Cargo.toml"
  sources=$(cargo metadata --format-version 1 --offline --manifest-path "$dir/fetch/Cargo.toml" |
    grep -oE '"manifest_path":"[^"]*/redis-cell-[^"/]*/Cargo.toml"' | cut -d'"' -f4)
  cp -r "$(dirname "$sources")" "$dir/source"
  # What runs is code for tests, as old as it is: its warnings are nobody's business here.
  RUSTFLAGS="--cap-lints allow" cargo build --quiet --release \
    --manifest-path "$dir/source/Cargo.toml" --target-dir "$dir/build" >&2
fi
library
