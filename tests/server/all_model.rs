//! RL.ALL against a model that shares no code with the module: random calls, with those on one
//! key in between.
//!
//! `REDIS_RL_FUZZ_SECONDS` sets how long (3), `REDIS_RL_FUZZ_SEED` which calls.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use redis::{Connection, Value};

use crate::common::Server;
use crate::oracle::{self, MILLI};
use crate::support::mixed::{all, words};
use crate::support::mixed_model::{fault, Held, Part, Spec};
use crate::support::traffic::Dice;
use crate::support::{expires_at, now, Ask as _};
use crate::windows::{self, Named};

/// A limit on a key; `once`: whether every lease of the call has ONCE.
fn random_part(dice: &mut Dice, key: usize, once: bool) -> (String, Spec) {
    let (cost, keep) = (
        dice.roll(1..4),
        [0, 0, 0, 1, 2, 6][dice.roll(0..6) as usize],
    );
    let limit = dice.roll(2..9);
    let keeps = if keep > 0 {
        format!(" KEEP {keep}")
    } else {
        String::new()
    };
    let ask = windows::Ask {
        cost,
        keep,
        mode: windows::Mode::Whole,
    };
    let (text, named) = match key % 5 {
        0 => {
            let rate = ["1/h", "100", "40/s", "3/20ms"][dice.roll(0..4) as usize];
            let parsed = oracle::Limit::parse(rate.as_bytes(), limit.to_string().as_bytes());
            let text = format!("BUCKET {rate} {limit} COST {cost}{keeps}");
            return (text, Spec::Bucket(parsed.expect("a limit"), cost, keep));
        }
        1 => {
            let millis = [25, 60, 3_600_000][dice.roll(0..3) as usize];
            (format!("{millis}ms"), Named::For(millis))
        }
        // Not of two lengths on one key: what a call converts is the window commands' own matter.
        2 => {
            let millis = if key < 5 { 80 } else { 3_600_000 };
            (format!("SLIDING {millis}ms"), Named::Sliding(millis))
        }
        3 => (
            "MONTH OFFSET -03:30".to_owned(),
            Named::Calendar(crate::calendar::Unit::Month(1), -210),
        ),
        _ => {
            let millis = [10, 40, 3_600_000][dice.roll(0..3) as usize];
            let token = format!("t{}", dice.roll(0..6));
            let ends = if once { " ONCE" } else { "" };
            let text = format!("LEASE {limit} {millis}ms {token}{keeps}{ends}");
            let (limit, keep) = (limit as i64, keep as i64);
            return (text, Spec::Lease(limit, millis, token, keep, once));
        }
    };
    (
        format!("WINDOW {limit} {text} COST {cost}{keeps}"),
        Spec::Window(limit, named, ask),
    )
}

fn held(c: &mut Connection, key: &str) -> Held {
    match key.ends_with(['4', '9']) {
        true => Held::Set(c.call(&["ZRANGE", key, "0", "-1", "WITHSCORES"])),
        false => Held::Text(c.call(&["GET", key])),
    }
}

/// Calls on one key, which the model does not judge: other tests do.
fn disturb(c: &mut Connection, dice: &mut Dice) {
    let n = dice.roll(0..10) as usize;
    let (text, spec) = random_part(dice, n, false);
    let (_, rest) = text.split_once(' ').expect("a kind");
    let give = |text: &str| text.split(" KEEP").next().unwrap_or_default().to_owned();
    let call = match (spec, dice.roll(0..3)) {
        (_, 0) if dice.roll(0..4) == 0 => format!("DEL k{n}"),
        (Spec::Bucket(..), 0) => format!("RL.GIVE k{n} {}", give(rest)),
        (Spec::Bucket(..), _) => format!("RL.TAKE k{n} {rest} ATMOST"),
        (Spec::Window(..), 0) => format!("RL.WGIVE k{n} {}", give(rest)),
        (Spec::Window(..), _) => format!("RL.WTAKE k{n} {rest} ATMOST"),
        (Spec::Lease(_, _, token, ..), 0) => format!("RL.RELEASE k{n} {token}"),
        (Spec::Lease(..), _) => format!("RL.ACQUIRE k{n} {}", rest),
    };
    c.ask::<Value>(&call);
}

/// Returns the possible times of a call: each millisecond, and the times at which a bucket was
/// written.
fn instants(parts: &[Part], moment: RangeInclusive<u64>) -> Vec<u64> {
    let written = parts
        .iter()
        .filter_map(|part| match (&part.spec, &part.after) {
            (Spec::Bucket(..), Held::Text(Some(bytes))) => {
                Some(oracle::State::read(bytes)?.updated_at)
            }
            _ => None,
        });
    let millis = moment.start() / MILLI + 1..=moment.end() / MILLI;
    let ends = [*moment.start(), *moment.end()];
    let all = written.chain(ends).chain(millis.map(|ms| ms * MILLI));
    all.filter(|instant| moment.contains(instant)).collect()
}

#[test]
fn random_histories_match_the_model() {
    let setting = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seed = setting("REDIS_RL_FUZZ_SEED").unwrap_or_else(now);
    let time = Duration::from_secs(setting("REDIS_RL_FUZZ_SECONDS").unwrap_or(3));
    let server = Server::start();
    let mut c = server.connection();
    let mut dice = Dice::new(seed);
    let (mut taken, mut denied, mut unclear) = (0, 0, 0);
    let start = Instant::now();
    while start.elapsed() < time {
        if dice.roll(0..3) == 0 {
            disturb(&mut c, &mut dice);
            continue;
        }
        let (first, step) = (
            dice.roll(0..10) as usize,
            [1, 3, 7, 9][dice.roll(0..4) as usize],
        );
        let begun = now();
        let once = dice.roll(0..2) == 0;
        let mut parts: Vec<_> = (0..dice.roll(1..6) as usize)
            .map(|n| (first + n * step) % 10)
            .map(|n| {
                let ((text, spec), key) = (random_part(&mut dice, n, once), format!("k{n}"));
                // Read first, otherwise the key could expire between the two.
                let expires = expires_at(&mut c, &key);
                let before = held(&mut c, &key);
                Part {
                    key,
                    text,
                    spec,
                    expires,
                    after: before.clone(),
                    before,
                }
            })
            .collect();
        let call = words(
            &parts
                .iter()
                .map(|part| (part.key.as_str(), part.text.as_str()))
                .collect::<Vec<_>>(),
        );
        let from = now();
        let reply = all(&mut c, &call);
        let to = now();
        for part in &mut parts {
            part.after = held(&mut c, &part.key);
        }
        let end = now();
        if reply.0 > 0 {
            taken += 1
        } else {
            denied += 1
        }
        // Why it came at none of these instants.
        let misfit = |instants: Vec<u64>| -> Option<String> {
            let faults = instants
                .into_iter()
                .map(|now| fault(&parts, &reply, now, end));
            let faults: Vec<_> = faults.collect::<Option<_>>()?;
            faults.into_iter().next()
        };
        // Numbers of one reply may change at different instants of one millisecond.
        let fine = (0..1000).map(|n| from + (to - from) * n / 1000).collect();
        if let Some(why) = misfit(instants(&parts, from..=to)).and_then(|_| misfit(fine)) {
            // A key that was read may have expired before the call; a denied one reveals no time.
            let soon = |part: &Part| is_soon(part, begun, end);
            let told = format!("REDIS_RL_FUZZ_SEED={seed}: {call}\n{reply:?}\n{why}");
            assert!(parts.iter().any(soon), "{told}");
            unclear += 1;
        }
    }
    println!("REDIS_RL_FUZZ_SEED={seed}: {taken} taken, {denied} denied, {unclear} unclear");
    assert!(taken > 100 && denied > 100 && unclear * 50 < taken + denied);
}

/// Returns whether the key's content may have ended in that time, or is a bucket that fills fast.
fn is_soon(part: &Part, begun: u64, end: u64) -> bool {
    let in_time = (begun / MILLI) as i64..=(end / MILLI) as i64 + 1;
    match (&part.spec, &part.before) {
        (_, Held::Set(members)) => members
            .iter()
            .any(|(_, end)| in_time.contains(&(*end as i64))),
        (Spec::Bucket(..), _) if part.text.split(' ').nth(1) != Some("1/h") => true,
        _ => in_time.contains(&part.expires),
    }
}
