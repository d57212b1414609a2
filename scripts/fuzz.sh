#!/usr/bin/env bash
# Fuzzes the parsers of limits, and the arithmetic of buckets and windows, guided by coverage, each
# for the given number of seconds (60). Interesting inputs are kept in target/fuzz/corpus and
# target/fuzz/corpus-windows, failures in target/fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
scripts/setup.sh libclang c++ </dev/null

host=$(rustc -vV | sed -n 's/^host: //p')
# The flags of cargo-fuzz without the sanitizer, which needs a nightly toolchain: there is no unsafe
# code here to check.
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
# With an explicit target, build scripts are not instrumented.
RUSTFLAGS="--cfg fuzzing $(tr '\n' ' ' <<<"$coverage")" cargo build --quiet --release \
  --manifest-path scripts/fuzz/Cargo.toml --target-dir target/fuzz --target "$host"
fuzz() {
  local target=$1 corpus=target/fuzz/$2 longest=$3
  mkdir -p "$corpus"
  target/fuzz/"$host"/release/"$target" -dict=scripts/fuzz/words.dict -max_len="$longest" \
    -artifact_prefix=target/fuzz/ -max_total_time="$seconds" -print_final_stats=1 "$corpus"
}
fuzz arithmetic corpus 120
# Seven numbers, and a sliding window's 153 bytes.
fuzz windows corpus-windows 240
