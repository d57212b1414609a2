#!/usr/bin/env bash
# Installs what is missing, builds, and runs the demo, with a Redis of its own unless it is given one:
#
#   scripts/demo.sh [--module FILE] [--redis-server PROGRAM] [the demo's options]
#
# The demo's options are listed by --help. With --module FILE, --redis URL or --store memory no module
# is built.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

say() { printf '\n== %s\n' "$*" >&2; }

module="" server=redis-server own=yes arguments=()
while (($#)); do
  case $1 in
    --module=* | --redis-server=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
    --module | --redis-server)
      [[ $1 == --module ]] && module=${2:?} || server=${2:?}
      shift 2
      ;;
    *)
      case $1 in
        --redis | --redis=* | --store=memory | memory | --help | -h | --version | -V) own=no ;;
      esac
      arguments+=("$1")
      shift
      ;;
  esac
done
if [[ -n ${REDIS_URL:-} ]]; then
  own=no
fi

# One build of one profile, so that the module and the demo share the crates that both need.
packages=(-p redis-rl-demo) needed=()
if [[ $own == yes ]]; then
  needed=(server)
  if [[ -z $module ]]; then
    packages+=(-p redis-rl) needed+=(libclang)
  fi
fi
build() { cargo build --manifest-path "$root/Cargo.toml" "${packages[@]}" "$@"; }

"$root/scripts/setup.sh" cc
if ((${#needed[@]})) && ! "$root/scripts/setup.sh" --check "${needed[@]}"; then
  say "Fetching packages for: ${needed[*]}; meanwhile, building what does not need them"
  "$root/scripts/setup.sh" "${needed[@]}" &
  fetching=$!
  # The module's bindings fail without libclang; --keep-going builds everything else.
  build --keep-going --quiet 2>/dev/null || true
  wait "$fetching"
fi
say "Building (about a minute the first time)"
build
program=$root/target/debug/demo
if [[ $own == no ]]; then
  say "Starting; Ctrl-C ends it"
  exec "$program" ${arguments[@]+"${arguments[@]}"}
fi

folder=$(mktemp -d)
if [[ -z $module ]]; then
  module=$(compgen -G "$root/target/debug/libredis_rl.[ds]*[bo]" | head -1)
fi
say "Starting $server and the demo; Ctrl-C ends both"
# Each has a process group of its own, so that Ctrl-C reaches only this script. It passes a signal on
# once, to the demo, which ends before its Redis; a second signal would end the demo at once.
set -m
"$server" --port 0 --unixsocket "$folder/redis.sock" --dir "$folder" --save "" --loadmodule \
  "$(realpath "$module")" >"$folder/log" 2>&1 &
redis=$!
demo=""
finish() {
  # shellcheck disable=SC2086 # There may be no demo.
  kill -9 $demo "$redis" 2>/dev/null || true
  rm -rf "$folder"
}
trap finish EXIT
until [[ $(redis-cli -s "$folder/redis.sock" PING 2>/dev/null) == PONG ]]; do
  kill -0 "$redis" 2>/dev/null || {
    cat "$folder/log" >&2
    exit 1
  }
  sleep 0.05
done
"$program" --redis "unix://$folder/redis.sock" ${arguments[@]+"${arguments[@]}"} &
demo=$!
set +m
# Finishes as well if this script is killed: then nobody writes to the pipe any more.
exec 3> >(
  trap "" INT TERM
  cat >/dev/null
  finish
)
# A signal interrupts wait, which is repeated until the demo's own status is known.
trap 'interrupted=yes; kill -TERM "$demo" 2>/dev/null || true' TERM
trap 'interrupted=yes; kill -INT "$demo" 2>/dev/null || true' INT
until
  interrupted=no
  wait "$demo" && status=0 || status=$?
  [[ $interrupted == no ]]
do :; done
exit "$status"
