#!/usr/bin/env bash
# Measures the cost of a decision, here and in the alternatives, and prints the tables. They are
# also in target/bench/report.md, with the charts, and callgrind's profiles in profiles/.
#   scripts/bench.sh           everything on Redis 7.0 and 8.2 and Valkey 9.1, about a quarter of an hour
#   scripts/bench.sh --quick   instructions on the installed Redis, about two minutes
#   scripts/bench.sh --count WORD   instructions of the cases with this word in their names, alone, with
#                              an AOF and with a replica. Narrower: --setting standalone --seeds 1;
#                              on another server: --server redis-8.2
#   scripts/bench.sh --holds   holds on the installed Redis, about ten minutes for each setting; only
#                              one of them: --setting standalone
#   scripts/bench.sh --windows instructions and memory of windows alone, about six minutes
#   scripts/bench.sh --leases  instructions of leases alone, about three minutes
#   scripts/bench.sh --timed   CPU time and latency (needs a quiet machine), and bytes, ten minutes
#   scripts/bench.sh --full    also among ten million keys (7 GB of memory)
#   scripts/bench.sh --waiters [SERVER]   callers that wait for slots, on the installed Redis or the
#                              named server, three minutes (needs a quiet machine)
#   scripts/bench.sh --throttlecrab   compared with throttlecrab-server, three minutes
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh server libclang valgrind </dev/null
cargo build --release -p redis-rl
if [[ ${1:-} == --throttlecrab ]]; then
  exec python3 scripts/bench/throttlecrab.py
fi
if [[ ${1:-} == --waiters ]]; then
  exec python3 scripts/bench/waiters.py "${@:2}"
fi
exec python3 scripts/bench "$@"
