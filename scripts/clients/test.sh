#!/usr/bin/env bash
# Tests the packages for Python and Node against a real server. scripts/setup.sh clients installs what
# they need, and the module must be built: cargo build --release -p redis-rl
#
#   scripts/clients/test.sh [python] [node]
#   scripts/clients/test.sh limits            by hand: the strategy tests that `limits` publishes
set -euo pipefail
cd "$(dirname "$0")/../.."

limits=limits==5.8.0

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
  node --test --test-force-exit --test-timeout=600000 scripts/clients/node/tests/
}

# Some measure seconds, so they need a machine that is not busy.
test_limits() {
  local python=$PWD/target/clients/py/bin/python folder=$PWD/target/clients/limits
  rm -rf "$folder"
  mkdir -p "$folder"
  "$python" -m pip download -q --disable-pip-version-check --no-deps --no-binary :all: -d "$folder" "$limits"
  "$python" -m pip install -q --disable-pip-version-check pytest-asyncio==1.5.0
  tar -xzf "$folder"/limits-*.tar.gz --strip-components 1 -C "$folder"
  rm "$folder/pytest.ini" "$folder/tests/conftest.py"
  cp scripts/clients/python/limits_suite/conftest.py "$folder/"
  sed -i "s|^HERE = .*|HERE = Path(\"$PWD/scripts/clients/python/limits_suite\")|" "$folder/conftest.py"
  (
    cd "$folder"
    PYTHONPATH=$OLDPWD/scripts/clients/python "$python" -m pytest -q -W ignore \
      tests/test_strategy.py tests/aio/test_strategy.py
  )
}

if (($# == 0)); then
  set -- python node
fi
for language in "$@"; do
  case $language in
    python) test_python ;;
    node) test_node ;;
    limits) test_limits ;;
    *)
      echo "usage: scripts/clients/test.sh [python] [node] [limits]" >&2
      exit 2
      ;;
  esac
done
