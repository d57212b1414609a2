#!/usr/bin/env bash
# Tests the packages for Python and Node against a real server. scripts/setup.sh clients installs what
# they need, and the module must be built: cargo build --release -p redis-rl
#
#   scripts/clients/test.sh [python] [node]
set -euo pipefail
cd "$(dirname "$0")/../.."

test_python() {
  local python=$PWD/target/clients/py/bin/python
  rm -rf target/clients/wheel
  "$python" -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation \
    -w target/clients/wheel scripts/clients/python
  (
    cd scripts/clients/python
    export PYTHONPATH=. PYTHONDONTWRITEBYTECODE=1
    "$python" -m mypy --config-file pyproject.toml --cache-dir ../../../target/clients/mypy redis_rl
    "$python" -m pytest
  )
}

test_node() {
  npm pack --silent --dry-run ./scripts/clients/node >/dev/null
  node --test --test-force-exit --test-timeout=120000 scripts/clients/node/tests/
}

if (($# == 0)); then
  set -- python node
fi
for language in "$@"; do
  case $language in
    python) test_python ;;
    node) test_node ;;
    *)
      echo "usage: scripts/clients/test.sh [python] [node]" >&2
      exit 2
      ;;
  esac
done
