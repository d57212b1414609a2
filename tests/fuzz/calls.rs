//! Calls as somebody might send them: most are right, the others wrong in every way.

use crate::common::wrong::{NO_COUNTS, NO_NUMBERS, NO_RATES};
use crate::hold_calls;
use crate::mixed_calls;
use crate::model::Model;
use crate::oracle::{MAX_TOKENS, UNIT};
use crate::random::Random;
use crate::window_calls;
use crate::wire::Command;

/// The last three are alike at both ends and of the same length.
const KEYS: [&[u8]; 15] = [
    b"",
    b"user:42",
    b"\xff\xfe\x00\r\n",
    b"$-1\r\n",
    b"{slot}a",
    b"{slot}b",
    b"rate",
    b"*",
    b"\0",
    b"COST",
    b"a rather long key, as long as those that are made of an address and a path and a token",
    b"12345678901234567890",
    b"{acme42}:rpm:limit",
    b"{acme42}:tpm:limit",
    b"{acme42}:rpd:limit",
];

/// One per key, so that a bucket has a history; others come in between.
const LIMITS: [[&str; 2]; 15] = [
    ["10", "5"],
    ["100/m", "20"],
    ["0.5", "3"],
    ["1/d", "10"],
    ["1000000", "1000"],
    ["1000000000000", "100000000000"],
    ["1/36525d", "1"],
    ["0.16666666666666666/m", "99"],
    ["700000", "1"],
    ["3/ms", "10"],
    ["1/15m", "1"],
    ["999999999999", "12345678901"],
    ["5/s", "10"],
    ["5/s", "10"],
    ["1/h", "10"],
];

/// Spellings by programs and people.
const SPELLED: [[&str; 2]; 12] = [
    ["1e1", "5"],
    ["1.0E2/min", "2e1"],
    ["5e-1", "3.0"],
    ["1/DAY", "1.0e1"],
    ["1.1574074074074075e-4", "3"],
    ["1e-05", "1"],
    ["1E+6/sec", "1000e0"],
    ["2/weeks", "0"],
    ["1/h", "0e5"],
    ["3/1e1ms", "150e-1"],
    ["1e12", "1e11"],
    ["0.5/2Hours", "9"],
];

pub type Words = Vec<Vec<u8>>;

/// Returns the next command.
pub fn any(random: &mut Random, model: &Model) -> Command {
    let key = random.below(KEYS.len() as u64) as usize;
    let mut words = match random.below(46) {
        0..=7 => take(random, model, key),
        8..=9 => with_cost(random, model, key, "RL.GIVE"),
        10..=11 => with_cost(random, model, key, "RL.PEEK"),
        12..=13 => several(random, model),
        14..=17 => throttle(random, model, key),
        18..=27 => window_calls::any(random, model),
        28..=32 => mixed_calls::any(random, model),
        33 => inspect(random, model, key),
        34 => return Command(window_calls::meddle(random)),
        35 => return Command(mixed_calls::meddle(random)),
        36 => return Command(aside(random)),
        37..=42 => hold_calls::any(random, model),
        43..=44 => return Command(hold_calls::meddle(random, model)),
        _ => return Command(meddle(random, key)),
    };
    if random.once_in(8) {
        spoil(random, &mut words);
    }
    Command(words)
}

pub fn word(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

pub fn number(n: u64) -> Vec<u8> {
    n.to_string().into_bytes()
}

/// Returns a spelling of the number.
pub fn spelled(random: &mut Random, n: u64) -> Vec<u8> {
    let text = match random.below(12) {
        0 => format!("{n}.0"),
        1 => format!("{n}e0"),
        2 => format!("{n}0E-1"),
        3 if n.is_multiple_of(1000) => format!("{}e+3", n / 1000),
        _ => n.to_string(),
    };
    text.into_bytes()
}

fn limit(random: &mut Random, key: usize) -> [Vec<u8>; 2] {
    if random.once_in(8) {
        return random.one_of(&SPELLED).map(word);
    }
    let at = if random.once_in(6) {
        random.below(KEYS.len() as u64) as usize
    } else {
        key
    };
    LIMITS[at].map(word)
}

/// Returns a cost; half of them are near the bucket's level.
fn cost(random: &mut Random, model: &Model, key: usize) -> u64 {
    let held = model.tokens(KEYS[key]).unwrap_or(0);
    let burst = LIMITS[key][1].parse().unwrap_or(1);
    let any = random.of_any_size().min(MAX_TOKENS);
    let costs = [
        0,
        1,
        1,
        2,
        3,
        held,
        held + 1,
        burst,
        burst + 1,
        any,
        MAX_TOKENS - 1,
    ];
    random.one_of(&costs).min(MAX_TOKENS)
}

/// Returns the name in random case.
pub fn option(random: &mut Random, name: &str) -> Vec<u8> {
    let mut name = word(name);
    for letter in &mut name {
        if random.once_in(4) {
            *letter = letter.to_ascii_lowercase();
        }
    }
    name
}

fn with_cost(random: &mut Random, model: &Model, key: usize, name: &str) -> Words {
    let mut words = vec![option(random, name), KEYS[key].to_vec()];
    words.extend(limit(random, key));
    if !random.once_in(3) {
        let cost = cost(random, model, key);
        words.extend([option(random, "COST"), spelled(random, cost)]);
    }
    words
}

fn take(random: &mut Random, model: &Model, key: usize) -> Words {
    let mut words = with_cost(random, model, key, "RL.TAKE");
    let mode = match random.below(5) {
        0 => vec![option(random, "ATMOST")],
        1 => vec![option(random, "FORCE")],
        2 => {
            let ms = random.of_any_size() % 1_000_000_000_001;
            vec![option(random, "MAXWAIT"), spelled(random, ms)]
        }
        _ => Vec::new(),
    };
    let mode = match (mode.len(), random.below(4)) {
        (0 | 1, 0) => {
            let keep = cost(random, model, key);
            [vec![option(random, "KEEP"), spelled(random, keep)], mode].concat()
        }
        _ => mode,
    };
    // Options in either order.
    let at = if random.once_in(2) { 4 } else { words.len() };
    words.splice(at..at, mode);
    words
}

/// Returns the key of a bucket.
pub fn any_key(random: &mut Random) -> Vec<u8> {
    random.one_of(&KEYS).to_vec()
}

/// Returns `BUCKET rate burst` for a key, if it is one of a bucket.
pub fn bucket_at(random: &mut Random, key: &[u8]) -> Option<Words> {
    let key = KEYS.iter().position(|&known| known == key)?;
    let mut words = vec![option(random, "BUCKET")];
    words.extend(limit(random, key));
    Some(words)
}

/// Returns a bucket spec.
pub fn bucket(random: &mut Random, model: &Model) -> (Vec<u8>, Words) {
    let key = random.below(KEYS.len() as u64) as usize;
    let mut words = vec![option(random, "BUCKET")];
    words.extend(limit(random, key));
    for name in ["COST", "KEEP"] {
        if random.once_in(3) {
            let n = cost(random, model, key);
            words.extend([option(random, name), spelled(random, n)]);
        }
    }
    (KEYS[key].to_vec(), words)
}

fn several(random: &mut Random, model: &Model) -> Words {
    let count = 1 + random.below(4);
    let mut words = vec![option(random, "RL.MTAKE"), number(count)];
    let first = random.below(KEYS.len() as u64) as usize;
    for n in 0..count as usize {
        let key = if random.once_in(30) {
            first
        } else {
            (first + n) % KEYS.len()
        };
        words.push(KEYS[key].to_vec());
        words.extend(limit(random, key));
    }
    if random.once_in(2) {
        let cost = cost(random, model, first);
        words.extend([option(random, "COST"), spelled(random, cost)]);
    }
    words
}

fn throttle(random: &mut Random, model: &Model, key: usize) -> Words {
    let numbers = match random.below(4) {
        0 => [
            random.of_any_size(),
            random.of_any_size(),
            random.of_any_size(),
        ],
        1 => [19, 100, 60],
        2 => [
            random.below(100),
            1 + random.below(1000),
            1 + random.below(1000),
        ],
        _ => [MAX_TOKENS - 1, 1_000_000_000_000, 1],
    };
    let mut words = vec![option(random, "CL.THROTTLE"), KEYS[key].to_vec()];
    words.extend(numbers.map(|n| spelled(random, n)));
    match random.below(4) {
        0 => {}
        1 => words.push(number(0)),
        _ => words.push(number(cost(random, model, key))),
    }
    words
}

/// Any key that was seen, or one of a bucket.
fn inspect(random: &mut Random, model: &Model, key: usize) -> Words {
    let mut keys = model.keys();
    keys.sort_unstable();
    keys.push(KEYS[key].to_vec());
    let key = keys.swap_remove(random.below(keys.len() as u64) as usize);
    vec![option(random, "RL.INSPECT"), key]
}

/// Returns a command on no key, whose reply the model does not know.
fn aside(random: &mut Random) -> Words {
    let text = random.one_of(&[
        "RL.TOP 5",
        "RL.TOP",
        "RL.TOP RESET",
        "INFO rl",
        "COMMAND DOCS RL.TAKE RL.ALL",
        "CONFIG SET rl.top-keys 0",
        "CONFIG SET rl.top-keys 1",
        "CONFIG SET rl.top-keys 7",
        "CONFIG SET rl.top-keys 4096",
    ]);
    text.split(' ').map(word).collect()
}

/// Adds an option, or drops, doubles, swaps, changes or inserts words.
fn spoil(random: &mut Random, words: &mut Words) {
    if random.once_in(3) {
        let name = random.one_of(&["COST", "KEEP", "ATMOST", "FORCE", "MAXWAIT"]);
        words.push(option(random, name));
        if matches!(name, "COST" | "KEEP" | "MAXWAIT") {
            words.push(number(1 + random.below(3)));
        }
        return;
    }
    for _ in 0..1 + random.below(2) {
        let at = 1 + random.below(words.len() as u64) as usize;
        let other = 1 + random.below(words.len() as u64) as usize;
        let (Some(_), Some(replaced)) = (words.get(other), words.get(at).cloned()) else {
            continue;
        };
        match random.below(7) {
            0 => drop(words.remove(at)),
            1 => words.insert(other, replaced),
            2 => words.swap(at, other),
            3 => words[at] = no_number(random),
            4 => words[at] = random.bytes(30),
            5 => words[at].push(random.word() as u8),
            _ => {
                let names = [
                    "SLIDING",
                    "OFFSET",
                    "ANCHOR",
                    "AT",
                    "COST",
                    "KEEP",
                    "ATMOST",
                    "FORCE",
                    "MAXWAIT",
                    "ONCE",
                    "BUCKET",
                    "WINDOW",
                    "LEASE",
                    "HOLD",
                    "USED",
                    "ELSE",
                    "FREE",
                    "XX",
                    "9",
                    "1000000000",
                ];
                let name = random.one_of(&names);
                words.insert(at, option(random, name));
            }
        }
    }
}

fn no_number(random: &mut Random) -> Vec<u8> {
    let lists = [&NO_NUMBERS[..], &NO_COUNTS, &NO_RATES];
    let list = random.one_of(&lists);
    random.one_of(list).to_vec()
}

/// Returns a command of another client on the keys: other types, strings that are not buckets,
/// impossible buckets, expiries.
fn meddle(random: &mut Random, key: usize) -> Words {
    let any_bucket = |random: &mut Random| {
        let level = match random.below(4) {
            0 => random.word(),
            1 => MAX_TOKENS * UNIT,
            2 => (MAX_TOKENS * UNIT).wrapping_neg(),
            _ => random.of_any_size() % (MAX_TOKENS * UNIT),
        };
        let at = match random.below(3) {
            0 => random.word(),
            1 => crate::now().wrapping_add(random.of_any_size()),
            _ => crate::now().wrapping_sub(random.of_any_size()),
        };
        [at.to_le_bytes(), level.to_le_bytes()].concat()
    };
    let arrival =
        |random: &mut Random| number(crate::now().wrapping_add(random.of_any_size() >> 4));
    let (name, arguments): (&str, Words) = match random.below(40) {
        0..=4 => ("SET", vec![any_bucket(random)]),
        5 => ("SET", vec![arrival(random)]),
        6 => {
            let ttl = number(1 + random.below(100_000));
            ("SET", vec![arrival(random), word("PX"), ttl])
        }
        7 => ("SET", vec![random.bytes(20)]),
        8 => ("SETRANGE", vec![number(random.below(17)), random.bytes(3)]),
        9 => ("APPEND", vec![random.bytes(3)]),
        10 => ("PEXPIRE", vec![number(random.below(20))]),
        11 => ("PERSIST", vec![]),
        12 => ("RPUSH", vec![random.bytes(20)]),
        13 => ("SADD", vec![random.bytes(20)]),
        14 => ("HSET", vec![random.bytes(3), random.bytes(20)]),
        // Whatever is no bucket would stay: no call of the module overwrites it.
        _ => ("DEL", vec![]),
    };
    let mut words = vec![word(name), KEYS[key].to_vec()];
    words.extend(arguments);
    words
}
