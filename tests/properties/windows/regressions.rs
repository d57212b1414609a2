//! Regressions that a simulation found, one by one.

use std::collections::BTreeMap;

use crate::cases::TODAY;
use crate::named::Pair;
use crate::oracle::{Named, Stored, MILLI};
use crate::world::World;

const MINUTE: u64 = 60_000;

fn back(world: &mut World, ms: u64) {
    world.now -= ms * MILLI;
}

fn on(world: &mut World, ms: u64) {
    world.now += ms * MILLI;
}

/// Waits as told until the call succeeds, and returns the number of denials.
fn denials(world: &mut World, pair: Pair) -> u32 {
    for denials in 0..10 {
        match world.take(pair, 1) {
            [0, _, _, wait, _] => on(world, wait.unsigned_abs()),
            _ => return denials,
        }
    }
    panic!("the wait never ends");
}

#[test]
fn a_wait_after_a_step_back_by_more_than_a_window_ends() {
    for named in [Named::For(MINUTE), Named::Sliding(MINUTE)] {
        let pair = Pair::new(10, named);
        let mut world = World::new(TODAY);
        world.take(pair, 10);
        back(&mut world, 10 * MINUTE);
        assert_eq!(denials(&mut world, pair), 1, "{named:?}");
    }
}

#[test]
fn a_wait_after_a_step_back_by_less_than_a_window_ends() {
    for named in [Named::For(MINUTE), Named::Sliding(MINUTE)] {
        let pair = Pair::new(10, named);
        let mut world = World::new(TODAY);
        world.take(pair, 10);
        back(&mut world, MINUTE);
        assert_eq!(denials(&mut world, pair), 1, "{named:?}");
    }
}

#[test]
fn a_wait_under_another_length_ends() {
    let mut world = World::new(TODAY);
    world.take(Pair::new(10, Named::Sliding(60 * MINUTE)), 10);
    assert_eq!(
        denials(&mut world, Pair::new(10, Named::Sliding(MINUTE))),
        1
    );
}

#[test]
fn a_wait_while_others_name_other_windows_ends() {
    let mut world = World::new(TODAY);
    let pair = Pair::new(10, Named::For(MINUTE));
    let wait = world.take(pair, 10)[4];
    for other in [1, 1_000, 60 * MINUTE] {
        world.take(Pair::new(10, Named::For(other)), 1);
    }
    on(&mut world, wait.unsigned_abs());
    assert_eq!(world.take(pair, 1)[0], 1);
}

/// Ten were taken in the window that begins now; a clock that steps back over its start must not
/// open the window before as well.
#[test]
fn clock_step_back_over_an_edge_grants_no_second_quota() {
    for named in [Named::For(MINUTE), Named::Sliding(MINUTE)] {
        let pair = Pair::new(10, named);
        let mut world = World::new(TODAY);
        assert_eq!(world.take(pair, 1)[0], 1);
        assert_eq!(world.take(pair, 9)[0], 9);
        for step in [1, MINUTE / 16, MINUTE / 2, MINUTE] {
            let mut world = world.clone();
            back(&mut world, step);
            assert_eq!(world.take(pair, 9)[0], 0, "{named:?}, {step} ms back");
            on(&mut world, step);
            assert_eq!(
                world.take(pair, 1)[0],
                0,
                "{named:?}, {step} ms back and on"
            );
        }
    }
}

#[test]
fn future_window_is_in_force_if_it_begins_within_its_length() {
    for named in [Named::For(MINUTE), Named::Sliding(MINUTE)] {
        let pair = Pair::new(10, named);
        // The start of a minute and of a sub-window.
        let mut world = World::new(TODAY / MILLI / MINUTE * MINUTE * MILLI);
        world.take(pair, 10);
        back(&mut world, MINUTE);
        let (stored, now) = (world.stored.clone(), world.now);
        assert_eq!(world.take(pair, 1)[0], 0);
        assert_eq!(world.stored, stored, "{named:?} is in force");
        world.now = now - 1;
        assert_eq!(world.take(pair, 1)[0], 0);
        assert_ne!(world.stored, stored, "{named:?} is taken over");
    }
}

#[test]
fn clock_step_back_begins_no_calendar_day_twice() {
    let day = Pair::new(10, Named::Calendar(crate::calendar::Unit::Day, 0));
    let mut world = World::new(TODAY / 86_400_000 / MILLI * 86_400_000 * MILLI);
    world.take(day, 10);
    back(&mut world, 1);
    assert_eq!(world.take(day, 9)[0], 0);
    on(&mut world, 1);
    assert_eq!(world.take(day, 9)[0], 0);
}

/// A refund is taken from the oldest usage: the units that stay are those that count longest.
#[test]
fn refund_frees_nothing_too_early() {
    let pair = Pair::new(10, Named::Sliding(16_000));
    let mut world = World::new(16_000_000 * MILLI);
    world.take(pair, 5);
    on(&mut world, 8_000);
    world.take(pair, 5);
    assert_eq!(world.give(pair, 5, None)[0], 5);
    assert_eq!(world.take(pair, 5)[0], 5);
    // The first five would come free now, had they stayed.
    on(&mut world, 9_000);
    assert_eq!(world.take(pair, 1)[0], 0);
    on(&mut world, 8_000);
    assert_eq!(world.take(pair, 10)[0], 10);
}

#[test]
fn refund_of_an_ended_window_is_zero() {
    let pair = Pair::new(10, Named::Sliding(16_000));
    let mut world = World::new(16_000_000 * MILLI);
    let first = world.ms();
    world.take(pair, 5);
    on(&mut world, 17_000);
    world.take(pair, 5);
    assert_eq!(world.give(pair, 5, Some(first))[0], 0);
    assert_eq!(world.used(pair), 5);
}

#[test]
fn full_refund_leaves_no_key() {
    for named in [Named::For(MINUTE), Named::Sliding(MINUTE)] {
        let pair = Pair::new(10, named);
        let mut world = World::new(TODAY);
        world.take(pair, 3);
        assert_eq!(world.give(pair, 5, None), [3, 10, 10, 0, 0]);
        assert_eq!(world.stored, None);
    }
}

#[test]
fn force_uses_up_to_twice_the_largest_limit_and_no_more() {
    use crate::oracle::{Ask, Call, Mode, Refusal, MAX_TOKENS};
    let force = |cost| {
        let (keep, mode) = (0, Mode::Force);
        Call::Take(Ask { cost, keep, mode })
    };
    for named in [Named::For(MINUTE), Named::Sliding(MINUTE)] {
        let pair = Pair::new(MAX_TOKENS, named);
        let mut world = World::new(TODAY);
        assert_eq!(world.take(pair, MAX_TOKENS)[2], 0);
        let reply = world.reply(pair, force(MAX_TOKENS));
        assert_eq!(reply[0], i64::try_from(MAX_TOKENS).unwrap());
        let before = world.stored.clone();
        assert_eq!(world.call(pair, force(1)), Err(Refusal::Used));
        assert_eq!(world.stored, before);
    }
}

#[test]
fn zero_limit_refunds_what_force_took() {
    use crate::oracle::{Ask, Call, Mode};
    let pair = Pair::new(0, Named::For(MINUTE));
    let mut world = World::new(TODAY);
    let force = Ask {
        cost: 4,
        keep: 0,
        mode: Mode::Force,
    };
    assert_eq!(world.take(pair, 1)[3], -1);
    assert_eq!(world.reply(pair, Call::Take(force))[0], 4);
    assert_eq!(world.give(pair, 3, None)[0], 3);
    assert_eq!(world.used(pair), 1);
}

/// A window without usage, far ahead, that no clock can have written. It is left unchanged.
#[test]
fn denied_call_does_not_write_an_unused_future_window() {
    let newest = TODAY / MILLI * 16 / MINUTE + 1_000;
    let stored = Stored::Sliding {
        length: MINUTE,
        newest,
        taken: BTreeMap::new(),
    };
    let mut world = World::new(TODAY);
    world.stored = Some((stored.bytes(), i64::MAX));
    assert_eq!(world.take(Pair::new(0, Named::Sliding(MINUTE)), 1)[0], 0);
    assert_eq!(world.stored, Some((stored.bytes(), i64::MAX)));
}
