#!/usr/bin/env bash
# Builds redis-cell in target/redis-cell, once, and prints the library's path. The tests compare its
# CL.THROTTLE with ours.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.2.2 # The newest version on crates.io.
dir=$PWD/target/redis-cell/$version

library() { find "$dir/build/release" -maxdepth 1 -name 'libredis_cell.*' ! -name '*.d' 2>/dev/null; }

if [[ -z $(library) ]]; then
  # Cargo does not build a loadable library from a dependency, but it unpacks the sources.
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
  # The warnings of this old code are not ours.
  RUSTFLAGS="--cap-lints allow" cargo build --quiet --release \
    --manifest-path "$dir/source/Cargo.toml" --target-dir "$dir/build" >&2
fi
library
