#!/usr/bin/env bash
# Breaks the pure code (src/limits) in every way that cargo-mutants knows, one at a time, and lists
# what its own tests do not see. It takes some two hours on one core, so it is run by hand.
#
#   scripts/mutants.sh                             all of it
#   scripts/mutants.sh -f src/limits/rate.rs       one file; any flag of cargo-mutants' own
#
# What is equal to the code as it stands is listed in .cargo/mutants.toml, each with its argument.
set -euo pipefail
cd "$(dirname "$0")/.."
version=27.1.0
tool=target/mutants-tool

if [[ $("$tool/bin/cargo-mutants" mutants --version 2>/dev/null) != "cargo-mutants $version" ]]; then
  cargo install --quiet --locked --root "$tool" --version "$version" cargo-mutants
fi
# So few cases of each property see nearly all; a mutant may ask for all memory there is.
export PROPTEST_CASES=${PROPTEST_CASES:-64}
ulimit -v 8000000
PATH=$PWD/$tool/bin:$PATH exec nice -n 19 cargo mutants --package redis-rl-limits \
  --timeout 60 --output target/mutants "$@"
