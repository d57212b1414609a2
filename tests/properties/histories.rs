//! Many calls: what is admitted over any interval, what rounding may cost, and what a clock may do.

use num_bigint::BigInt;
use num_rational::BigRational;
use proptest::prelude::*;
use redis_rl_limits::kinds::decision::{Mode, Reply};

use crate::calls::{aimed, calls};
use crate::cases::{any_size, config, costs, limits, Pair, TODAY};
use crate::oracle::{MAX_FILL, MAX_TOKENS, MILLI, UNIT};
use crate::world::{outcome, Call, World};

/// The movement of the clock between two calls.
#[derive(Clone, Copy, Debug)]
enum Tick {
    Nanos(u64),
    /// Sixteenths of the time that a token takes.
    Tokens(u64),
    /// The last caller's wait, minus this many nanoseconds.
    Wait(u64),
    Back(u64),
}

fn ticks() -> impl Strategy<Value = Tick> {
    prop_oneof![
        2 => Just(Tick::Nanos(0)),
        3 => any_size(0..=MAX_FILL / 20).prop_map(Tick::Nanos),
        4 => any_size(0..=100_000).prop_map(Tick::Tokens),
        2 => prop_oneof![Just(0), Just(1), Just(MILLI)].prop_map(Tick::Wait),
    ]
}

fn ticks_of_a_bad_clock() -> impl Strategy<Value = Tick> {
    prop_oneof![
        3 => ticks(),
        1 => any_size(0..=MAX_FILL / 20).prop_map(Tick::Back),
    ]
}

impl Tick {
    fn apply(self, now: u64, limit: &Pair, last: Option<Reply>) -> u64 {
        match self {
            Self::Nanos(nanos) => now.saturating_add(nanos),
            Self::Tokens(sixteenths) => {
                let units = BigInt::from(sixteenths) * (UNIT / 16);
                let nanos = u64::try_from(limit.exact.nanos_for(&units)).unwrap_or(u64::MAX);
                now.saturating_add(nanos.min(MAX_FILL))
            }
            Self::Wait(less) => {
                let ms = last.map_or(0, |reply| reply.wait_ms.max(0).unsigned_abs());
                let nanos = ms.saturating_mul(MILLI).min(MAX_FILL);
                now.saturating_add(nanos.saturating_sub(less))
            }
            Self::Back(nanos) => now.saturating_sub(nanos),
        }
    }
}

type Step = (Tick, Call, u8);

fn steps(ticks: impl Strategy<Value = Tick>) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((ticks, calls(), 0..12_u8), 1..40)
}

/// The bound: over any interval, tokens taken minus tokens refunded are at most the burst plus the
/// refill, with time counted only forwards.
struct Ledger<'a> {
    limit: &'a Pair,
    /// (taken - given) units, less what has flowed in; times the rate's denominator.
    balance: BigInt,
    /// The least that was ever before a call: where the worst interval begins.
    least: BigInt,
}

impl<'a> Ledger<'a> {
    fn new(limit: &'a Pair) -> Self {
        Self {
            limit,
            balance: BigInt::ZERO,
            least: BigInt::ZERO,
        }
    }

    fn pass(&mut self, nanos: u64) {
        self.balance -= BigInt::from(nanos) * self.limit.exact.rate().numer();
        self.least = self.least.clone().min(self.balance.clone());
    }

    fn give(&mut self, units: &BigInt) {
        self.balance -= units * self.limit.exact.rate().denom();
        self.least = self.least.clone().min(self.balance.clone());
    }

    /// Counts a take, and returns whether it is within the bound if the caller waits before it
    /// proceeds.
    fn take(&mut self, tokens: i64, wait_ms: i64) -> bool {
        let rate = self.limit.exact.rate();
        self.balance += BigInt::from(tokens) * UNIT * rate.denom();
        let due = BigInt::from(wait_ms) * MILLI * rate.numer();
        &self.balance - due - &self.least <= self.limit.exact.burst_units() * rate.denom()
    }
}

fn never_over_admits(limit: &Pair, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut world = World::new(TODAY);
    let mut ledger = Ledger::new(limit);
    let mut last = None;
    for (tick, call, aim) in steps {
        let before = world.now;
        world.now = tick.apply(before, limit, last);
        ledger.pass(world.now.saturating_sub(before));
        let call = aimed(call, aim, limit, world.stored(), world.now);
        let level = limit.exact.level(world.stored(), world.now);
        let Ok(reply) = world.call(limit, call) else {
            continue;
        };
        match call {
            Call::Look(_) => {}
            Call::Give(_) => {
                ledger.give(&(limit.exact.level(world.stored(), world.now) - level));
            }
            Call::Take(cost, mode) | Call::TakeKeeping(cost, _, mode) => {
                let within = ledger.take(reply.taken, reply.wait_ms.max(0));
                // A forced take may exceed the bound, and is owed from then on.
                let forced = mode == Mode::Force && level < BigInt::from(cost) * UNIT;
                prop_assert!(
                    within || forced || reply.taken == 0,
                    "{:?} {:?}",
                    call,
                    reply
                );
                prop_assert!(
                    0 <= reply.taken && reply.taken <= i64::try_from(cost).expect("small")
                );
            }
        }
        last = Some(reply);
    }
    Ok(())
}

/// The same bucket without any rounding, written when the real one is.
struct Shadow {
    updated_at: u64,
    units: BigRational,
}

impl Shadow {
    fn level(&self, limit: &Pair, now: u64) -> BigRational {
        let nanos = BigInt::from(now.saturating_sub(self.updated_at));
        let level = &self.units + limit.exact.rate() * nanos;
        level.min(limit.exact.burst_units().into())
    }
}

/// Rounding never makes the real bucket fuller than the exact one, and costs at most one part in a
/// million of the tokens moved.
fn rounding_costs_little(limit: &Pair, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut world = World::new(TODAY);
    let mut shadow: Option<Shadow> = None;
    let mut moved = BigInt::ZERO;
    for (tick, call, aim) in steps {
        world.now = tick.apply(world.now, limit, None);
        let call = aimed(call, aim, limit, world.stored(), world.now);
        if world.stored().is_none() {
            shadow = None;
        }
        let before = limit.exact.level(world.stored(), world.now);
        let (was, now) = (world.stored(), world.now);
        let Ok(reply) = world.call(limit, call) else {
            continue;
        };
        if world.stored() == was {
            continue;
        }
        let tokens = match call {
            Call::Look(_) => 0,
            _ => reply.taken,
        };
        moved += tokens;
        let exact = match &shadow {
            Some(shadow) if tokens > 0 => shadow.level(limit, now),
            // A step back of the clock moves the instant and nothing else.
            Some(shadow) => shadow.units.clone(),
            None => limit.exact.burst_units().into(),
        };
        let Some(state) = world.stored() else {
            shadow = None;
            continue;
        };
        let change = match tokens {
            0 => BigInt::ZERO,
            _ => BigInt::from(state.tokens) - before,
        };
        let units = exact + change;
        let lost = &units - BigInt::from(state.tokens);
        prop_assert!(
            lost >= BigInt::ZERO.into(),
            "fuller than it may be by {}",
            -lost
        );
        let allowed = BigRational::new(&moved * UNIT, 1_000_000.into());
        prop_assert!(lost <= allowed, "lost {} units of {} tokens", lost, moved);
        let updated_at = state.updated_at;
        shadow = Some(Shadow { updated_at, units });
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(10_000))]

    #[test]
    fn bucket_never_over_admits_in_any_interval(limit in limits(), steps in steps(ticks())) {
        never_over_admits(&limit, steps)?;
    }

    #[test]
    fn bucket_never_over_admits_on_a_bad_clock(
        limit in limits(),
        steps in steps(ticks_of_a_bad_clock()),
    ) {
        never_over_admits(&limit, steps)?;
    }

    #[test]
    fn every_call_of_a_history_matches_the_oracle(
        limits in prop::collection::vec(limits(), 1..4),
        steps in steps(ticks_of_a_bad_clock()),
    ) {
        let mut world = World::new(TODAY);
        let mut last = None;
        for (n, (tick, call, aim)) in steps.into_iter().enumerate() {
            let limit = &limits[(n / 5) % limits.len()];
            world.now = tick.apply(world.now, limit, last);
            let call = aimed(call, aim, limit, world.stored(), world.now);
            let expected = call.expect(world.stored(), world.now, &limit.exact);
            let decision = call.decide(world.stored(), world.now, limit.real);
            prop_assert_eq!(decision.as_ref().ok().map(outcome), expected, "{:?}", call);
            last = world.call(limit, call).ok();
        }
    }

    #[test]
    fn a_full_bucket_admits_its_burst_at_one_instant(
        limit in limits(),
        costs in prop::collection::vec(costs(), 1..40),
    ) {
        let mut world = World::new(TODAY);
        let mut left = limit.exact.burst;
        for cost in costs {
            let reply = world.take(&limit, cost, Mode::Whole);
            prop_assert_eq!(reply.taken > 0, cost <= left, "{} of {}", cost, left);
            if reply.taken > 0 {
                left -= cost;
            }
            prop_assert_eq!(reply.remaining, i64::try_from(left).expect("small"));
        }
        let rest = world.take(&limit, MAX_TOKENS, Mode::AtMost);
        prop_assert_eq!(rest.taken, i64::try_from(left).expect("small"));
    }

    #[test]
    fn clock_step_back_locks_nobody_out(
        limit in limits(),
        debt in costs(),
        owes in any::<bool>(),
        ahead in any_size(0..=MAX_FILL),
        back in any_size(0..=TODAY + MAX_FILL),
        asked in prop::collection::vec(0..1000_u64, 0..5),
    ) {
        let mut world = World::new(TODAY);
        world.take(&limit, debt, if owes { Mode::Force } else { Mode::AtMost });
        let Some(state) = world.stored() else { return Ok(()) };
        world.now += ahead;
        // Somebody is denied on the way, or not.
        if ahead % 2 == 0 {
            world.take(&limit, limit.exact.burst, Mode::Whole);
        }
        let Some(state) = world.stored().filter(|now| *now == state) else { return Ok(()) };
        world.now = world.now.saturating_sub(back);
        let stepped = world.now;
        let missing = limit.exact.burst_units() - state.tokens;
        let Ok(refill) = u64::try_from(limit.exact.nanos_for(&missing)) else { return Ok(()) };
        let told = world.take(&limit, limit.exact.burst, Mode::Whole);
        if told.taken > 0 {
            return Ok(());
        }
        let refill_ms = i64::try_from(refill.div_ceil(MILLI)).expect("a time");
        prop_assert!(told.wait_ms <= refill_ms, "{:?} of {}", told, refill_ms);
        // Asking again, at any time, does not make it longer.
        let Some(then) = stepped.checked_add(refill) else { return Ok(()) };
        let mut asked = asked;
        asked.sort_unstable();
        for part in asked {
            world.now = stepped + refill / 1000 * part;
            world.call(&limit, Call::Look(MAX_TOKENS)).expect("no debt");
        }
        world.now = then;
        prop_assert!(world.take(&limit, limit.exact.burst, Mode::Whole).taken > 0);
    }
}

proptest! {
    #![proptest_config(config(6_000))]

    #[test]
    fn rounding_costs_at_most_a_millionth(limit in limits(), steps in steps(ticks())) {
        rounding_costs_little(&limit, steps)?;
    }

    #[test]
    fn rounding_costs_at_most_a_millionth_on_a_bad_clock(
        limit in limits(),
        steps in steps(ticks_of_a_bad_clock()),
    ) {
        rounding_costs_little(&limit, steps)?;
    }
}

proptest! {
    #![proptest_config(config(500))]

    /// A caller that comes often and takes everything, for a thousand times as long as the worst
    /// rounding could hide.
    #[test]
    fn greedy_caller_gets_the_rate(
        limit in limits(),
        pauses in prop::collection::vec(16..64_u64, 1..8),
        calls in 500..1500_usize,
    ) {
        // So large that what flows in between two calls is never cut.
        let per_nano = u64::try_from(limit.exact.gained(1) / UNIT).expect("at most 10^12");
        let burst = limit.exact.burst.max(2 * per_nano + 8);
        let Some(limit) = Pair::accepted(&limit.rate, burst) else { return Ok(()) };
        let mut world = World::new(TODAY);
        let emptied = world.take(&limit, MAX_TOKENS, Mode::AtMost).taken;
        prop_assert_eq!(emptied, i64::try_from(burst).expect("small"));
        let mut taken = BigInt::ZERO;
        for n in 0..calls {
            // One to four tokens' time, or one nanosecond if that is longer.
            world.now = Tick::Tokens(pauses[n % pauses.len()]).apply(world.now, &limit, None);
            taken += world.take(&limit, MAX_TOKENS, Mode::AtMost).taken;
        }
        let flowed = limit.exact.rate() * BigInt::from(world.now - TODAY);
        let left = limit.exact.level(world.stored(), world.now);
        let lost: BigRational = flowed.clone() - (taken * UNIT + left);
        prop_assert!(lost >= BigInt::ZERO.into(), "admits more than the rate: {}", lost);
        prop_assert!(lost * BigInt::from(1_000_000) <= flowed, "under a millionth is lost");
    }
}
