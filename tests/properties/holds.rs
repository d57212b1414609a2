//! Estimates that a bucket holds and that are settled later: it never has more than a bucket from
//! which the amount used had been taken at once.

use proptest::prelude::*;
use redis_rl_limits::kinds::bucket::{Bucket, Limit};
use redis_rl_limits::kinds::decision::{Ask, Change, Decision, Limit as _, Mode, Standing as _};
use redis_rl_limits::kinds::hold::Holdable;

use crate::cases::{config, Pair, TODAY};
use crate::oracle::{After, State, SECOND, UNIT};

/// A key.
#[derive(Clone, Copy, Default)]
struct Key(Option<Bucket>);

impl Key {
    fn apply(&mut self, decision: &Decision<Bucket>) {
        match decision.change {
            Change::Write(bucket, _) => self.0 = Some(bucket),
            Change::Remove => self.0 = None,
            Change::Keep | Change::KeepAlive(_) => {}
        }
    }

    fn take(&mut self, limit: Limit, now: u64, cost: u64, mode: Mode) -> bool {
        let ask = Ask {
            mode,
            ..Ask::whole(cost)
        };
        let decision = limit.stand(self.0, now).take(&ask).expect("little debt");
        self.apply(&decision);
        !decision.reply.is_denied()
    }

    fn state(&self) -> Option<State> {
        let bytes = |bucket: Bucket| {
            use redis_rl_limits::kinds::decision::State as _;
            State::read(bucket.to_bytes().as_ref())
        };
        self.0.and_then(bytes)
    }
}

/// A charge that is held.
struct Charge {
    cost: u64,
    used: u64,
    full_at: i64,
}

proptest! {
    #![proptest_config(config(3_000))]

    #[test]
    fn settled_bucket_never_has_more_than_one_that_was_charged_at_once(
        burst in 1..200_u64,
        per_minute in prop_oneof![1..20_u64, 1..100_000_u64],
        steps in prop::collection::vec((0..4_u8, 0..200_u64, 1..250_u64, 0..250_u64), 1..25),
    ) {
        let pair = Pair::parse(&format!("{per_minute}/m"), burst);
        let (limit, exact) = (pair.real, &pair.exact);
        let (mut held, mut at_once) = (Key::default(), Key::default());
        let mut open: Vec<Charge> = Vec::new();
        let mut now = TODAY;
        // The times are rounded up to a nanosecond, and a level to a unit.
        let mut rounding = exact.gained(2) + 2;
        for (what, tenths, cost, used) in steps {
            now += tenths * SECOND / 10;
            match what {
                0 | 1 => {
                    let standing = limit.stand(held.0, now);
                    let full_at = standing.charged_at(cost);
                    if held.take(limit, now, cost, Mode::Whole) {
                        assert!(at_once.take(limit, now, used, Mode::Force));
                        open.push(Charge { cost, used, full_at });
                    }
                }
                2 if !open.is_empty() => {
                    let charge = open.swap_remove(cost as usize % open.len());
                    let Charge { cost, used, full_at } = charge;
                    let stored = held.state();
                    let standing = limit.stand(held.0, now);
                    let decision = standing.hold_instead(cost, used, full_at);
                    let expected = exact.hold_instead(stored, now, [cost, used], full_at);
                    prop_assert_eq!(decision.reply.fields(), expected.reply);
                    held.apply(&decision);
                    let left = match expected.after {
                        After::Written(state, _) => Some(state),
                        After::Removed => None,
                        After::Kept | After::KeptUntil(_) => stored,
                    };
                    prop_assert_eq!(held.state(), left);
                    rounding += exact.gained(2) + 2;
                }
                _ => {
                    if held.take(limit, now, cost, Mode::Whole) {
                        at_once.take(limit, now, cost, Mode::Force);
                    }
                }
            }
            if open.is_empty() {
                let (has, most) = (
                    exact.level(held.state(), now),
                    exact.level(at_once.state(), now),
                );
                prop_assert!(has <= &most + &rounding, "{has} is more than {most}");
            }
        }
    }

    /// Settled at once, a charge leaves exactly the amount used.
    #[test]
    fn charge_settled_at_once_is_exact(burst in 1..1_000_u64, cost in 1..1_000_u64, used in 0..1_000_u64) {
        let limit = Pair::parse("1/h", burst).real;
        let mut key = Key::default();
        let full_at = limit.stand(None, TODAY).charged_at(cost);
        if key.take(limit, TODAY, cost, Mode::Whole) {
            let decision = limit.stand(key.0, TODAY).hold_instead(cost, used, full_at);
            key.apply(&decision);
            let left = i64::try_from(burst).unwrap() - i64::try_from(used).unwrap();
            let tokens = key.state().map_or(burst as i64 * UNIT as i64, |state| state.tokens);
            prop_assert_eq!(tokens, left * UNIT as i64);
        }
    }
}
