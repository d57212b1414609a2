//! Exact waits: a caller succeeds after its wait, and would have failed a millisecond before.

use proptest::prelude::*;
use redis_rl_limits::kinds::decision::{Mode, Reply};

use crate::calls::aimed;
use crate::cases::{any_size, config, costs, limits, modes, moments, Pair, TODAY};
use crate::oracle::MILLI;
use crate::world::{Call, World};

/// Returns the reply `ms` milliseconds later, if the clock reaches that far.
fn after(world: &World, ms: i64, limit: &Pair, call: Call) -> Option<Reply> {
    let nanos = u64::try_from(ms).ok()?.checked_mul(MILLI)?;
    world.later(nanos)?.call(limit, call).ok()
}

/// Returns whether all times of that bucket are before 2554, where the clock ends; later ones are
/// cut.
fn within_the_clock(world: &World, limit: &Pair) -> bool {
    let Some(state) = world.stored() else {
        return true;
    };
    let missing = limit.exact.burst_units() - state.tokens;
    limit.exact.nanos_for(&missing) + state.updated_at.min(world.now) < u64::MAX.into()
}

proptest! {
    #![proptest_config(config(100_000))]

    #[test]
    fn denied_caller_gets_an_exact_wait(
        limit in limits(),
        (now, stored) in moments(),
        cost in costs(),
        mode in modes(),
        aim in 0..8_u8,
    ) {
        let call = aimed(Call::Take(cost, mode), aim, &limit, stored, now);
        let Call::Take(cost, mode) = call else { unreachable!("a take stays one") };
        let mut world = World::with(now, stored);
        let Ok(reply) = world.call(&limit, call) else { return Ok(()) };
        if reply.taken > 0 || !within_the_clock(&world, &limit) {
            return Ok(());
        }
        if mode == Mode::AtMost || cost <= limit.exact.burst {
            prop_assert!(reply.wait_ms > 0);
        } else {
            prop_assert_eq!(reply.wait_ms, -1);
            return Ok(());
        }
        if let Some(then) = after(&world, reply.wait_ms, &limit, call) {
            prop_assert!(then.taken > 0, "still denied: {:?} then {:?}", reply, then);
        }
        if let Some(before) = after(&world, reply.wait_ms - 1, &limit, call) {
            prop_assert_eq!(before.taken, 0, "too long a wait: {:?}", reply);
            prop_assert_eq!(before.wait_ms, 1);
        }
    }

    #[test]
    fn reset_ms_is_the_time_until_full(
        limit in limits(),
        (now, stored) in moments(),
        call in crate::calls::calls(),
        aim in 0..8_u8,
    ) {
        let call = aimed(call, aim, &limit, stored, now);
        let mut world = World::with(now, stored);
        let Ok(reply) = world.call(&limit, call) else { return Ok(()) };
        if !within_the_clock(&world, &limit) {
            return Ok(());
        }
        let whole = Call::Take(limit.exact.burst, Mode::Whole);
        if let Some(then) = after(&world, reply.reset_ms, &limit, whole) {
            prop_assert!(then.taken > 0, "not full yet: {:?} then {:?}", reply, then);
        }
        if let Some(before) = after(&world, reply.reset_ms - 1, &limit, whole) {
            prop_assert_eq!(before.taken, 0, "full before: {:?}", reply);
        }
    }

    #[test]
    fn reservation_waits_for_its_own_tokens(
        limit in limits(),
        (now, stored) in moments(),
        cost in costs(),
        most in any_size(0..=1_000_000_000_000),
        aim in 0..8_u8,
    ) {
        let call = aimed(Call::Take(cost, Mode::MaxWait(most)), aim, &limit, stored, now);
        let Call::Take(cost, mode) = call else { unreachable!("a take stays one") };
        let mut alone = World::with(now, stored);
        // After a clock step back both begin from now.
        alone.call(&limit, Call::Look(1)).expect("no debt");
        let Ok(reply) = alone.clone().call(&limit, call) else { return Ok(()) };
        if reply.taken == 0 || !within_the_clock(&alone, &limit) {
            return Ok(());
        }
        prop_assert_eq!(mode, Mode::MaxWait(most));
        prop_assert!((0..=i64::try_from(most).expect("small")).contains(&reply.wait_ms));
        // It proceeds at the time at which a caller that only waited would have got the same
        // tokens.
        let whole = Call::Take(cost, Mode::Whole);
        if let Some(then) = after(&alone, reply.wait_ms, &limit, whole) {
            prop_assert!(then.taken > 0, "sent too early: {:?}", reply);
        }
        if let Some(before) = after(&alone, reply.wait_ms - 1, &limit, whole) {
            prop_assert_eq!(before.taken, 0, "sent too late: {:?}", reply);
        }
    }

    #[test]
    fn denied_maxwait_succeeds_after_its_wait(
        limit in limits(),
        cost in costs(),
        debt in costs(),
        most in any_size(0..=1_000_000_000),
    ) {
        let mut world = World::new(TODAY);
        if world.call(&limit, Call::Take(debt, Mode::Force)).is_err() {
            return Ok(());
        }
        let call = Call::Take(cost.min(limit.exact.burst), Mode::MaxWait(most));
        let Ok(denied) = world.call(&limit, call) else { return Ok(()) };
        if denied.taken > 0 {
            return Ok(());
        }
        if let Some(then) = after(&world, denied.wait_ms, &limit, call) {
            prop_assert!(then.taken > 0);
            prop_assert_eq!(then.wait_ms, i64::try_from(most).expect("small"));
        }
    }
}

proptest! {
    #![proptest_config(config(10_000))]

    #[test]
    fn reservations_are_served_in_order(
        limit in limits(),
        queue in prop::collection::vec((costs(), any_size(0..=10_000_000_000), any_size(0..=10_000_000)), 2..20),
        tick in prop_oneof![Just(MILLI), Just(997)],
    ) {
        let mut world = World::new(TODAY);
        world.take(&limit, limit.exact.burst, Mode::Whole);
        // Waits are rounded up to milliseconds from when each calls. Where all call at whole
        // ones nobody overtakes; else two may by less than one.
        let slack = if tick == MILLI { 0 } else { MILLI - 1 };
        let mut last_served = 0;
        for (cost, most, pause) in queue {
            let cost = cost.min(limit.exact.burst);
            let Ok(reply) = world.call(&limit, Call::Take(cost, Mode::MaxWait(most))) else { break };
            if reply.taken > 0 {
                prop_assert_eq!(reply.taken, i64::try_from(cost).expect("small"));
                let wait = u64::try_from(reply.wait_ms).expect("a wait");
                prop_assert!(wait <= most, "waits longer than it is ready to");
                let served = world.now + wait * MILLI;
                prop_assert!(served + slack >= last_served, "overtakes the one before");
                last_served = served;
            } else {
                prop_assert!(reply.wait_ms > 0);
            }
            world.now += pause * tick;
        }
    }
}
