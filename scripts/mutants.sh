#!/usr/bin/env bash
# Mutates the code in every way that cargo-mutants knows, one mutant at a time, and lists the
# survivors. Run by hand: it takes hours.
#
#   scripts/mutants.sh                             the pure code (src/limits), by its own tests
#   scripts/mutants.sh -f src/limits/rate.rs       one file; any flag of cargo-mutants' own
#   scripts/mutants.sh module [--jobs 2] [flags]   the rest, by the quick server tests
#
# Equivalent mutants are listed in .cargo/mutants.toml, each with its justification.
set -euo pipefail
cd "$(dirname "$0")/.."
version=27.1.0
tool=target/mutants-tool

if [[ $("$tool/bin/cargo-mutants" mutants --version 2>/dev/null) != "cargo-mutants $version" ]]; then
  cargo install --quiet --locked --root "$tool" --version "$version" cargo-mutants
fi
# A mutant may allocate all memory.
ulimit -v 8000000
if [[ ${1:-} == module ]]; then
  exec nice -n 19 python3 scripts/mutants/module.py "${@:2}"
fi
# This number of cases per property kills nearly all mutants.
export PROPTEST_CASES=${PROPTEST_CASES:-64}
PATH=$PWD/$tool/bin:$PATH exec nice -n 19 cargo mutants --package redis-rl-limits \
  --timeout 60 --output target/mutants "$@"
