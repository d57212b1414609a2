#!/usr/bin/env bash
# Installs the named components if they are missing; without names, all except make and the last two:
#
#   scripts/setup.sh [--check] [server|cc|libclang|c++|make|faketime|valgrind|clients|prometheus|browser|release|qemu]...
#
# With --check it installs nothing, but fails if a package is missing.
#
#   server      redis-server and redis-cli
#   cc          what the demo's build needs
#   libclang    what the module's build needs
#   c++         a compiler for what the fuzzer's build needs
#   make        builds a Redis with an address sanitizer
#   faketime    moves a server's clock in tests
#   valgrind    watches a server's memory
#   clients     redis-py, node-redis and ioredis, web frameworks and test tools, in target/clients
#   prometheus  scrapes the demo and, through redis_exporter, a server in tests
#   browser     Chromium opens the demo's page in tests; what drives it, in target/clients
#   release     makes folders with a Debian of their own, looks into libraries, fetches from PyPI
#   qemu        runs arm64 programs
set -euo pipefail
cd "$(dirname "$0")/.."

python_packages="redis==8.1.0 fastapi==0.165.0 uvicorn==0.54.0 flask==3.1.3 flit_core==4.2.0 limits==5.8.0 mypy==2.4.1 pytest==9.2.0"
node_packages="redis@6.3.1 ioredis@6.0.0 express@5.3.0 express-rate-limit@8.7.5 fastify@5.12.8 rate-limiter-flexible@11.4.0"
browser_packages="playwright-core@1.65.1 axe-core@4.14.1"

have() { command -v "$1" >/dev/null; }
any_file() { compgen -G "$1" >/dev/null; }

fail() {
  echo "setup: $*" >&2
  exit 1
}

# The library alone is not enough: the package also has the compiler's own headers.
has_libclang() {
  [[ -n ${LIBCLANG_PATH:-} ]] ||
    { any_file '/usr/lib/llvm-*/lib/libclang*.so*' &&
      any_file '/usr/lib/llvm-*/lib/clang/*/include/stddef.h'; } ||
    { any_file '/usr/lib*/libclang*.so*' && any_file '/usr/lib/clang/*/include/stddef.h'; } ||
    any_file '/Library/Developer/CommandLineTools/usr/lib/libclang.dylib' ||
    any_file '/Applications/Xcode.app/Contents/Developer/Toolchains/*/usr/lib/libclang.dylib' ||
    any_file '/usr/local/opt/llvm*/lib/libclang.dylib' ||
    any_file '/opt/homebrew/opt/llvm*/lib/libclang.dylib'
}

has_faketime() {
  any_file '/usr/lib/*/faketime/libfaketime.so.1' ||
    any_file '/usr/lib*/faketime/libfaketime.so.1' ||
    any_file '/usr/local/lib/faketime/libfaketime*' ||
    any_file '/opt/homebrew/lib/faketime/libfaketime*'
}

has_venv() { have python3 && python3 -c 'import venv, ensurepip' 2>/dev/null; }

# The package of each component in each registry.
apt=() brew=()
missing() {
  case $1 in
    cc) apt+=(gcc libc6-dev) ;; # macOS has it with the command line tools, as Rust needs them.
    c++) apt+=(g++) ;;
    make) apt+=(make) ;; # Only on Debian.
    redis) apt+=(redis-server redis-tools) brew+=(redis) ;;
    libclang) apt+=(libclang-dev) brew+=(llvm) ;;
    faketime) apt+=(faketime) brew+=(libfaketime) ;;
    valgrind) apt+=(valgrind) ;; # Not available for current Macs.
    python) apt+=(python3 python3-venv) brew+=(python3) ;;
    node) apt+=(nodejs) brew+=(node) ;;
    npm) apt+=(npm) ;; # Part of Node elsewhere.
    prometheus) apt+=(prometheus) brew+=(prometheus) ;;
    exporter) apt+=(prometheus-redis-exporter) ;; # Homebrew has none.
    # Without a font a page has no text.
    chromium) apt+=(chromium fonts-dejavu-core) brew+=(chromium) ;;
    mmdebstrap) apt+=(mmdebstrap debian-archive-keyring) ;;
    binutils) apt+=(binutils) ;;
    qemu) apt+=(qemu-user-static) ;;
  esac
}

look_for() {
  case $1 in
    server) { have redis-server && have redis-cli; } || missing redis ;;
    cc) have cc || missing cc ;;
    libclang)
      has_libclang || missing libclang
      have cc || missing cc
      ;;
    c++) have c++ || missing c++ ;;
    make) have make || missing make ;;
    faketime) has_faketime || missing faketime ;;
    valgrind) have valgrind || missing valgrind ;;
    clients)
      has_venv || missing python
      have node || missing node
      have npm || missing npm
      ;;
    prometheus)
      { have prometheus && have promtool; } || missing prometheus
      have prometheus-redis-exporter || missing exporter
      ;;
    browser)
      have chromium || missing chromium
      have node || missing node
      have npm || missing npm
      ;;
    release)
      have mmdebstrap || missing mmdebstrap
      have readelf || missing binutils
      has_venv || missing python
      ;;
    qemu) have qemu-aarch64-static || missing qemu ;;
    *) fail "no such thing: $1; known are $known make release qemu" ;;
  esac
}

as_root() {
  if ((EUID == 0)); then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    fail "root or sudo is needed; or as root, once: apt-get install ${apt[*]}"
  fi
}

install_with_apt() {
  as_root apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "${apt[@]}"
  # These packages start a server of their own, which is not wanted.
  local service
  for service in redis-server prometheus prometheus-redis-exporter; do
    if [[ " ${apt[*]} " == *" $service "* && -d /run/systemd/system ]]; then
      as_root systemctl disable --now "$service"
    fi
  done
}

install_missing() {
  if ((${#apt[@]} == 0)); then
    return
  fi
  echo "setup: missing: ${apt[*]} (by their names in Debian)"
  if have apt-get; then
    install_with_apt
  elif have brew && ((${#brew[@]} > 0)); then
    brew install "${brew[@]}"
  else
    fail "neither apt-get nor brew is here; please install by hand what Debian calls: ${apt[*]}"
  fi
}

client_libraries() {
  local py=target/clients/py node=target/clients/node
  # The examples import this repository's package by its name.
  mkdir -p "$node/node_modules"
  ln -sfn "$PWD/scripts/clients/node" "$node/node_modules/redis-rl"
  if [[ $(cat target/clients/versions 2>/dev/null) == "$python_packages $node_packages" ]]; then
    return
  fi
  mkdir -p "$node"
  python3 -m venv --clear "$py"
  # shellcheck disable=SC2086 # One argument a package.
  "$py/bin/python" -m pip install -q --disable-pip-version-check $python_packages
  # shellcheck disable=SC2086
  npm install --silent --no-audit --no-fund --prefix "$node" $node_packages
  ln -sfn "$PWD/scripts/clients/node" "$node/node_modules/redis-rl" # npm removes what it did not install.
  echo "$python_packages $node_packages" >target/clients/versions
}

browser_driver() {
  local folder=target/clients/browser
  if [[ $(cat "$folder/version" 2>/dev/null) == "$browser_packages" ]]; then
    return
  fi
  mkdir -p "$folder"
  # shellcheck disable=SC2086
  npm install --silent --no-audit --no-fund --prefix "$folder" $browser_packages
  echo "$browser_packages" >"$folder/version"
}

known="server cc libclang c++ faketime valgrind clients prometheus browser"
have cargo || fail "Rust is missing: install it from https://rustup.rs, then start again"
check=no
if [[ ${1:-} == --check ]]; then
  check=yes
  shift
fi
if (($# == 0)); then
  # shellcheck disable=SC2086 # One argument a word.
  set -- $known
fi
for thing in "$@"; do look_for "$thing"; done
if [[ $check == yes ]]; then
  ((${#apt[@]} == 0))
  exit
fi
install_missing
if [[ " $* " == *" clients "* ]]; then
  client_libraries
fi
if [[ " $* " == *" browser "* ]]; then
  browser_driver
fi
