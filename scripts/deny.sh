#!/usr/bin/env bash
# Checks the crates in the build: licences, bans, duplicates, sources (.cargo/deny.toml). Installs
# cargo-deny into target/ the first time, which takes minutes; therefore it is not part of test.sh.
#
#   scripts/deny.sh [advisories]
#
# With `advisories` it also looks for known vulnerabilities, in a database on GitHub.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
if ! target/deny/bin/cargo-deny --version 2>/dev/null | grep -qx "cargo-deny $version"; then
  cargo install cargo-deny --version "$version" --locked --root target/deny
fi
target/deny/bin/cargo-deny check licenses bans sources "$@"
