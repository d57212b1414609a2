//! Calls on windows as somebody might send them, and what others may do to their keys.

use crate::calls::{number, option, spelled, word, Words};
use crate::model::Model;
use crate::oracle::MAX_TOKENS;
use crate::random::Random;

/// A key and the limit and window that it is mostly asked for, so that it has a history.
type Usual<'a> = (&'a [u8], u64, &'a str);

const USUAL: [Usual<'static>; 10] = [
    (b"short", 5, "7ms"),
    (b"\xf8", 1_000, "30ms"),
    (b"SLIDING", 5, "SLIDING 20ms"),
    (b"\xf9\0\r\n", 100, "SLIDING 1ms"),
    (b"day:{slot}a", 10, "DAY OFFSET +05:45"),
    (b"month", 100_000_000_000, "MONTH ANCHOR 31"),
    (b"hour", 3, "1h"),
    (b"any:minute", 60, "SLIDING 1m"),
    (b"any:week", 12_345, "SLIDING 7d"),
    (b"until", 7, "UNTIL"),
];

/// Other ways to name one.
const WINDOWS: [&str; 20] = [
    "1ms",
    "15m",
    "24h",
    "2weeks",
    "1e1s",
    "36525d",
    "36526d",
    "hour",
    "Day",
    "WEEK",
    "week anchor 7",
    "MONTH offset -11:30",
    "MONTH ANCHOR 29 OFFSET +14:00",
    "YEAR",
    "SLIDING 1s",
    "sliding 36525d",
    "SLIDING 100ms",
    "WEEK ANCHOR 8",
    "DAY ANCHOR 1",
    "UNTIL",
];

/// Returns the next call.
pub fn any(random: &mut Random, model: &Model) -> Words {
    let usual = random.one_of(&USUAL);
    let name = random.one_of(&["RL.WTAKE", "RL.WTAKE", "RL.WTAKE", "RL.WPEEK", "RL.WGIVE"]);
    let (limit, named) = named(random, usual);
    let mut words = vec![option(random, name), usual.0.to_vec()];
    words.extend(named);
    words.extend(options(random, name, limit, model.used(usual.0)));
    words
}

/// Returns the key of a window.
pub fn any_key(random: &mut Random) -> Vec<u8> {
    random.one_of(&USUAL).0.to_vec()
}

/// Returns `WINDOW limit window` for a key, if it is one of a window.
pub fn window_at(random: &mut Random, key: &[u8]) -> Option<Words> {
    let usual = USUAL.iter().find(|(known, ..)| *known == key)?;
    let mut words = vec![option(random, "WINDOW")];
    words.extend(named(random, *usual).1);
    Some(words)
}

/// Returns a window spec.
pub fn limit(random: &mut Random, model: &Model) -> (Vec<u8>, Words) {
    let usual = random.one_of(&USUAL);
    let (limit, named) = named(random, usual);
    let mut words = vec![option(random, "WINDOW")];
    words.extend(named);
    words.extend(options(random, "RL.ALL", limit, model.used(usual.0)));
    (usual.0.to_vec(), words)
}

/// Returns a limit, and the words for it and for a window.
fn named(random: &mut Random, (_, limit, window): Usual<'static>) -> (u64, Words) {
    let other = random.one_of(&WINDOWS);
    // Another kind is an error as long as the key exists.
    let is_sliding = |window: &str| window.to_ascii_uppercase().starts_with("SLIDING");
    let window = match is_sliding(other) == is_sliding(window) || random.once_in(20) {
        true if random.once_in(3) => other,
        _ => window,
    };
    let limit = match random.below(10) {
        0 => 0,
        1 => random.of_any_size().min(MAX_TOKENS),
        2 => limit + 1,
        _ => limit,
    };
    let mut words = vec![spelled(random, limit)];
    words.extend(window.split(' ').map(word));
    if window == "UNTIL" {
        words.push(number(end(random)));
    }
    (limit, words)
}

/// Returns an end, mostly soon.
fn end(random: &mut Random) -> u64 {
    let now = crate::now() / 1_000_000;
    match random.below(6) {
        0 => now.wrapping_sub(random.of_any_size()) >> 1,
        1 => now.saturating_add(random.of_any_size()) >> 1,
        2 => now + 36_525 * 86_400_000 - 5 + random.below(20),
        3 => now + random.below(20),
        _ => now + 1 + random.below(3_000),
    }
}

fn options(random: &mut Random, name: &str, limit: u64, used: u64) -> Words {
    let left = limit.saturating_sub(used);
    let any = random.of_any_size();
    let amount = |random: &mut Random| {
        let of = random.one_of(&[0, 1, 1, 2, left, left + 1, limit, limit + 1, used, any]);
        let n = of.min(MAX_TOKENS);
        spelled(random, n)
    };
    let mut options = Vec::new();
    if !random.once_in(3) {
        options.push(vec![option(random, "COST"), amount(random)]);
    }
    match (name, random.below(6)) {
        ("RL.WTAKE", 0) => options.push(vec![option(random, "ATMOST")]),
        ("RL.WTAKE", 1) => {
            if random.once_in(2) {
                options = vec![vec![option(random, "COST"), number(MAX_TOKENS)]];
            }
            options.push(vec![option(random, "FORCE")]);
        }
        ("RL.WTAKE" | "RL.ALL", 2) => options.push(vec![option(random, "KEEP"), amount(random)]),
        ("RL.WTAKE", 3) => {
            options.push(vec![option(random, "KEEP"), amount(random)]);
            options.push(vec![option(random, "ATMOST")]);
        }
        ("RL.WGIVE", 0..=2) => {
            let now = crate::now() / 1_000_000;
            let some = random.below(40);
            let at = random.one_of(&[now, now - some, now + some, any >> 1, 0]);
            options.push(vec![option(random, "AT"), number(at)]);
        }
        _ => {}
    }
    if random.once_in(2) {
        options.reverse();
    }
    options.concat()
}

/// Windows that nobody can have written, others' strings and types, expiries.
pub fn meddle(random: &mut Random) -> Words {
    let (key, ..) = random.one_of(&USUAL);
    let instant = |random: &mut Random| {
        let now = crate::now() / 1_000_000;
        match random.below(4) {
            0 => random.word(),
            1 => now.wrapping_sub(random.of_any_size() >> 20),
            _ => now.wrapping_add(random.of_any_size() >> 20),
        }
    };
    let used = |random: &mut Random| match random.below(8) {
        0 => random.word(),
        1 => 2 * MAX_TOKENS,
        _ => random.below(20),
    };
    let (name, arguments): (&str, Words) = match random.below(12) {
        0..=3 => {
            let (start, end) = (instant(random), instant(random));
            ("SET", vec![tagged(0xF8, &[start, end, used(random)])])
        }
        4..=6 => {
            let length = 1 + random.of_any_size() % (36_525 * 86_400_000);
            let newest = u128::from(instant(random)) * 16 / u128::from(length);
            let mut words = vec![length, newest as u64];
            words.extend((0..17).map(|_| used(random) * random.below(2)));
            ("SET", vec![tagged(0xF9, &words)])
        }
        7 => ("PEXPIRE", vec![number(random.below(20))]),
        8 => ("PERSIST", vec![]),
        9 => ("SET", vec![random.bytes(160)]),
        10 => ("RPUSH", vec![random.bytes(20)]),
        _ => ("APPEND", vec![random.bytes(3)]),
    };
    // Whatever is no window would stay: no call of the module overwrites it.
    let (name, arguments) = match random.below(3) {
        0 => (name, arguments),
        _ => ("DEL", vec![]),
    };
    [vec![word(name), key.to_vec()], arguments].concat()
}

fn tagged(tag: u8, words: &[u64]) -> Vec<u8> {
    let bytes = words.iter().flat_map(|word| word.to_le_bytes());
    std::iter::once(tag).chain(bytes).collect()
}
