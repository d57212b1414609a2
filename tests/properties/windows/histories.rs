//! Properties of every kind of window, over histories of calls with changing limits, offsets,
//! anchors and lengths, and with clocks that jump: W5, W7, W8, W9.

use proptest::prelude::*;

use crate::calls::{aims, steps_back, ticks, Aim, Tick};
use crate::cases::{config, fixed, instants, limits, slidings, strings, LAST_CALL};
use crate::named::Pair;
use crate::oracle::{After, Call, Mode, Named, Stored, MILLI};
use crate::world::World;

/// A history: how the clock goes on, by how much it then steps back, which of the windows with
/// which limit is named, and what is asked.
#[derive(Clone, Debug)]
struct Step {
    tick: Tick,
    back: Option<Tick>,
    which: usize,
    limit: Option<u64>,
    aim: Aim,
}

#[derive(Clone, Debug)]
pub struct History {
    world: World,
    limit: u64,
    named: Vec<Named>,
    steps: Vec<Step>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let limits = prop_oneof![3 => Just(None), 1 => limits().prop_map(Some)];
    let step = (ticks(), steps_back(), any::<usize>(), limits, aims());
    let step = step.prop_map(|(tick, back, which, limit, aim)| Step {
        tick,
        back,
        which,
        limit,
        aim,
    });
    prop::collection::vec(step, 1..25)
}

/// Generates histories on a key that holds nothing, or anything; it then expires late or never.
pub fn histories() -> impl Strategy<Value = History> {
    let kinds = prop_oneof![
        prop::collection::vec(fixed(), 1..=3),
        prop::collection::vec(slidings(), 1..=2),
    ];
    instants()
        .prop_flat_map(move |now| {
            let key = prop_oneof![3 => Just(None), 1 => strings(now).prop_map(Some)];
            (Just(now), key, any::<bool>())
        })
        .prop_flat_map(move |(now, key, expires)| {
            let mut world = World::new(now);
            world.stored = key.map(|bytes| (bytes, i64::MAX));
            world.expires = expires;
            (Just(world), limits(), kinds.clone(), steps())
        })
        .prop_map(|(world, limit, named, steps)| History {
            world,
            limit,
            named,
            steps,
        })
}

/// A call that was made: the world before it and after it, with its clock.
pub struct Made {
    pub before: World,
    pub after: World,
    pub pair: Pair,
    pub call: Call,
    pub reply: [i64; 5],
    pub written: After,
}

impl History {
    /// Makes all calls that are no error, and shows each.
    pub fn play(self, mut see: impl FnMut(Made)) {
        let mut world = self.world;
        let mut last = [0, 0, 3, 0, 0];
        for step in self.steps {
            let named = self.named[step.which % self.named.len()];
            let pair = Pair::new(step.limit.unwrap_or(self.limit), named);
            let length = length(pair, &world);
            let on = step.tick.nanos(length, last);
            world.now = world.now.saturating_add(on).min(LAST_CALL);
            if let Some(back) = step.back {
                world.now = world.now.saturating_sub(back.nanos(length, last));
            }
            let call = step.aim.call(world.now, last);
            let before = world.clone();
            let Ok(outcome) = world.call(pair, call) else {
                continue;
            };
            last = outcome.reply;
            see(Made {
                before,
                after: world.clone(),
                pair,
                call,
                reply: outcome.reply,
                written: outcome.after,
            });
        }
    }
}

/// Returns the longer one of the named and the stored window.
fn length(pair: Pair, world: &World) -> u64 {
    let held = world.stored.as_ref();
    let held = match held.and_then(|(bytes, _)| Stored::read(bytes)) {
        Some(Stored::Fixed { start, end, .. }) => end.abs_diff(start),
        Some(Stored::Sliding { length, .. }) => length,
        None => 0,
    };
    let named = match pair.named {
        Named::For(length) | Named::Sliding(length) => length,
        Named::Until(_) | Named::Calendar(..) => 366 * 86_400_000,
    };
    held.max(named)
}

/// Returns whether the take succeeds at another time.
fn takes(world: &mut World, made: &Made) -> bool {
    let call = match made.call {
        Call::Look(ask) => Call::Take(ask),
        call => call,
    };
    world.reply(made.pair, call)[0] > 0
}

proptest! {
    #![proptest_config(config(3_000))]

    /// W5 and the reply: the remaining amount is the limit minus the usage.
    #[test]
    fn changed_limit_keeps_the_usage(history in histories(), other in limits()) {
        history.play(|made| {
            let used = made.after.used(made.pair);
            assert_eq!(made.reply[2].unsigned_abs(), made.pair.limit.saturating_sub(used));
            assert_eq!(made.reply[1].unsigned_abs(), made.pair.limit);
            assert_eq!(made.reply[4] == 0, used == 0);
            let mut world = made.after.clone();
            let give_none = Call::Give(1, Some(0));
            let reply = world.reply(made.pair.with_limit(other), give_none);
            if reply[0] == 0 {
                assert_eq!(reply[2].unsigned_abs(), other.saturating_sub(used));
            }
        });
    }

    /// W7: after the wait the same call takes, and a millisecond before it does not.
    #[test]
    fn window_wait_is_exact_to_the_millisecond(history in histories()) {
        history.play(|made| {
            let (Call::Take(ask) | Call::Look(ask)) = made.call else {
                return;
            };
            let wait = made.reply[3];
            if made.reply[0] > 0 {
                assert_eq!(wait, 0);
                return;
            }
            let needed = ask.keep + if ask.mode == Mode::AtMost { 1 } else { ask.cost };
            assert_eq!(wait == -1, needed > made.pair.limit);
            if wait > 0 {
                let Some(mut after) = made.after.later(wait) else { return };
                let mut early = after.clone();
                assert!(takes(&mut after, &made), "not after {wait} ms: {made:?}");
                early.now -= 1 + made.after.now % MILLI;
                assert!(!takes(&mut early, &made), "before {wait} ms: {made:?}");
            } else {
                assert_eq!(wait, -1);
            }
        });
    }

    /// The same for the time until nothing is used; also the key is then gone, and not before.
    #[test]
    fn window_is_unused_after_reset_ms(history in histories()) {
        history.play(|made| {
            let reset = made.reply[4];
            let expected = made.after.used(made.pair);
            let Some(mut world) = made.after.later(reset) else { return };
            assert_eq!(world.used(made.pair), 0);
            if reset > 0 {
                assert_ne!(expected, 0);
                world.now -= MILLI;
                assert_ne!(world.used(made.pair), 0);
            }
            if let After::Written(_, expires) = made.written {
                let written_for = expires - i64::try_from(made.after.ms()).unwrap();
                // A give keeps the length that is stored; the reply says so.
                let told = made.reply[4];
                assert_eq!(written_for, told);
            }
        });
    }

    /// W8: wherever the clock was before, nobody who writes waits longer than that.
    #[test]
    fn nobody_waits_longer_than_two_windows(history in histories()) {
        history.play(|made| {
            // A string that nobody's clock wrote may be a window of any length.
            let window = u128::from(length(made.pair, &made.after));
            let part = if made.pair.is_sliding() { window.div_ceil(16) } else { 0 };
            let reset = u128::from(made.reply[4].unsigned_abs());
            assert!(reset <= 2 * window + part, "{made:?}");
            assert!(made.reply[3] <= made.reply[4], "{made:?}");
        });
    }

    /// W9: a denied call or a peek is not written, except after a clock step back.
    #[test]
    fn denied_call_on_a_window_writes_nothing(history in histories()) {
        history.play(|made| {
            let changes = made.written != After::Kept;
            if made.reply[0] > 0 && !matches!(made.call, Call::Look(_)) {
                assert!(changes);
                return;
            }
            let Some((bytes, _)) = &made.before.stored else {
                return assert!(!changes);
            };
            let now = made.before.ms();
            let future = match Stored::read(bytes).expect("no error") {
                Stored::Fixed { start, .. } => start > i64::try_from(now).unwrap(),
                Stored::Sliding { length, newest, .. } => {
                    u128::from(newest) > u128::from(now) * 16 / u128::from(length)
                }
            };
            assert!(!changes || future, "{made:?}");
        });
    }
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            pair, call, reply, ..
        } = self;
        write!(f, "{pair:?} {call:?} -> {reply:?}, from {:?}", self.before)
    }
}
