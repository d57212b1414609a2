//! The decisions on leases, held to a model that shares no code with them: a list of who holds a
//! slot until when.

use proptest::prelude::*;
use redis_rl_limits::grammar::lease::{self, check_token, check_tokens, parse_ttl};
use redis_rl_limits::kinds::decision::NEVER;
use redis_rl_limits::kinds::lease::{renewed, End, IfHeld, Limit, Room, Verdict};

const TODAY: i64 = 1_795_000_000_000;

fn limit(slots: u64, keep: u64) -> Limit {
    Limit::new(slots, keep)
}

/// A caller's next step.
#[derive(Clone, Debug)]
enum Step {
    Acquire {
        token: usize,
        slots: u64,
        keep: u64,
        ttl: u64,
    },
    Renew {
        token: usize,
        ttl: u64,
    },
    Release {
        token: usize,
    },
    Pass {
        ms: i64,
    },
    ClockBack {
        ms: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let token = 0..12usize;
    let ttl = prop_oneof![10..40u64, 10..2_592_000_000u64];
    let keep = prop_oneof![3 => Just(0), 1 => 0..9u64];
    prop_oneof![
        6 => (token.clone(), 0..9u64, keep, ttl.clone())
            .prop_map(|(token, slots, keep, ttl)| Step::Acquire { token, slots, keep, ttl }),
        2 => (token.clone(), ttl).prop_map(|(token, ttl)| Step::Renew { token, ttl }),
        2 => token.prop_map(|token| Step::Release { token }),
        4 => (0..30i64).prop_map(|ms| Step::Pass { ms }),
        1 => (0..30i64).prop_map(|ms| Step::ClockBack { ms }),
    ]
}

/// The holders of slots with the ends of their leases, as exact numbers: ended leases stay in the
/// list.
#[derive(Default)]
struct World {
    ends: Vec<(usize, i64)>,
    now: i64,
}

impl World {
    fn live(&self) -> Vec<(usize, i64)> {
        let mut live: Vec<_> = self
            .ends
            .iter()
            .copied()
            .filter(|e| e.1 > self.now)
            .collect();
        live.sort_by_key(|&(_, end)| end);
        live
    }

    fn end_of(&self, token: usize) -> Option<i64> {
        let found = self.ends.iter().find(|(holder, _)| *holder == token);
        found.map(|&(_, end)| end)
    }

    fn set(&mut self, token: usize, end: i64) {
        self.ends.retain(|(holder, _)| *holder != token);
        self.ends.push((token, end));
    }
}

proptest! {
    #[test]
    fn leases_never_exceed_their_limit_and_waits_are_exact(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let mut world = World { now: TODAY, ..World::default() };
        for step in steps {
            match step {
                Step::Pass { ms } => world.now += ms,
                Step::ClockBack { ms } => world.now -= ms,
                Step::Release { token } => world.ends.retain(|(holder, _)| *holder != token),
                Step::Renew { token, ttl } => {
                    let old = world.end_of(token);
                    let new = old.and_then(|old| renewed(End(old as f64), world.now, ttl));
                    // Never what has ended, never to an earlier end.
                    prop_assert_eq!(new.is_some(), old.is_some_and(|old| old > world.now));
                    if let Some(new) = new {
                        let expected = old.unwrap_or(0).max(world.now + ttl as i64);
                        prop_assert_eq!(new.millis(), Some(expected));
                        world.set(token, expected);
                    }
                }
                Step::Acquire { token, slots, keep, ttl } => {
                    acquire(&mut world, token, slots, keep, ttl)?;
                }
            }
        }
    }

    #[test]
    fn lease_is_live_until_its_end_whatever_its_score(
        score in any::<f64>(), now in -10_000_000_000_000..10_000_000_000_000i64
    ) {
        prop_assume!(!score.is_nan());
        let end = End(score);
        prop_assert_eq!(end.is_live(now), score > now as f64);
        let left = end.millis_left(now);
        match end.is_live(now) {
            false => prop_assert_eq!(left, 0),
            true if left == NEVER => prop_assert!(score >= 2f64.powi(53)),
            true => {
                prop_assert!(!end.is_live(now + left), "{} left of {}", left, score);
                prop_assert!(end.is_live(now + left - 1), "{} left of {}", left, score);
            }
        }
    }

    #[test]
    fn close_lease_ends_are_exact_to_the_millisecond(now in 0..TODAY * 2, part in -2_000..2_000i32) {
        let end = End(now as f64 + f64::from(part) / 1_000.0);
        let left = end.millis_left(now);
        prop_assert!((0..=2).contains(&left));
        prop_assert_eq!(end.is_live(now), left > 0);
    }

    #[test]
    fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let token = check_token(&text);
        prop_assert_eq!(token.is_ok(), (1..=128).contains(&text.len()) && text != b"rl:leases");
        if let Err(error) = token {
            prop_assert!(error.to_string().starts_with("token must be 1 to 128 bytes"));
        }
        if let Err(error) = parse_ttl(&text) {
            prop_assert!(error.to_string().len() < 400);
        }
        let _ = lease::limit(&text, 0);
    }

    #[test]
    fn ttl_is_accepted_from_10_ms_to_30_days(ms in prop_oneof![0..20u64, 2_591_999_990..2_592_000_010u64, any::<u64>()]) {
        let accepted = (10..=2_592_000_000).contains(&ms).then_some(ms);
        let text = format!("{ms}ms");
        prop_assert_eq!(parse_ttl(text.as_bytes()).ok(), accepted);
    }
}

fn acquire(
    world: &mut World,
    token: usize,
    slots: u64,
    keep: u64,
    ttl: u64,
) -> Result<(), TestCaseError> {
    let live = world.live();
    let count = live.len() as u64;
    let own = world.end_of(token).filter(|&end| end > world.now);
    let held = own.map(|end| End(end as f64));
    let nx = limit(slots, keep).acquire(count, held, IfHeld::Deny);
    let verdict = limit(slots, keep).acquire(count, held, IfHeld::Renew);
    match held {
        Some(end) => prop_assert_eq!(nx, Verdict::Held(end)),
        None => prop_assert_eq!(nx, verdict),
    }
    match verdict {
        Verdict::Renew(end) => {
            prop_assert_eq!(Some(end.0 as i64), own, "only its own");
            let later = own.unwrap_or(0).max(world.now + ttl as i64);
            let renewed = renewed(end, world.now, ttl).and_then(End::millis);
            prop_assert_eq!(renewed, Some(later));
            world.set(token, later);
            prop_assert_eq!(world.live().len() as u64, count, "no second slot");
        }
        Verdict::Grant => {
            prop_assert_eq!(own, None);
            world.set(token, world.now + ttl as i64);
            let held = world.live().len() as u64;
            prop_assert!(held + keep <= slots, "{} of {} keep {}", held, slots, keep);
        }
        Verdict::Held(_) => prop_assert!(false, "without NX a lease is renewed"),
        Verdict::Deny if keep >= slots => {
            prop_assert_eq!(own, None);
            prop_assert_eq!(limit(slots, keep).room(count), Room::Never);
        }
        Verdict::Deny => {
            prop_assert_eq!(own, None);
            prop_assert!(count + 1 + keep > slots, "there was room");
            let Room::After(ended) = limit(slots, keep).room(count) else {
                return Err(TestCaseError::fail("a denial without a wait"));
            };
            prop_assert!((1..=count).contains(&ended));
            // At that end there is room, a millisecond before there is not.
            let at = live[ended as usize - 1].1;
            let left = |now: i64| live.iter().filter(|(_, end)| *end > now).count() as u64;
            prop_assert!(left(at) + 1 + keep <= slots);
            prop_assert!(left(at - 1) + 1 + keep > slots);
        }
    }
    let reply = limit(slots, keep).reply(1, count, 2, 3);
    let free = (slots as i64 - count as i64).max(0);
    prop_assert_eq!(reply.fields(), [1, slots as i64, free, 2, 3]);
    Ok(())
}

#[test]
fn room_is_right_at_the_bounds() {
    let cases = [
        (0, 0, 0, Room::Never),
        (1, 0, 0, Room::Now),
        (1, 0, 1, Room::After(1)),
        (1, 1, 0, Room::Never),
        (5, 2, 2, Room::Now),
        (5, 2, 3, Room::After(1)),
        (2, 0, 9, Room::After(8)),
        (100_000, 99_999, 0, Room::Now),
        (100_000, 100_000_000_000, 0, Room::Never),
        (1, 0, u64::MAX, Room::After(u64::MAX)),
        (1, u64::MAX, u64::MAX, Room::Never),
    ];
    for (slots, keep, live, room) in cases {
        assert_eq!(limit(slots, keep).room(live), room, "{slots} {keep} {live}");
    }
    assert!(lease::limit(b"100001", 0).is_err());
}

#[test]
fn extreme_scores_have_a_defined_wait() {
    let cases = [
        (f64::INFINITY, NEVER),
        (f64::MAX, NEVER),
        (9_007_199_254_740_992.0, NEVER),
        (9_007_199_254_740_991.0, 9_007_199_254_740_991 - TODAY),
        (TODAY as f64, 0),
        (0.0, 0),
        (-0.0, 0),
        (f64::MIN, 0),
        (f64::NEG_INFINITY, 0),
    ];
    for (score, left) in cases {
        assert_eq!(End(score).millis_left(TODAY), left, "{score}");
    }
    assert_eq!(End(3.0).max(End(2.0)), End(3.0));
    assert_eq!(End(2.0).max(End(3.0)), End(3.0));
}

#[test]
fn more_than_128_tokens_are_refused() {
    let tokens = vec![b"t" as &[u8]; 129];
    assert!(check_tokens(&tokens).is_err());
    assert!(check_tokens(&tokens[1..]).is_ok());
    assert!(check_tokens(&[b"t" as &[u8], b""]).is_err());
}

#[test]
fn a_ttl_needs_a_count_and_a_unit() {
    for (text, ms) in [
        ("10ms", 10),
        ("30s", 30_000),
        ("5m", 300_000),
        ("2H", 7_200_000),
        ("30days", 2_592_000_000),
        ("1e1ms", 10),
        ("4w", 2_419_200_000),
        ("1.5s", 1_500),
        ("1m0s", 60_000),
        ("1h0m0s", 3_600_000),
    ] {
        assert_eq!(parse_ttl(text.as_bytes()).ok(), Some(ms), "{text}");
    }
    for text in [
        "", "m", "15", "1.0005s", "-1s", "1M", "9ms", "31d", "5w", "1month", "10ms ", "0s",
    ] {
        assert!(parse_ttl(text.as_bytes()).is_err(), "{text}");
    }
}
