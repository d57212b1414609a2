//! One call: the reply and every stored bit match the oracle.

use proptest::prelude::*;
use redis_rl_limits::kinds::bucket::Bucket;
use redis_rl_limits::kinds::decision::{Ask, Change, Limit as _, Mode, Standing as _, State as _};

use crate::cases::{any_size, config, costs, limits, modes, moments, Pair, TODAY};
use crate::oracle::{self, State, MAX_TOKENS};
use crate::world::{outcome, Call, World};

/// Generates calls; half of the costs are near the bucket's level, where decisions change.
pub fn calls() -> impl Strategy<Value = Call> {
    prop_oneof![
        5 => (costs(), modes()).prop_map(|(cost, mode)| Call::Take(cost, mode)),
        2 => (costs(), costs(), any::<bool>()).prop_map(|(cost, keep, at_most)| {
            let mode = if at_most { Mode::AtMost } else { Mode::Whole };
            Call::TakeKeeping(cost, keep, mode)
        }),
        1 => costs().prop_map(Call::Give),
        1 => costs().prop_map(Call::Look),
    ]
}

fn with_cost(call: Call, cost: u64) -> Call {
    with_exact_cost(call, cost.clamp(1, MAX_TOKENS))
}

fn with_exact_cost(call: Call, cost: u64) -> Call {
    match call {
        Call::Take(_, mode) => Call::Take(cost, mode),
        Call::TakeKeeping(_, keep, mode) => Call::TakeKeeping(cost, keep, mode),
        Call::Give(_) => Call::Give(cost),
        Call::Look(_) => Call::Look(cost),
    }
}

/// Returns the call, or the call with a cost within one of the available tokens or the burst.
pub fn aimed(call: Call, aim: u8, limit: &Pair, stored: Option<State>, now: u64) -> Call {
    let level = limit.exact.level(stored, now) / oracle::UNIT;
    let whole = u64::try_from(level).unwrap_or(0);
    match aim {
        0 => with_cost(call, whole),
        1 => with_cost(call, whole.saturating_add(1)),
        2 => with_cost(call, limit.exact.burst),
        3 => with_cost(call, limit.exact.burst + 1),
        _ => call,
    }
}

proptest! {
    #![proptest_config(config(150_000))]

    #[test]
    fn every_reply_and_stored_bit_matches_the_oracle(
        limit in limits(),
        (now, stored) in moments(),
        call in calls(),
        aim in 0..8_u8,
        free in 0..8_u8,
    ) {
        let call = match free {
            0 => with_exact_cost(call, 0),
            _ => aimed(call, aim, &limit, stored, now),
        };
        let decision = call.decide(stored, now, limit.real);
        let expected = call.expect(stored, now, &limit.exact);
        prop_assert_eq!(decision.as_ref().ok().map(outcome), expected, "{:?}", call);
    }

    #[test]
    fn denied_take_changes_nothing(
        limit in limits(),
        (now, stored) in moments(),
        cost in costs(),
        mode in modes(),
    ) {
        let Ok(decision) = Call::Take(cost, mode).decide(stored, now, limit.real) else {
            return Ok(());
        };
        if decision.reply.taken > 0 {
            return Ok(());
        }
        match stored {
            Some(s) if s.updated_at > now => {
                let Change::Write(bucket, _) = decision.change else {
                    return Err(TestCaseError::fail("the stored instant stays in the future"));
                };
                let moved = State { updated_at: now, ..s };
                prop_assert_eq!(bucket.to_bytes(), moved.bytes());
            }
            Some(s) if limit.exact.burst_units() > s.tokens.into() => {
                prop_assert!(matches!(decision.change, Change::KeepAlive(_)));
            }
            _ => prop_assert_eq!(decision.change, Change::Keep),
        }
    }

    #[test]
    fn changed_limit_keeps_the_tokens_of_a_bucket(
        before in limits(),
        after in limits(),
        cost in costs(),
        force in any::<bool>(),
        nanos in any_size(0..=oracle::MAX_FILL),
    ) {
        let mut world = World::new(TODAY);
        world.take(&before, cost, if force { Mode::Force } else { Mode::AtMost });
        let Some(kept) = world.stored() else { return Ok(()) };
        world.now += nanos;
        // Not through an expiry, after which the bucket is full.
        let world = World::with(world.now, Some(kept));
        // Callers see only whole tokens, so each whole token is searched for.
        let gained = after.exact.gained(nanos);
        let level = (gained + kept.tokens).min(after.exact.burst_units());
        for cost in [1, before.exact.burst, after.exact.burst, cost.min(MAX_TOKENS)] {
            let look = Call::Look(cost).decide(world.stored(), world.now, after.real);
            let there = level >= num_bigint::BigInt::from(cost) * oracle::UNIT;
            prop_assert_eq!(look.expect("no debt").reply.taken > 0, there);
        }
    }

    #[test]
    fn bucket_is_just_full_at_its_expiry(limit in limits(), costs in prop::collection::vec(costs(), 1..4)) {
        let mut world = World::new(TODAY);
        for cost in costs {
            let cost = cost.min(limit.exact.burst);
            let decision = Call::Take(cost, Mode::Force).decide(world.stored(), world.now, limit.real);
            let Ok(decision) = decision else { break };
            let Change::Write(bucket, expires) = decision.change else {
                return Err(TestCaseError::fail("a take is stored"));
            };
            let expires = u64::try_from(expires).expect("after 1970");
            world.apply(outcome(&decision).after, &limit.exact);
            let full_at = |ms: u64| {
                let then = ms.checked_mul(oracle::MILLI)?;
                Some(limit.real.stand(Some(bucket), then).has(&Ask::whole(limit.exact.burst)))
            };
            if let Some(full) = full_at(expires) {
                prop_assert!(full, "expires before it is full");
                prop_assert_eq!(full_at(expires - 1), Some(false), "expires later than it need");
                prop_assert_eq!(
                    decision.reply.reset_ms,
                    i64::try_from(expires - TODAY / oracle::MILLI).expect("a time"),
                );
            }
        }
    }

    #[test]
    fn key_may_live_a_sixteenth_of_the_fill_time_longer(
        limit in limits(),
        full_at in 0..i64::MAX / 2,
        moved in any_size(0..=oracle::MAX_FILL / oracle::MILLI),
        earlier in any::<bool>(),
    ) {
        let slack = limit.real.slack_ms();
        prop_assert_eq!(full_at + slack, limit.exact.expires(None, full_at));
        let fill = limit.exact.nanos_for(&limit.exact.burst_units());
        let within = |ms: i64| num_bigint::BigInt::from(ms) * 16 * oracle::MILLI <= fill;
        prop_assert!(within(slack) && !within(slack + 1));
        // The first expiry of the range, the last one, and one beyond either end.
        let moved = if earlier { -(moved as i64) - 1 } else { slack + 1 + moved as i64 };
        for (before, stays) in [(0, true), (slack, true), (moved, false)] {
            let expires = limit.exact.expires(Some(full_at + before), full_at);
            prop_assert_eq!(expires == full_at + before, stays);
        }
    }

    #[test]
    fn arrival_time_is_migrated_at_its_level(
        limit in limits(),
        ahead in any_size(0..=u64::MAX - TODAY),
        behind in any::<bool>(),
    ) {
        let arrival = if behind { TODAY.saturating_sub(ahead) } else { TODAY + ahead };
        let bucket = Bucket::from_arrival_time(arrival, TODAY, &limit.real);
        let expected = limit.exact.at_arrival_time(arrival, TODAY);
        prop_assert_eq!(State::read(&bucket.to_bytes()), Some(expected));
        // Full when it was to arrive: not before, and no later than rounding to a unit costs.
        if expected.tokens > -i64::try_from(MAX_TOKENS * oracle::UNIT).expect("small") {
            let full = |at| limit.real.stand(Some(bucket), at).has(&Ask::whole(limit.exact.burst));
            if arrival > TODAY {
                prop_assert!(!full(arrival - 1));
            }
            let unit = u64::try_from(limit.exact.nanos_for(&1.into())).expect("a time");
            if let Some(later) = arrival.max(TODAY).checked_add(unit) {
                prop_assert!(full(later));
            }
        }
    }
}
