#!/usr/bin/env bash
# Changes the code in one place at a time and lists the changes that no test notices. Run by hand: it
# takes hours.
#
#   scripts/mutants.sh                             the pure code (src/limits), by its own tests
#   scripts/mutants.sh -f src/limits/rate.rs       one file; any flag of cargo-mutants' own
#   scripts/mutants.sh module [--jobs 2] [files]   the rest, by the server tests and the fuzzer
#
# The pure code is changed in every way that cargo-mutants knows; equivalent mutants are listed in
# .cargo/mutants.toml, each with its justification. The rest is changed by scripts/mutants.
set -euo pipefail
cd "$(dirname "$0")/.."
version=27.1.0
tool=target/mutants-tool

# A mutant may allocate all memory.
ulimit -v 8000000
if [[ ${1:-} == module ]]; then
  exec nice -n 19 python3 scripts/mutants/module.py "${@:2}"
fi
if [[ $("$tool/bin/cargo-mutants" mutants --version 2>/dev/null) != "cargo-mutants $version" ]]; then
  cargo install --quiet --locked --root "$tool" --version "$version" cargo-mutants
fi
# This number of cases per property kills nearly all mutants.
export PROPTEST_CASES=${PROPTEST_CASES:-64}
PATH=$PWD/$tool/bin:$PATH exec nice -n 19 cargo mutants --package redis-rl-limits \
  --timeout 60 --output target/mutants "$@"
