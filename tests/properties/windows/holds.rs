//! An amount that a hold has in a window, and the one that it should have: the crate against the
//! oracle, at any millisecond and on both sides of a window's edge.

use redis_rl_limits::grammar::window::Quota;
use redis_rl_limits::kinds::decision::{Change, Decision, Limit, State};
use redis_rl_limits::kinds::hold::Holdable;

use crate::calendar::Unit;
use crate::cases::TODAY;
use crate::named::Pair;
use crate::oracle::{hold_instead, After, Hold, Named, Outcome, Stored, MILLI};
use crate::world::World;
use proptest::prelude::*;

const MINUTE: u64 = 60_000;

/// Lets a window hold another amount, and holds the decision to the oracle's.
fn hold(world: &mut World, pair: Pair, hold: Hold) -> i64 {
    fn decide<L: Limit>(limit: L, stored: Option<&[u8]>, now: u64, hold: Hold) -> Outcome
    where
        L::Standing: Holdable,
    {
        let stored = stored.and_then(L::State::from_bytes);
        let standing = limit.stand(stored, now);
        let Hold { held, amount, at } = hold;
        let Decision { reply, change } = standing.hold_instead(held, amount, at);
        Outcome {
            reply: reply.fields(),
            after: match change {
                Change::Keep | Change::KeepAlive(_) => After::Kept,
                Change::Remove => After::Removed,
                Change::Write(state, at) => After::Written(state.to_bytes().as_ref().to_vec(), at),
            },
        }
    }
    let stored = world.stored.as_ref().map(|(bytes, _)| bytes.as_slice());
    let decided = match pair.quota {
        Quota::Fixed(limit) => decide(limit, stored, world.now, hold),
        Quota::Sliding(limit) => decide(limit, stored, world.now, hold),
    };
    let expected = hold_instead(pair.limit, pair.named, stored, world.now, hold);
    assert_eq!(
        Ok(&decided),
        expected.as_ref(),
        "{pair:?} {hold:?} {world:?}"
    );
    match decided.after {
        After::Kept => {}
        After::Removed => world.stored = None,
        After::Written(bytes, expires) => world.stored = Some((bytes, expires)),
    }
    decided.reply[0]
}

/// Returns the time that a record stores for a charge made now.
fn charged_at(world: &World, pair: Pair) -> i64 {
    fn told<L: Limit>(limit: L, world: &World) -> i64
    where
        L::Standing: Holdable,
    {
        let stored = world.stored.as_ref();
        let stored = stored.and_then(|(bytes, _)| L::State::from_bytes(bytes));
        limit.stand(stored, world.now).charged_at(1)
    }
    match pair.quota {
        Quota::Fixed(limit) => told(limit, world),
        Quota::Sliding(limit) => told(limit, world),
    }
}

/// Returns the first millisecond of the stored window, or of its newest sub-window.
fn begins(world: &World) -> i64 {
    let bytes = world.stored.as_ref().map(|(bytes, _)| bytes.as_slice());
    match bytes.and_then(Stored::read).expect("a window") {
        Stored::Fixed { start, .. } => start,
        Stored::Sliding { length, newest, .. } => {
            let ms = i128::from(newest) * i128::from(length);
            ((ms + 15) / 16) as i64
        }
    }
}

/// A charge of 300 in the last millisecond of a month, settled in the first of the next one, and
/// the other way round.
#[test]
fn settlement_changes_only_the_month_of_the_charge() {
    let pair = Pair::new(1_000, Named::Calendar(Unit::Month(1), 0));
    let mut world = World::new(TODAY);
    let end = {
        let [.., left] = world.take(pair, 1);
        world.ms() + left.unsigned_abs()
    };
    for (amount, moved) in [(0, 0), (120, 0), (300, 0), (301, 1), (450, 150)] {
        for others in [0, 700] {
            let mut world = World::new((end - 1) * MILLI);
            assert_eq!(world.take(pair, 300)[0], 300);
            let at = world.ms() as i64;
            world.now = end * MILLI;
            world.take(pair, others);
            let held = 300;
            assert_eq!(hold(&mut world, pair, Hold { held, amount, at }), moved);
            assert_eq!(world.used(pair), others + moved.unsigned_abs());
        }
        let mut world = World::new(end * MILLI);
        world.take(pair, 300);
        let at = world.ms() as i64;
        let (held, moved) = (300, amount as i64 - 300);
        assert_eq!(hold(&mut world, pair, Hold { held, amount, at }), moved);
        assert_eq!(world.used(pair), amount);
    }
}

/// The clock steps back by more than a window, which moves the charge to the window of now.
#[test]
fn charge_of_a_window_that_a_step_back_moved_is_refunded() {
    for named in [Named::For(MINUTE), Named::Sliding(MINUTE)] {
        let pair = Pair::new(1_000, named);
        let mut world = World::new(TODAY);
        world.take(pair, 300);
        let at = world.ms() as i64;
        world.now -= 60 * MINUTE * MILLI;
        let (held, amount) = (300, 120);
        let moved = hold(&mut world, pair, Hold { held, amount, at });
        assert_eq!((moved, world.used(pair)), (-180, 120), "{named:?}");
    }
}

fn any_named() -> impl Strategy<Value = Named> {
    let end = TODAY / MILLI;
    prop_oneof![
        (1..200_u64).prop_map(Named::For),
        (1..200_u64).prop_map(Named::Sliding),
        (0..400_u64).prop_map(move |ms| Named::Until(end + ms - 100)),
        Just(Named::Calendar(Unit::Hour, 0)),
    ]
}

proptest! {
    #![proptest_config(crate::cases::config(2_000))]

    #[test]
    fn any_amount_is_held_as_by_the_oracle(
        first in any_named(),
        second in any_named(),
        steps in prop::collection::vec((0..5_u8, -300..300_i64, 0..60_u64, 0..60_u64), 1..12),
    ) {
        let named = [first, second];
        let mut world = World::new(TODAY);
        let mut charges = vec![world.ms() as i64];
        for (what, by, a, b) in steps {
            let pair = Pair::new(100, named[usize::from(what == 4)]);
            let by = if what == 0 { by } else { by.abs() / 20 };
            world.now = world.now.wrapping_add_signed(by * MILLI as i64);
            let passed = matches!(pair.named, Named::Until(end) if end <= world.ms());
            let alien = world.stored.as_ref().is_some_and(|(bytes, _)| {
                (bytes.len() == 153) != pair.is_sliding()
            });
            if alien {
                world.stored = None;
            }
            if what > 2 && !passed {
                let told = charged_at(&world, pair);
                if world.take(pair, a)[0] > 0 {
                    prop_assert_eq!(told, begins(&world).max(world.ms() as i64));
                    charges.push(told);
                }
                continue;
            }
            let at = charges[(b as usize) % charges.len()] + [0, 0, -1, 1][a as usize % 4];
            hold(&mut world, pair, Hold { held: a, amount: b, at });
        }
    }
}
