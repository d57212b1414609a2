#!/usr/bin/env bash
# Fuzzes the rate's parser and the bucket's arithmetic, guided by coverage, for so many seconds
# (60). What it found worth keeping lies in target/fuzz/corpus; what failed, in target/fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
scripts/setup.sh libclang c++ </dev/null

host=$(rustc -vV | sed -n 's/^host: //p')
# What cargo-fuzz passes, less the sanitizer, which would need a nightly toolchain: there is no
# unsafe code here for it to watch.
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
# With a target named, what runs during the build is not instrumented.
RUSTFLAGS="--cfg fuzzing $(tr '\n' ' ' <<<"$coverage")" cargo build --quiet --release \
  --manifest-path scripts/fuzz/Cargo.toml --target-dir target/fuzz --target "$host"
mkdir -p target/fuzz/corpus
target/fuzz/"$host"/release/arithmetic -dict=scripts/fuzz/words.dict -max_len=120 \
  -artifact_prefix=target/fuzz/ -max_total_time="$seconds" -print_final_stats=1 target/fuzz/corpus
