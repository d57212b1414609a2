//! Windows that open and end: what may be charged to one (W1), which one is in force (W3), and
//! what comes back (W6). Checked with a ledger of the calls and their replies.

use proptest::prelude::*;

use crate::calls::{aims, steps_back, takes, ticks, Aim, Tick};
use crate::cases::{config, fixed, lengths, limits, LAST_CALL, TODAY};
use crate::named::Pair;
use crate::oracle::{Call, Mode, Named, MAX_LENGTH, MILLI};
use crate::world::World;

/// The usage of the window in force, and its end.
#[derive(Clone, Copy, Debug, Default)]
struct Ledger {
    charged: u64,
    end: u64,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    tick: Tick,
    back: Option<Tick>,
    named: Named,
    limit: u64,
    aim: Aim,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let until = (1..=MAX_LENGTH).prop_map(Named::Until);
    let named = prop_oneof![4 => fixed(), 1 => until];
    let step = (ticks(), steps_back(), named, limits(), aims());
    let step = step.prop_map(|(tick, back, named, limit, aim)| Step {
        tick,
        back,
        named,
        limit,
        aim,
    });
    prop::collection::vec(step, 1..40)
}

fn named(step: Step, ms: u64) -> Pair {
    let named = match step.named {
        // From now on.
        Named::Until(ahead) => Named::Until(ms + ahead),
        named => named,
    };
    Pair::new(step.limit, named)
}

proptest! {
    #![proptest_config(config(5_000))]

    /// W1, W3, W6. The windows, their limits, offsets and anchors change with every call, and the
    /// clock jumps; the usage stays until the end that was reported first. (The key stays too: a
    /// clock that steps back does not restore a removed key.)
    #[test]
    fn stored_window_keeps_its_end_and_usage_whatever_later_calls_name(steps in steps()) {
        let mut world = World::new(TODAY);
        world.expires = false;
        let mut charged = Ledger::default();
        let mut last = [0, 0, 3, 0, 0];
        for step in steps {
            let length = match step.named {
                Named::For(length) => length,
                _ => 30 * 86_400_000,
            };
            let on = step.tick.nanos(length, last);
            world.now = world.now.saturating_add(on).min(LAST_CALL);
            let before = world.ms();
            if let Some(back) = step.back {
                world.now = world.now.saturating_sub(back.nanos(length, last));
            }
            let mut ledger = match charged {
                // It has ended.
                Ledger { end, .. } if world.ms() >= end => Ledger::default(),
                charged => charged,
            };
            let pair = named(step, world.ms());
            let call = step.aim.call(world.now, last);
            let Ok(outcome) = world.call(pair, call) else { continue };
            last = outcome.reply;
            let tokens = last[0].unsigned_abs();
            match call {
                Call::Take(ask) => {
                    ledger.charged += tokens;
                    let kept = ledger.charged + ask.keep;
                    prop_assert!(tokens == 0 || ask.mode == Mode::Force || kept <= pair.limit);
                }
                Call::Give(wanted, _) => {
                    prop_assert!(tokens <= wanted && tokens <= ledger.charged);
                    ledger.charged -= tokens;
                }
                Call::Look(_) => {}
            }
            prop_assert_eq!(last[2].unsigned_abs(), pair.limit.saturating_sub(ledger.charged));
            if ledger.charged == 0 {
                // A refund; otherwise there is no window, and the clock may go back into the
                // previous one.
                if matches!(call, Call::Give(..)) && tokens > 0 {
                    charged = Ledger::default();
                }
                continue;
            }
            let end = world.ms() + last[4].unsigned_abs();
            let stepped_back = world.ms() < before;
            prop_assert!(ledger.end == 0 || ledger.end == end || stepped_back, "the end moved");
            charged = Ledger { end, ..ledger };
        }
    }

    /// Time passes, and the clock steps back at times. No interval of a window's length contains
    /// more than two windows.
    #[test]
    fn clock_step_back_opens_no_third_window(
        length in lengths(),
        limit in 1..=20_u64,
        steps in prop::collection::vec((ticks(), steps_back(), takes()), 1..60),
    ) {
        let pair = Pair::new(limit, Named::For(length));
        let mut world = World::new(TODAY);
        let (mut time, mut last) = (0_u64, [0, 0, 3, 0, 0]);
        let mut log: Vec<(u64, u64)> = Vec::new();
        for (tick, back, aim) in steps {
            let on = tick.nanos(length, last).min(MAX_LENGTH * MILLI / 20);
            time += on;
            world.now += on;
            if let Some(back) = back {
                world.now = world.now.saturating_sub(back.nanos(length, last));
            }
            last = world.reply(pair, aim.call(world.now, last));
            log.push((time, last[0].unsigned_abs()));
            // A window that opens late in a millisecond ends correspondingly less than a
            // millisecond later.
            let since = |&&(at, _): &&(u64, u64)| at + (length - 1) * MILLI > time;
            let taken: u64 = log.iter().filter(since).map(|(_, n)| n).sum();
            prop_assert!(taken <= 2 * limit, "{taken} in one window's time");
        }
    }

    /// W6, as a caller sees it: a take in the previous window is not refunded to this one.
    #[test]
    fn take_of_the_previous_window_is_not_refunded(
        named in fixed(),
        (first, second) in (1..=20_u64, 1..=20_u64),
        pause in 0..MAX_LENGTH,
    ) {
        let pair = Pair::new(30, named);
        let mut world = World::new(TODAY);
        let taken_at = world.ms();
        let reset = world.take(pair, first)[4];
        world = world.later(reset).expect("before the clock ends");
        world.now += pause % 1000;
        world.take(pair, second);
        prop_assert_eq!(world.give(pair, first, Some(taken_at))[0], 0);
        prop_assert_eq!(world.used(pair), second);
        let now = world.ms();
        let given = i64::try_from(first.min(second)).unwrap();
        prop_assert_eq!(world.clone().give(pair, first, Some(now))[0], given);
        prop_assert_eq!(world.give(pair, first, None)[0], given);
    }

    /// The end of an UNTIL counts for one that opens; a bad one is refused whatever is stored.
    #[test]
    fn passed_until_is_rejected_whatever_is_stored(
        used in 0..=5_u64,
        late in 0..=MAX_LENGTH,
        aim in aims(),
    ) {
        let mut world = World::new(TODAY);
        if used > 0 {
            world.take(Pair::new(10, Named::For(MAX_LENGTH)), used);
        }
        let past = world.ms().saturating_sub(late);
        let ahead = world.ms() + MAX_LENGTH + 1 + late;
        for end in [past, ahead] {
            let pair = Pair::new(10, Named::Until(end));
            let call = aim.call(world.now, [0, 0, 3, 0, 0]);
            let before = world.stored.clone();
            match (call, world.call(pair, call)) {
                (Call::Give(..), Ok(outcome)) => prop_assert_eq!(outcome.reply[0], 0),
                (_, outcome) => prop_assert!(outcome.is_err()),
            }
            prop_assert_eq!(&before, &world.stored);
        }
    }
}
