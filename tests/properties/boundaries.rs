//! Exact numbers for the cases that a reader would try first, and for those in which other limiters fail.

use redis_rl_limits::kinds::decision::Mode;

use crate::cases::{Pair, TODAY};
use crate::oracle::{State, DAY, MAX_TOKENS, MILLI, SECOND, UNIT};
use crate::world::{Call, World};

const HOUR: u64 = 3_600 * SECOND;
const MINUTE: u64 = 60 * SECOND;

/// Runs calls one after the other, each with its delay and its expected five integers.
fn history(rate: &str, burst: u64, calls: &[(u64, Call, [i64; 5])]) {
    let limit = Pair::parse(rate, burst);
    let mut world = World::new(TODAY);
    for (n, &(pause, call, expected)) in calls.iter().enumerate() {
        world.now += pause;
        let reply = world.call(&limit, call).expect("no more debt than may be");
        assert_eq!(
            reply.fields(),
            expected,
            "{rate} {burst}, call {n}: {call:?}"
        );
    }
}

const fn take(cost: u64) -> Call {
    Call::Take(cost, Mode::Whole)
}

#[test]
fn readmes_first_call_replies_as_shown() {
    history("100/m", 20, &[(0, take(1), [1, 20, 19, 0, 600])]);
}

#[test]
fn rate_of_two_a_second() {
    history(
        "2",
        2,
        &[
            (0, take(1), [1, 2, 1, 0, 500]),
            (0, take(1), [1, 2, 0, 0, 1000]),
            (0, take(1), [0, 2, 0, 500, 1000]),
            (500 * MILLI - 1, take(1), [0, 2, 0, 1, 501]),
            (1, take(1), [1, 2, 0, 0, 1000]),
            (1000 * MILLI, take(2), [2, 2, 0, 0, 1000]),
        ],
    );
}

#[test]
fn a_cost_above_the_burst_is_never_met() {
    history(
        "1",
        5,
        &[
            (0, take(6), [0, 5, 5, -1, 0]),
            (0, Call::Take(6, Mode::MaxWait(1_000_000)), [0, 5, 5, -1, 0]),
            (0, Call::Take(6, Mode::AtMost), [5, 5, 0, 0, 5000]),
            (5 * SECOND, Call::Take(6, Mode::Force), [6, 5, 0, 0, 6000]),
            (0, Call::Look(6), [0, 5, 0, -1, 6000]),
            (0, Call::Give(6), [6, 5, 5, 0, 0]),
        ],
    );
}

#[test]
fn maxwait_serves_in_order() {
    let wait = |ms| Call::Take(1, Mode::MaxWait(ms));
    history(
        "10",
        1,
        &[
            (0, wait(0), [1, 1, 0, 0, 100]),
            (0, wait(99), [0, 1, 0, 1, 100]),
            (0, wait(100), [1, 1, 0, 100, 200]),
            (0, wait(200), [1, 1, 0, 200, 300]),
            (0, wait(200), [0, 1, 0, 100, 300]),
            (0, take(1), [0, 1, 0, 300, 300]),
            (100 * MILLI, wait(200), [1, 1, 0, 200, 300]),
        ],
    );
}

#[test]
fn a_debt_is_repaid_before_anything_is_admitted() {
    history(
        "1",
        10,
        &[
            (0, Call::Take(25, Mode::Force), [25, 10, 0, 0, 25_000]),
            (0, take(1), [0, 10, 0, 16_000, 25_000]),
            (15 * SECOND, take(1), [0, 10, 0, 1_000, 10_000]),
            (0, Call::Take(1, Mode::AtMost), [0, 10, 0, 1_000, 10_000]),
            (SECOND, take(1), [1, 10, 0, 0, 10_000]),
        ],
    );
}

#[test]
fn refund_stops_at_full() {
    history(
        "1",
        10,
        &[
            (0, Call::Give(3), [0, 10, 10, 0, 0]),
            (0, take(5), [5, 10, 5, 0, 5_000]),
            (0, Call::Give(3), [3, 10, 8, 0, 2_000]),
            (500 * MILLI, Call::Give(3), [2, 10, 10, 0, 0]),
            (0, take(10), [10, 10, 0, 0, 10_000]),
            (0, take(1), [0, 10, 0, 1_000, 10_000]),
        ],
    );
}

/// A denied call takes nothing, however large and however often.
#[test]
fn denied_call_takes_nothing() {
    let limit = Pair::parse("1/m", 10);
    let mut world = World::new(TODAY);
    world.take(&limit, 10, Mode::Whole);
    for n in 0..1_000 {
        assert_eq!(world.take(&limit, 1 + n % 20, Mode::Whole).taken, 0);
    }
    world.now += MINUTE;
    assert_eq!(world.take(&limit, 1, Mode::Whole).taken, 1);
}

/// Tests every remainder of the division by this rate: the bucket is full at the first possible
/// nanosecond, and not at the one before.
#[test]
fn refill_is_exact_to_the_nanosecond() {
    let limit = Pair::parse("1", 1);
    for missing in 1..=1_i64 << 16 {
        let tokens = i64::try_from(UNIT).expect("small") - missing;
        let state = State {
            updated_at: TODAY,
            tokens,
        };
        let full_at = TODAY + u64::try_from(limit.exact.nanos_for(&missing.into())).expect("small");
        let mut before = World::with(full_at - 1, Some(state));
        assert_eq!(
            before.take(&limit, 1, Mode::Whole).fields()[3..],
            [1, 1],
            "{missing}"
        );
        let mut then = World::with(full_at, Some(state));
        assert_eq!(then.take(&limit, 1, Mode::Whole).taken, 1, "{missing}");
    }
}

/// Rates at which a token takes a fraction of a nanosecond.
#[test]
fn fast_rates_are_exact() {
    for (rate, burst, tick, expected) in [
        ("6000", 6_001, 1_000, 6_000),
        ("20000", 1, 50_000, 20_000),
        ("700000", 10, 1_000, 700_000),
        ("3000000", 10, 1_000, 3_000_000),
        ("1000000000000", 2_000_000_000, 1_000_000, 1_000_000_000_000),
        ("999999999999", MAX_TOKENS, 10_000_000, 999_999_999_999),
    ] {
        let limit = Pair::parse(rate, burst);
        let mut world = World::new(TODAY);
        assert_eq!(
            world.take(&limit, MAX_TOKENS, Mode::AtMost).taken,
            burst as i64
        );
        let mut taken = 0;
        while world.now < TODAY + SECOND {
            world.now += tick;
            taken += world.take(&limit, MAX_TOKENS, Mode::AtMost).taken;
        }
        let short = expected - taken;
        assert!(
            (0..=1 + expected / 1_000_000).contains(&short),
            "{rate}: {taken} taken"
        );
    }
}

#[test]
fn remaining_is_never_above_the_burst() {
    history(
        "6000",
        6_001,
        &[
            (0, take(1), [1, 6_001, 6_000, 0, 1]),
            (0, take(6_000), [6_000, 6_001, 0, 0, 1_001]),
        ],
    );
    history(
        "1000000000000",
        MAX_TOKENS,
        &[(
            0,
            take(1),
            [1, MAX_TOKENS as i64, MAX_TOKENS as i64 - 1, 0, 1],
        )],
    );
}

#[test]
fn slow_rates_are_exact() {
    history(
        "1/d",
        1,
        &[
            (0, take(1), [1, 1, 0, 0, 86_400_000]),
            (DAY - 1, take(1), [0, 1, 0, 1, 1]),
            (1, take(1), [1, 1, 0, 0, 86_400_000]),
        ],
    );
    history(
        "1/36525d",
        1,
        &[(0, take(1), [1, 1, 0, 0, 36_525 * 86_400_000])],
    );
}

/// Raising a limit lets the caller in at the new rate; old debt is not priced at it.
#[test]
fn raised_rate_does_not_lock_out() {
    let (slow, fast) = (Pair::parse("1/h", 1), Pair::parse("100", 1));
    let mut world = World::new(TODAY);
    world.take(&slow, 1, Mode::Whole);
    assert_eq!(world.take(&slow, 1, Mode::Whole).wait_ms, 3_600_000);
    assert_eq!(world.take(&fast, 1, Mode::Whole).wait_ms, 10);
    world.now += 10 * MILLI;
    assert_eq!(world.take(&fast, 1, Mode::Whole).taken, 1);
}

#[test]
fn raised_burst_keeps_the_tokens_and_refills() {
    let (small, large) = (Pair::parse("1", 10), Pair::parse("1", 100));
    let mut world = World::new(TODAY);
    world.take(&small, 4, Mode::Whole);
    assert_eq!(
        world.take(&large, 7, Mode::Whole).fields(),
        [0, 100, 6, 1_000, 94_000]
    );
    world.now += SECOND;
    assert_eq!(
        world.take(&large, 7, Mode::Whole).fields(),
        [7, 100, 0, 0, 100_000]
    );
}

#[test]
fn lowered_burst_creates_no_debt() {
    let (large, small) = (Pair::parse("1", 1_000_000), Pair::parse("1", 10));
    let mut world = World::new(TODAY);
    world.take(&large, 1, Mode::Whole);
    assert_eq!(
        world.take(&small, 1, Mode::Whole).fields(),
        [1, 10, 9, 0, 1_000]
    );
    world.take(&large, 8, Mode::Whole);
    assert_eq!(
        world.take(&small, 2, Mode::Whole).fields(),
        [0, 10, 1, 1_000, 9_000]
    );
}

#[test]
fn debt_survives_a_changed_limit() {
    let (before, after) = (Pair::parse("1", 10), Pair::parse("2", 100));
    let mut world = World::new(TODAY);
    world.take(&before, 15, Mode::Force);
    assert_eq!(
        world.take(&after, 1, Mode::Whole).fields(),
        [0, 100, 0, 3_000, 52_500]
    );
}

#[test]
fn clock_step_back_costs_at_most_one_refill() {
    let limit = Pair::parse("1", 10);
    let mut world = World::new(TODAY);
    world.take(&limit, 10, Mode::Whole);
    world.now -= HOUR;
    assert_eq!(
        world.take(&limit, 1, Mode::Whole).fields(),
        [0, 10, 0, 1_000, 10_000]
    );
    world.now += SECOND;
    assert_eq!(
        world.take(&limit, 1, Mode::Whole).fields(),
        [1, 10, 0, 0, 10_000]
    );
}

#[test]
fn clock_step_forward_fills_the_bucket_at_most() {
    let limit = Pair::parse("1", 10);
    let mut world = World::new(TODAY);
    world.take(&limit, 10, Mode::Whole);
    world.now += 100 * 365 * DAY;
    assert_eq!(
        world.take(&limit, 10, Mode::Whole).fields(),
        [10, 10, 0, 0, 10_000]
    );
}
