#!/usr/bin/env bash
# Installs missing packages, builds, and runs the demo with the given options: try --help. With
# --module FILE, --redis URL or --store memory the module is not built.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

say() { printf '\n== %s\n' "$*" >&2; }

build() { cargo build --manifest-path "$root/Cargo.toml" "$@"; }

# Needed by the module's build and the demo's own server, but not by the demo's build.
needed=(server libclang) own_module=yes
for argument in "$@"; do
  case $argument in
    --module | --module=*) needed=(server) own_module=no ;;
    --redis | --redis=* | --store=memory | memory | --help | -h | --version | -V)
      needed=() own_module=no
      break
      ;;
  esac
done
if [[ -n ${REDIS_URL:-} ]]; then
  needed=() own_module=no
fi

"$root/scripts/setup.sh" cc
packages=
if ((${#needed[@]})) && ! "$root/scripts/setup.sh" --check "${needed[@]}"; then
  say "Fetching packages for: ${needed[*]} (about a minute the first time), while the demo is built"
  "$root/scripts/setup.sh" "${needed[@]}" &
  packages=$!
fi
say "Building the demo (about half a minute the first time)"
build --package redis-rl-demo
if [[ -n $packages ]]; then
  say "Waiting for the packages"
  wait "$packages"
fi
if [[ $own_module == yes ]]; then
  say "Building the module (about half a minute the first time)"
  build --release --package redis-rl
fi
say "Starting; Ctrl-C ends it"
exec "$root/target/debug/demo" "$@"
