//! Random, corrupted and valid calls on leases, and edits of their sets by hand: each reply and each
//! stored end is compared with the oracle's. In between, the server is killed and reads its AOF again,
//! and with `REDIS_RL_FUZZ_CLOCK=1` its clock steps.

use std::collections::BTreeMap;

use redis::Value;

use crate::calls::word;
use crate::common::{Launch, Server};
use crate::lease_oracle::{Call, Model};
use crate::random::Random;
use crate::wire::{Command, Wire};
use crate::{now, setting, Extent};

const KEYS: [&[u8]; 4] = [b"slots", b"", b"\xff\x00\r\n", b"KEEP"];
const TOKENS: [&str; 8] = ["a", "b", "c", "d", "12345", "KEEP", "COUNT", "rl:lease"];
const TTLS: [(&str, i64); 8] = [
    ("10ms", 10),
    ("12ms", 12),
    ("1e1ms", 10),
    ("1s", 1_000),
    ("2MIN", 120_000),
    ("1h", 3_600_000),
    ("30days", 2_592_000_000),
    ("4weeks", 2_419_200_000),
];
const WRONG: [&str; 16] = [
    "",
    "-1",
    "x",
    "1.5",
    "15",
    "m",
    "9ms",
    "31d",
    "1M",
    "100001",
    "1e99",
    "rl:leases",
    "inf",
    "\r\n",
    "KEEP",
    "99999999999999999999",
];

/// The number of calls between two restarts, or steps of the clock.
const CALLS_A_RESTART: u64 = 3_000;
/// Seconds between the server's clock and the machine's.
const CLOCKS: [i64; 7] = [0, 5, 3, 4_000, 3_990, -10, 100_000];

/// The content of a key.
enum Held {
    Leases(Model),
    OtherSet,
    OtherType,
}

/// The options of RL.ACQUIRE.
#[derive(Default)]
struct Options {
    keep: i64,
    nx: bool,
    /// How long the call may wait, in milliseconds.
    wait: Option<i64>,
}

/// Parses the options of RL.ACQUIRE, or returns the beginning of their error.
fn options(mut rest: &[&str]) -> Result<Options, &'static str> {
    let mut options = Options::default();
    let mut seen = Vec::new();
    while let [name, after @ ..] = rest {
        let name = name.to_uppercase();
        let most = match name.as_str() {
            "NX" => 0,
            "KEEP" => 100_000_000_000,
            "WAIT" => 3_600_000,
            "QUEUE" => 100_000,
            _ => return Err("ERR syntax error: unknown option"),
        };
        if seen.contains(&name) {
            return Err("ERR ");
        }
        rest = after;
        if name == "NX" {
            options.nx = true;
        } else {
            let [value, after @ ..] = rest else {
                return Err("ERR syntax error: option");
            };
            let least = i64::from(name != "KEEP");
            let n = whole(value, least, most).ok_or("ERR ")?;
            match name.as_str() {
                "KEEP" => options.keep = n,
                "WAIT" => options.wait = Some(n),
                _ => {}
            }
            rest = after;
        }
        seen.push(name);
    }
    match seen.contains(&"QUEUE".to_owned()) && options.wait.is_none() {
        true => Err("ERR "),
        false => Ok(options),
    }
}

fn whole(text: &str, low: i64, high: i64) -> Option<i64> {
    let n = match text {
        "1e1" => 10,
        _ if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok()?,
        _ => return None,
    };
    (low..=high).contains(&n).then_some(n)
}

/// Parses a call, or returns the beginning of its error.
fn read(words: &[Vec<u8>]) -> Result<Call, &'static str> {
    let text = |word: &Vec<u8>| String::from_utf8_lossy(word).into_owned();
    let words: Vec<String> = words.iter().map(text).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let limit = |text| whole(text, 0, 100_000).ok_or("ERR limit must be");
    let ttl = |text: &str| {
        let known = TTLS.iter().find(|(name, _)| *name == text);
        known.map(|&(_, ms)| ms).ok_or("ERR ttl must be")
    };
    let option = |rest: &[&str], name: &str, most| match *rest {
        [] => Ok(None),
        [word, ..] if !word.eq_ignore_ascii_case(name) => Err("ERR syntax error: unknown option"),
        [_] => Err("ERR syntax error: option"),
        [_, n] => whole(n, 1, most).map(Some).ok_or("ERR "),
        _ => Err("ERR "),
    };
    let tokens = |rest: &[&str]| {
        let right = |t: &&str| (1..=128).contains(&t.len()) && *t != "rl:leases";
        match rest.iter().all(right) {
            true => Ok(rest.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()),
            false => Err("ERR token must be"),
        }
    };
    match (words[0].to_uppercase().as_str(), &words[1..]) {
        ("RL.ACQUIRE", [_, slots, time, token, rest @ ..]) => {
            let options = options(rest)?;
            let (limit, ttl) = (limit(slots)?, ttl(time)?);
            let token = tokens(&[token])?.remove(0);
            Ok(Call::Acquire {
                limit,
                keep: options.keep,
                ttl,
                token,
                nx: options.nx,
            })
        }
        ("RL.RENEW", [_, time, rest @ ..]) if !rest.is_empty() => {
            let ttl = ttl(time)?;
            Ok(Call::Renew {
                ttl,
                tokens: tokens(rest)?,
            })
        }
        ("RL.RELEASE", [_, rest @ ..]) if !rest.is_empty() => Ok(Call::Release {
            tokens: tokens(rest)?,
        }),
        ("RL.LEASES", [_, slots, rest @ ..]) => {
            option(rest, "COUNT", 100_000)?;
            Ok(Call::Look {
                limit: limit(slots)?,
            })
        }
        _ => Err("ERR usage: "),
    }
}

fn any(random: &mut Random, key: &[u8]) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let ttl = random.one_of(&TTLS).0;
    let limit = random.below(6).to_string();
    let token = random.one_of(&TOKENS);
    let texts: Vec<&str> = match random.below(12) {
        0..6 if random.once_in(4) => vec!["RL.ACQUIRE", "", &limit, ttl, token, "keep", "1"],
        0..6 if random.once_in(4) => vec!["RL.ACQUIRE", "", &limit, ttl, token, "nx"],
        0..6 if random.once_in(8) => {
            vec!["RL.ACQUIRE", "", &limit, ttl, token, "NX", "KEEP", "1"]
        }
        // In the end its time is up, or a lease of 10 ms has ended.
        0..6 if random.once_in(8) => vec!["RL.ACQUIRE", "", &limit, ttl, token, "WAIT", "3"],
        0..6 if random.once_in(8) => vec![
            "RL.ACQUIRE",
            "",
            &limit,
            ttl,
            token,
            "queue",
            "1",
            "keep",
            "1",
            "nx",
            "wait",
            "1",
        ],
        0..6 => vec!["rl.acquire", "", &limit, ttl, token],
        6..8 => vec!["RL.RENEW", "", ttl, token, random.one_of(&TOKENS)],
        8..10 => vec!["RL.RELEASE", "", token, random.one_of(&TOKENS)],
        10 => vec!["Rl.Leases", "", &limit],
        _ => vec!["RL.LEASES", "", &limit, "COUNT", "100000"],
    };
    words.extend(texts.iter().map(|text| text.as_bytes().to_vec()));
    words[1] = key.to_vec();
    if random.once_in(6) {
        let at = 1 + random.below(words.len() as u64) as usize;
        let wrong = random.one_of(&WRONG).as_bytes().to_vec();
        match random.below(4) {
            0 if at > 1 => words.truncate(at),
            1 => words.insert(at.max(2), wrong),
            2 if at > 1 && at < words.len() => words[at] = "x".repeat(129).into_bytes(),
            _ if at > 1 && at < words.len() => words[at] = wrong,
            _ => {}
        }
    }
    // Nobody is there who could end a long wait.
    for at in 1..words.len() {
        if words[at - 1].eq_ignore_ascii_case(b"WAIT") && words[at] == b"100001" {
            words[at] = b"3600001".to_vec();
        }
    }
    words
}

/// Returns a command on the key by hand.
fn meddle(random: &mut Random, key: &[u8]) -> Vec<Vec<u8>> {
    let token = random.one_of(&TOKENS);
    let shift = random.below(200_000) as i64 - 100_000;
    let end = (now() as i64 / 1_000_000 + shift).to_string();
    let words: Vec<&str> = match random.below(12) {
        0 => vec!["DEL", ""],
        1..4 => vec!["ZREM", "", token],
        4..7 => vec!["ZADD", "", &end, token],
        7 => vec!["ZREM", "", "rl:leases"],
        8 => vec!["SET", "", "text"],
        9 => vec!["PERSIST", ""],
        10 => vec!["ZADD", "", "7", "rl:leases"],
        // Beyond the end of every lease.
        _ => vec!["PEXPIRE", "", "9999999999"],
    };
    let mut words: Vec<_> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    words[1] = key.to_vec();
    words
}

struct Fuzz {
    server: Server,
    wire: Wire,
    held: BTreeMap<Vec<u8>, Held>,
    right: u64,
    wrong: u64,
    foreign: u64,
}

impl Fuzz {
    fn millis(&mut self) -> i64 {
        match self.wire.reply() {
            Value::Array(time) => match &time[..] {
                [Value::BulkString(seconds), Value::BulkString(micros)] => {
                    let number = |text: &[u8]| -> i64 {
                        String::from_utf8_lossy(text).parse().expect("a number")
                    };
                    number(seconds) * 1_000 + number(micros) / 1_000
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    /// Returns the current content of the key.
    fn stored(&mut self) -> Held {
        let (kind, members) = (self.wire.reply(), self.wire.reply());
        match (kind, members) {
            (Value::SimpleString(kind), _) if kind == "string" => Held::OtherType,
            (_, Value::Array(items)) => {
                let text = |value: &Value| match value {
                    Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                    other => panic!("{other:?}"),
                };
                let mut ends = BTreeMap::new();
                for pair in items.chunks_exact(2) {
                    let end: f64 = text(&pair[1]).parse().expect("a score");
                    ends.insert(text(&pair[0]), end as i64);
                }
                match ends.remove("rl:leases") {
                    None if !ends.is_empty() => Held::OtherSet,
                    Some(score) if score != 0 => Held::OtherSet,
                    _ => Held::Leases(Model { ends }),
                }
            }
            (kind, members) => panic!("{kind:?} {members:?}"),
        }
    }

    /// Asks what the key holds, and then the time.
    fn probe(&mut self, key: &[u8]) {
        self.wire.send(&Command(vec![word("TYPE"), key.to_vec()]));
        let range = [
            word("ZRANGE"),
            key.to_vec(),
            word("0"),
            word("-1"),
            word("WITHSCORES"),
        ];
        self.wire.send(&Command(range.to_vec()));
        self.wire.send(&Command(vec![word("TIME")]));
    }

    /// Kills the server and starts it again, or moves its clock. No lease may appear or change; after
    /// a restart none that is live may be lost.
    fn disturb(&mut self, clock: Option<i64>) {
        match clock {
            Some(seconds) => self.server.set_clock(seconds),
            None => {
                self.server.restart();
                self.wire = Wire::connect(&self.server);
            }
        }
        for key in KEYS {
            self.probe(key);
            self.wire.flush();
            let (found, seen_at) = (self.stored(), self.millis());
            if let (Some(Held::Leases(before)), Held::Leases(after)) = (self.held.get(key), &found)
            {
                for (token, end) in &after.ends {
                    let known = before.ends.get(token);
                    assert_eq!(known, Some(end), "{key:?}: {token} appeared");
                }
                for (token, end) in &before.ends {
                    let kept = after.ends.contains_key(token) || *end <= seen_at;
                    assert!(kept || clock.is_some(), "{key:?}: {token} was lost");
                }
            }
            self.held.insert(key.to_vec(), found);
        }
    }

    fn step(&mut self, key: &[u8], words: Vec<Vec<u8>>) {
        let time = Command(vec![word("TIME")]);
        let command = Command(words.clone());
        self.wire.send(&time);
        self.wire.send(&command);
        self.wire.send(&time);
        self.probe(key);
        self.wire.flush();
        let from = self.millis();
        let reply = self.wire.reply();
        let to = self.millis();
        let after = self.stored();
        let seen_at = self.millis();
        if words[0].to_ascii_uppercase().starts_with(b"RL.") {
            self.check(key, &command, &reply, (from, to, seen_at), &after);
        }
        self.held.insert(key.to_vec(), after);
    }

    fn check(
        &mut self,
        key: &[u8],
        command: &Command,
        reply: &Value,
        at: (i64, i64, i64),
        after: &Held,
    ) {
        let none = Held::Leases(Model::default());
        let before = self.held.get(key).unwrap_or(&none);
        let error = match reply {
            Value::ServerError(error) => Some(format!(
                "{} {}",
                error.code(),
                error.details().unwrap_or_default()
            )),
            _ => None,
        };
        let expected = match (read(&command.0), before) {
            (Err(text), _) => Err(text),
            (Ok(_), Held::OtherSet) => Err("ERR key '"),
            (Ok(_), Held::OtherType) => Err("WRONGTYPE "),
            (Ok(call), Held::Leases(model)) => Ok((call, model)),
        };
        match (expected, error) {
            (Err(text), Some(error)) => {
                // If several words are wrong, any of them may be reported.
                let told = [
                    "ERR limit",
                    "ERR ttl",
                    "ERR token",
                    "ERR KEEP",
                    "ERR COUNT",
                    "ERR WAIT",
                    "ERR QUEUE",
                    "ERR syntax",
                    "ERR usage",
                ];
                let fits = error.starts_with(text)
                    || told.iter().any(|t| error.starts_with(t))
                        && text.starts_with("ERR ")
                        && !text.starts_with("ERR key");
                assert!(fits, "{command:?}: {error}, not {text}");
                match text.starts_with("ERR key") || text.starts_with("WRONG") {
                    true => self.foreign += 1,
                    false => self.wrong += 1,
                }
            }
            (Ok((call, model)), None) => {
                assert_fits(command, &call, model, reply, at, after);
                self.right += 1;
            }
            // It may have expired since it was read.
            (Err(text), None) => {
                let gone = text == "ERR key '" && !matches!(after, Held::OtherSet);
                assert!(gone, "{command:?} gave {reply:?}, not {text}");
            }
            (Ok(_), Some(error)) => panic!("{command:?}: {error}"),
        }
    }
}

fn assert_fits(
    command: &Command,
    call: &Call,
    model: &Model,
    reply: &Value,
    (from, to, seen_at): (i64, i64, i64),
    after: &Held,
) {
    let Held::Leases(after) = after else {
        panic!("{command:?} left something else");
    };
    let (mut says, mut told) = (Vec::new(), Vec::new());
    for item in reply.as_sequence().unwrap_or(std::slice::from_ref(reply)) {
        match item {
            Value::Int(n) => says.push(*n),
            list => told = redis::from_redis_value(list.clone()).expect("tokens"),
        }
    }
    // Leases that end together are listed by their tokens.
    told.sort_by(|a: &(String, i64), b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    assert_waited(command, model, &says, from, to);
    // Valkey's TIME may be microseconds ahead of the system's clock, and so a millisecond.
    let fits = (from - 1..=to).any(|now| {
        let outcome = model.outcome(call, now);
        let kept = |from: &BTreeMap<String, i64>, to: &BTreeMap<String, i64>, over: i64| {
            from.iter()
                .all(|(token, end)| *end <= over || to.get(token) == Some(end))
        };
        outcome.says == says
            && outcome.told == told
            && kept(&outcome.after, &after.ends, seen_at)
            && kept(&after.ends, &outcome.after, now)
    });
    let expected = model.outcome(call, from);
    assert!(
        fits,
        "{command:?} gave {reply:?}, not {:?}; {model:?} became {:?}",
        expected.says, after.ends
    );
}

/// Checks that a call that was denied although it might wait has waited for its time.
fn assert_waited(command: &Command, model: &Model, says: &[i64], from: i64, to: i64) {
    let text = |word: &Vec<u8>| String::from_utf8_lossy(word).into_owned();
    let words: Vec<String> = command.0.iter().map(text).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [_, _, limit, _, token, rest @ ..] = &words[..] else {
        return;
    };
    let Ok(Options {
        wait: Some(wait),
        keep,
        ..
    }) = options(rest)
    else {
        return;
    };
    let room = whole(limit, 0, 100_000).unwrap_or(0) - keep;
    let is_held = model.ends.get(*token).is_some_and(|&end| end >= from);
    if says[0] == 0 && room > 0 && !is_held {
        assert!(
            to - from >= wait - 1,
            "{command:?} waited from {from} to {to}"
        );
    }
}

#[test]
fn every_lease_reply_matches_the_model() {
    let seed = setting("REDIS_RL_FUZZ_SEED").unwrap_or_else(now);
    println!("REDIS_RL_FUZZ_SEED={seed}");
    let launch = Launch::default().with(&["--appendonly", "yes", "--appendfsync", "no"]);
    let clock = setting("REDIS_RL_FUZZ_CLOCK").is_some();
    let server = match clock {
        true => launch.with_clock(),
        false => launch,
    }
    .start();
    let mut fuzz = Fuzz {
        wire: Wire::connect(&server),
        server,
        held: BTreeMap::new(),
        right: 0,
        wrong: 0,
        foreign: 0,
    };
    let mut random = Random::new(seed);
    let extent = Extent::asked_for();
    let mut calls = 0;
    while !extent.is_reached(calls) {
        let key = random.one_of(&KEYS);
        let words = match random.below(20) {
            0 => {
                fuzz.step(key, meddle(&mut random, key));
                // A member added beyond the key's expiry would expire with the key.
                vec![b"PERSIST".to_vec(), key.to_vec()]
            }
            // So that a key does not stay somebody else's for long.
            1 if !matches!(fuzz.held.get(key), None | Some(Held::Leases(_))) => {
                vec![b"DEL".to_vec(), key.to_vec()]
            }
            _ => any(&mut random, key),
        };
        fuzz.step(key, words);
        calls += 1;
        if calls.is_multiple_of(CALLS_A_RESTART) {
            let steps = clock && random.once_in(2);
            fuzz.disturb(steps.then(|| random.one_of(&CLOCKS)));
        }
    }
    let (right, wrong, foreign) = (fuzz.right, fuzz.wrong, fuzz.foreign);
    println!("{right} right, {wrong} wrong, {foreign} on other keys");
    assert!(fuzz.server.alive());
    assert!(right > calls / 10 && wrong > calls / 100 && foreign > calls / 100);
}
