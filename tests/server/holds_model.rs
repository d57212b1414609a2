//! Holds against a model that shares no code with the module: messages that are duplicated,
//! delayed, reordered and lost, other traffic, windows that end, and time that passes. After every
//! call the windows and the records are the model's, byte for byte.
//!
//! `REDIS_RL_FUZZ_SECONDS` sets how long (4), `REDIS_RL_FUZZ_SEED` which calls.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redis::{Cmd, Connection, Value};

use super::clock::with_clock;
use crate::hold_oracle::{counts, Limit, Model, Outcome};
use crate::support::traffic::Dice;
use crate::support::{expires_at, knows, now, Ask};
use crate::windows::Named;

/// A window that outlives the history, one that ends during it, and one that slides.
fn limit(dice: &mut Dice, n: usize, amount: u64) -> (Limit, String) {
    let (key, named, text) = [
        ("long", Named::For(30 * 86_400_000), "30d"),
        ("short", Named::For(40_000), "40s"),
        ("sliding", Named::Sliding(64_000), "SLIDING 64s"),
    ][n];
    // Limits change midway.
    let limit = [60, 90, 400][dice.roll(0..3) as usize];
    let limit = Limit {
        key: key.to_owned(),
        limit,
        named,
        amount,
        keep: 0,
    };
    let text = format!("WINDOW {} {text}", limit.limit);
    (limit, text)
}

/// A piece of work: what its messages say, however often they are sent.
#[derive(Clone)]
struct Work {
    id: String,
    ttl: i64,
    free: bool,
    limits: Vec<(usize, u64, u64)>,
}

fn server_ms(c: &mut Connection) -> i64 {
    let (seconds, micros): (i64, i64) = c.ask("TIME");
    seconds * 1_000 + micros / 1_000
}

fn send(c: &mut Connection, words: &str) -> Outcome {
    let mut command = Cmd::new();
    command.arg(words.split(' ').collect::<Vec<_>>());
    match command.query::<(i64, i64, Vec<[i64; 5]>)>(c) {
        Ok((status, _, each)) => {
            let moved = each[..each.len() - 1].iter().map(|reply| reply[0]);
            Outcome::Reply(status, moved.collect())
        }
        Err(error) => {
            let text = error.to_string();
            let known = [
                "was settled",
                "was cancelled",
                "was made with other",
                "was made for other",
            ];
            let known = known.into_iter().find(|known| text.contains(known));
            Outcome::Error(known.unwrap_or_else(|| panic!("{words}: {text}")))
        }
    }
}

/// Stored bytes by name.
type Stored<K> = BTreeMap<K, Vec<u8>>;

/// The hash and the windows as they are stored.
fn stored(c: &mut Connection) -> (Stored<Vec<u8>>, Stored<String>) {
    let fields = c.ask("HGETALL h");
    let mut windows = BTreeMap::new();
    for key in ["long", "short", "sliding"] {
        if let Some(bytes) = c.ask::<Option<Vec<u8>>>(&format!("GET {key}")) {
            windows.insert(key.to_owned(), bytes);
        }
    }
    (fields, windows)
}

/// A call of the model.
type Step = Box<dyn Fn(&mut Model, i64) -> Option<Outcome>>;

#[test]
fn random_histories_of_holds_go_as_the_model_says() {
    let setting = |name| {
        let text = std::env::var(name).ok()?;
        text.parse::<u64>().ok()
    };
    let seed = setting("REDIS_RL_FUZZ_SEED").unwrap_or_else(now);
    let time = Duration::from_secs(setting("REDIS_RL_FUZZ_SECONDS").unwrap_or(4));
    let server = with_clock();
    let mut c = server.connection();
    let early = i64::from(!knows(&mut c, &["PEXPIRETIME", "k"]));
    let mut dice = Dice::new(seed);
    let start = Instant::now();
    let (mut calls, mut clock, mut histories) = (0, 0, 0);
    while histories == 0 || start.elapsed() < time {
        c.ask::<()>("FLUSHALL");
        let mut model = Model::default();
        let mut works = Vec::new();
        for n in 0..dice.roll(1..9) {
            let first = dice.roll(0..3) as usize;
            let count = dice.roll(1..4) as usize;
            let limits = (0..count).map(|k| ((first + k) % 3, dice.roll(1..30), dice.roll(0..45)));
            let limits: Vec<_> = limits.collect();
            works.push(Work {
                id: format!("id{n}"),
                ttl: [2, 5, 30][dice.roll(0..3) as usize],
                free: dice.roll(0..3) > 0,
                limits,
            });
        }
        for _ in 0..60 {
            let (words, step): (String, Step) = random_call(&mut dice, &works);
            if dice.roll(0..3) == 0 {
                clock += [1, 2, 6, 35, 61, 130][dice.roll(0..6) as usize];
                server.set_clock(clock);
            }
            let from = server_ms(&mut c);
            let reply = match words.starts_with("RL.W") {
                true => {
                    c.ask::<Value>(&words);
                    None
                }
                false => Some(send(&mut c, &words)),
            };
            let to = server_ms(&mut c);
            let (fields, windows) = stored(&mut c);
            let read = server_ms(&mut c);
            // The call came at one of these milliseconds. What expired since may be gone, and what
            // expires in this one may still be stored. Redis 6.2 does not say whether a key
            // expires in the millisecond of the call or has expired.
            let counting = |stored: &Stored<String>| {
                let mut stored = stored.clone();
                stored.retain(|_, bytes| counts(bytes, read));
                stored
            };
            let mut times =
                (from..=to).flat_map(|at| (at..=at + early).map(move |seen| (at, seen)));
            let mut faults = Vec::new();
            let found = times.find_map(|(at, seen)| {
                let mut after = model.clone();
                after.expire(seen);
                let expected = step(&mut after, at);
                let same_reply = expected == reply;
                let hash = after.hash() == fields || fields.is_empty() && after.expires <= read;
                if same_reply && hash && counting(&after.windows) == counting(&windows) {
                    return Some(after);
                }
                faults.push(format!("at {at}: {expected:?}\n{after:?}"));
                None
            });
            let Some(after) = found else {
                panic!(
                    "REDIS_RL_FUZZ_SEED={seed}, {histories}: {words}\n{from} to {read}: {reply:?}\n{fields:?}\n\
                     {windows:?}\nbefore: {model:?}\n{}",
                    faults.join("\n")
                );
            };
            model = after;
            let expires = expires_at(&mut c, "h");
            let fits =
                expires == model.expires || expires < 0 && model.expires <= server_ms(&mut c);
            assert!(
                fits || fields.is_empty(),
                "{words}: {expires} is not {}",
                model.expires
            );
            calls += 1;
        }
        histories += 1;
    }
    println!("REDIS_RL_FUZZ_SEED={seed}: {calls} calls in {histories} histories");
    assert!(calls >= 60);
}

fn random_call(dice: &mut Dice, works: &[Work]) -> (String, Step) {
    let kind = dice.roll(0..20);
    if kind == 0 {
        let n = dice.roll(0..3) as usize;
        let amount = dice.roll(1..20);
        let (limit, text) = limit(dice, n, amount);
        let (_, text) = text.split_once(' ').expect("a limit");
        let words = format!("RL.WTAKE {} {text} COST {amount}", limit.key);
        let step = move |model: &mut Model, at| {
            model.take(&limit, at);
            None
        };
        return (words, Box::new(step));
    }
    let work = works[dice.roll(0..works.len() as u64) as usize].clone();
    let settles = kind > 11;
    let cancels = kind == 19;
    let (mut keys, mut specs, mut limits) = (Vec::new(), Vec::new(), Vec::new());
    for &(n, cost, used) in &work.limits {
        let amount = match (settles, cancels) {
            (false, _) => cost,
            (true, false) => used,
            (true, true) => 0,
        };
        let (limit, text) = limit(dice, n, amount);
        let option = if settles { "USED" } else { "COST" };
        keys.push(limit.key.clone());
        specs.push(format!("{text} {option} {amount}"));
        limits.push(limit);
    }
    let (count, keys, specs) = (keys.len() + 1, keys.join(" "), specs.join(" "));
    let (id, ttl, free) = (work.id, work.ttl, work.free);
    if settles {
        let words = format!("RL.SETTLE {count} {keys} h {specs} HOLD {id}");
        let step = move |model: &mut Model, at| Some(model.settle(at, &id, &limits));
        return (words, Box::new(step));
    }
    let otherwise = if free { "FREE" } else { "CHARGE" };
    let words = format!("RL.ALL {count} {keys} h {specs} HOLD {ttl}s {id} ELSE {otherwise}");
    let step =
        move |model: &mut Model, at| Some(model.reserve(at, &id, ttl * 1_000, free, &limits));
    (words, Box::new(step))
}
