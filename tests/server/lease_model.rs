//! Random histories of leases, with restarts and clock steps in between, compared with the oracle's
//! list of holders and the ends of their leases.

use std::collections::BTreeMap;

use redis::Connection;

use crate::clock::launch_with_clock;
use crate::common::Server;
use crate::lease::Leases;
use crate::lease_oracle::{Call, Model};
use crate::support::node::launch;
use crate::support::traffic::Dice;
use crate::support::{Ask, Reply};

const KEYS: [&str; 3] = ["a", "b", "c"];
const TTLS: [i64; 6] = [10, 12, 25, 60, 1_000, 3_600_000];

fn random_call(dice: &mut Dice) -> Call {
    let mut token = || format!("t{}", dice.roll(0..9));
    let tokens = vec![token(), token(), token()];
    let ttl = TTLS[dice.roll(0..TTLS.len() as u64) as usize];
    match dice.roll(0..20) {
        0..11 => Call::Acquire {
            limit: dice.roll(0..7) as i64,
            keep: [0, 0, 0, 1, 3][dice.roll(0..5) as usize],
            ttl,
            token: tokens[0].clone(),
            nx: dice.roll(0..3) == 0,
        },
        11..14 => Call::Renew { ttl, tokens },
        14..16 => Call::Release { tokens },
        _ => Call::Look {
            limit: dice.roll(0..7) as i64,
        },
    }
}

fn millis((seconds, micros): (i64, i64)) -> i64 {
    seconds * 1_000 + micros / 1_000
}

/// The first and the last millisecond in which a call may have run, its integers, and the leases in
/// its reply.
type Said = ((i64, i64), Vec<i64>, Vec<(String, i64)>);

/// Makes the call between two readings of the server's clock.
fn send(c: &mut Connection, key: &str, call: &Call) -> Said {
    let mut pipe = redis::pipe();
    pipe.cmd("TIME");
    match call {
        Call::Acquire {
            limit,
            keep,
            ttl,
            token,
            nx,
        } => {
            pipe.cmd("RL.ACQUIRE")
                .arg(key)
                .arg(limit)
                .arg(format!("{ttl}ms"))
                .arg(token);
            if *keep > 0 {
                pipe.arg("KEEP").arg(keep);
            }
            if *nx {
                pipe.arg("NX");
            }
        }
        Call::Renew { ttl, tokens } => {
            pipe.cmd("RL.RENEW")
                .arg(key)
                .arg(format!("{ttl}ms"))
                .arg(tokens);
        }
        Call::Release { tokens } => {
            pipe.cmd("RL.RELEASE").arg(key).arg(tokens);
        }
        Call::Look { limit } => {
            pipe.cmd("RL.LEASES").arg(key).arg(limit);
        }
    }
    pipe.cmd("TIME");
    type Time = (i64, i64);
    match call {
        Call::Acquire { .. } => {
            let (from, reply, to): (Time, Reply, Time) = pipe.query(c).expect("replies");
            ((millis(from), millis(to)), reply.to_vec(), vec![])
        }
        Call::Look { .. } => {
            let (from, told, to): (Time, Leases, Time) = pipe.query(c).expect("replies");
            let says = vec![told.0, told.1, told.2, told.3, told.4, told.6];
            ((millis(from), millis(to)), says, told.5)
        }
        _ => {
            let (from, count, to): (Time, i64, Time) = pipe.query(c).expect("replies");
            ((millis(from), millis(to)), vec![count], vec![])
        }
    }
}

/// Returns the stored leases, without the marker.
fn stored(c: &mut Connection, key: &str) -> BTreeMap<String, i64> {
    let found: Vec<(String, f64)> = c.call(&["ZRANGE", key, "0", "-1", "WITHSCORES"]);
    let ends = found.into_iter().filter(|(token, _)| token != "rl:leases");
    ends.map(|(token, end)| (token, end as i64)).collect()
}

fn sorted(mut told: Vec<(String, i64)>) -> Vec<(String, i64)> {
    told.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    told
}

/// Makes `calls` random calls. Each reply must match the model at some millisecond in which the
/// call may have run.
fn run(server: &Server, models: &mut BTreeMap<&'static str, Model>, dice: &mut Dice, calls: u32) {
    let mut c = server.connection();
    for n in 0..calls {
        let key = KEYS[dice.roll(0..KEYS.len() as u64) as usize];
        let call = random_call(dice);
        let model = models.entry(key).or_default();
        let before = stored(&mut c, key);
        let ((from, to), says, told) = send(&mut c, key, &call);
        let after = stored(&mut c, key);
        // Leases that had ended by then may be gone with their key.
        let seen_at = millis(c.ask("TIME"));
        let fits = |now: i64| {
            let outcome = model.outcome(&call, now);
            let live = |ends: &BTreeMap<String, i64>| {
                let mut ends = ends.clone();
                ends.retain(|_, &mut end| end > now);
                ends
            };
            let fits = outcome.says == says
                && outcome.told == sorted(told.clone())
                && live(&outcome.after)
                    .iter()
                    .all(|(token, end)| after.get(token) == Some(end) || *end <= seen_at)
                && live(&after)
                    .iter()
                    .all(|(token, end)| outcome.after.get(token) == Some(end));
            fits.then_some(outcome)
        };
        // Valkey's TIME may be microseconds ahead of the system's clock, and so a millisecond.
        let Some(outcome) = (from - 1..=to).rev().find_map(fits) else {
            let expected = [from, to].map(|now| model.outcome(&call, now).says);
            panic!(
                "call {n} on {key} said {says:?} {told:?}, not {expected:?}; {before:?} {after:?}"
            );
        };
        if let Call::Acquire { limit, .. } = call {
            if says[0] == 1 {
                model.greatest_limit = model
                    .greatest_limit
                    .max(limit)
                    .max(model.live(from).len() as i64);
            } else {
                let same = before
                    .iter()
                    .all(|(t, end)| after.get(t) == Some(end) || *end <= seen_at);
                assert!(same, "a denial wrote: {before:?} {after:?}");
            }
            assert!(after.len() as i64 <= model.greatest_limit, "{after:?}");
        }
        model.ends = outcome.after;
    }
}

/// Tokens of leases that ended may be gone or not; what is live must be there as it was.
fn assert_kept(server: &Server, models: &mut BTreeMap<&'static str, Model>) {
    let mut c = server.connection();
    for (key, model) in models {
        let (seconds, _): (i64, i64) = c.ask("TIME");
        let stored = stored(&mut c, key);
        for (token, end) in &model.ends {
            let kept = stored.get(token) == Some(end);
            assert!(
                kept || *end < (seconds + 2) * 1_000,
                "{key}: {token} was lost"
            );
        }
        for (token, end) in &stored {
            assert_eq!(model.ends.get(token), Some(end), "{key}: {token} appeared");
        }
        model.ends = stored;
    }
}

#[test]
fn random_lease_histories_match_the_model_through_restarts() {
    let aof = launch().with(&["--appendonly", "yes", "--appendfsync", "always"]);
    for (seed, launch, save) in [(21, aof, false), (22, launch(), true)] {
        let mut server = launch.start();
        let mut models = BTreeMap::new();
        let mut dice = Dice::new(seed);
        for _ in 0..4 {
            run(&server, &mut models, &mut dice, 1_500);
            if save {
                let () = server.ask("SAVE");
            }
            server.restart();
            assert_kept(&server, &mut models);
        }
        let mut c = server.connection();
        run(&server, &mut models, &mut dice, 500);
        assert!(!KEYS.iter().all(|key| stored(&mut c, key).is_empty()));
    }
}

/// After a step forward leases end early by that much, after a step back late. The model follows
/// the server's clock and knows nothing of its steps.
#[test]
fn random_lease_histories_match_the_model_through_clock_steps() {
    let server = launch_with_clock().start();
    let mut models = BTreeMap::new();
    let mut dice = Dice::new(23);
    for offset in [0, 5, 3, 4_000, 3_990, -10, 100_000, 0] {
        server.set_clock(offset);
        assert_known(&server, &mut models);
        run(&server, &mut models, &mut dice, 400);
    }
}

/// Checks the content after a clock step: an expired key may be gone, and an expired lease that is
/// still stored may live again.
fn assert_known(server: &Server, models: &mut BTreeMap<&'static str, Model>) {
    let mut c = server.connection();
    for (key, model) in models {
        let stored = stored(&mut c, key);
        for (token, end) in &stored {
            assert_eq!(model.ends.get(token), Some(end), "{key}: {token} appeared");
        }
        model.ends = stored;
    }
}

#[test]
fn clock_step_shifts_lease_ends_and_a_dead_holders_slot_is_freed() {
    let server = launch_with_clock().start();
    let mut c = server.connection();
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 1 60s holder")[0], 1);
    // Back by a minute: it ends a minute later, and not more.
    server.set_clock(-60);
    let [taken, .., wait_ms, _] = c.ask::<Reply>("RL.ACQUIRE k 1 60s heir");
    assert_eq!(taken, 0);
    assert!((60_000..=120_000).contains(&wait_ms), "{wait_ms}");
    server.set_clock(61);
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 1 60s heir")[..3], [1, 1, 0]);
    assert_eq!(c.ask::<i64>("RL.RENEW k 60s holder"), 0);
}
