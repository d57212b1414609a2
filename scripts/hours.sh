#!/usr/bin/env bash
# Tests all kinds of limit together for hours, by hand: calls checked against the model, on four
# servers whose memory must not grow, and whose clocks step if they can; then pressure and random waits.
#
#   scripts/hours.sh               50 million checked calls; about two hours
#   scripts/hours.sh 2000000       this number of checked calls, and the rest in proportion
set -euo pipefail
cd "$(dirname "$0")/.."
calls=${1:-50000000}
scripts/setup.sh server libclang faketime </dev/null
cargo build --release -p redis-rl
# Most of the time is spent in the model.
judged() {
  cargo test --profile long -p redis-rl-tests --test fuzz "$1" -- --nocapture --exact
}
watched() {
  cargo test -p redis-rl-tests --test server "$1" -- --nocapture --exact
}

while read -r name path; do
  # Debian's does not start with a clock of its own, and alone counts the memory of the module.
  case $name in
    redis-7.0) unset REDIS_RL_FUZZ_CLOCK ;;
    *) export REDIS_RL_FUZZ_CLOCK=1 ;;
  esac
  case $name in
    redis-7.0 | redis-8.2 | valkey-8.1 | valkey-9.1)
      echo "== $name"
      REDIS_RL_SERVER=$path REDIS_RL_FUZZ_CALLS=$((calls / 4)) \
        judged every_reply_matches_the_model
      export REDIS_RL_FUZZ_SECONDS=$((calls / 100000 + 5))
      REDIS_RL_SERVER=$path judged leases::every_lease_reply_matches_the_model
      REDIS_RL_SERVER=$path REDIS_RL_PRESSURE=500,$((calls / 200000 + 5)) \
        watched pressure::every_token_is_accounted_for_under_pressure
      REDIS_RL_SERVER=$path REDIS_RL_WAIT_RANDOM=60,$((calls / 200000 + 5)) \
        watched wait::random::random_waits_are_all_answered_and_exceed_no_limit
      ;;
  esac
done < <(scripts/servers.sh)
