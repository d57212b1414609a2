//! Reservations, repeats, settlements and listings as somebody might send them, and what others may
//! do to the records.

use crate::calls::{self, number, option, spelled, word, Words};
use crate::mixed_calls;
use crate::model::Model;
use crate::oracle::MAX_TOKENS;
use crate::random::Random;
use crate::records::{Charge, Open, Record};
use crate::window_calls;

const KEYS: [&[u8]; 3] = [b"holds", b"HOLD", b"\xff{slot}\0h"];
const TTLS: [&str; 5] = ["1s", "2s", "1m", "1h", "24h"];
/// Few, so that they are used again.
const IDS: u64 = 30;

/// Returns the next call.
pub fn any(random: &mut Random, model: &Model) -> Words {
    let key = random.one_of(&KEYS);
    if random.once_in(12) {
        return list(random, key);
    }
    let known = model.holds(key);
    if !known.is_empty() && !random.once_in(3) {
        let (id, record) = known[random.below(known.len() as u64) as usize].clone();
        if let Record::Open(open) = record {
            let (id, settles) = match random.below(3) {
                0 => (self::id(random), false),
                n => (id, n == 1),
            };
            return again(random, key, id, &open, settles);
        }
    }
    let id = id(random);
    let settles = random.once_in(6);
    let mut limits = Vec::new();
    for _ in 0..1 + random.below(3) {
        let (name, mut spec) = match random.once_in(2) {
            true => calls::bucket(random, model),
            false => window_calls::limit(random, model),
        };
        if settles {
            let Some(words) = spec_at(random, &name) else {
                continue;
            };
            spec = words;
            let used = random.below(9);
            spec.extend([option(random, "USED"), spelled(random, used)]);
        }
        limits.push((name, spec));
    }
    call(random, key, id, limits, settles, true)
}

fn id(random: &mut Random) -> Vec<u8> {
    match random.below(20) {
        0 => random.bytes(140),
        1 => word("rl:holds"),
        _ => [b"\0id\n".as_slice(), &number(random.below(IDS))].concat(),
    }
}

/// Returns `BUCKET rate burst` or `WINDOW limit window` for a key.
fn spec_at(random: &mut Random, name: &[u8]) -> Option<Words> {
    calls::bucket_at(random, name).or_else(|| window_calls::window_at(random, name))
}

/// Returns a repeat or a settlement of an open hold, mostly with its limits.
fn again(random: &mut Random, key: &[u8], id: Vec<u8>, open: &Open, settles: bool) -> Words {
    let mut limits = Vec::new();
    for charge in &open.charges {
        let Some(mut spec) = spec_at(random, &charge.name) else {
            continue;
        };
        let amount = match settles {
            true => {
                let any = random.of_any_size();
                random.one_of(&[0, 0, charge.cost, charge.cost / 2, charge.cost + 1, any])
            }
            false if random.once_in(30) => charge.cost + 1,
            false => charge.cost,
        };
        let name = if settles { "USED" } else { "COST" };
        spec.extend([
            option(random, name),
            spelled(random, amount.min(MAX_TOKENS)),
        ]);
        if !random.once_in(40) {
            limits.push((charge.name.clone(), spec));
        }
    }
    if random.once_in(2) {
        limits.reverse();
    }
    let free = open.free != random.once_in(30);
    call(random, key, id, limits, settles, free)
}

/// Returns a command that makes a hold overdue, and lets a walk begin.
fn age(random: &mut Random, key: &[u8], id: Vec<u8>, mut open: Open) -> Words {
    let now = crate::now() / 1_000_000;
    open.deadline = (now + 20 - random.below(100)) as i64;
    let marker = marker([now - 20_000, now - random.below(100), 1 + random.below(IDS)]);
    let record = Record::Open(open).bytes();
    let fields = vec![id, record, word("rl:holds"), marker];
    [vec![word("HSET"), key.to_vec()], fields].concat()
}

/// Returns a marker: the time of the last walk, when something may be due, and open records.
fn marker(words: [u64; 3]) -> Vec<u8> {
    let words = words.iter().flat_map(|word| word.to_le_bytes());
    std::iter::once(0xF4).chain(words).collect()
}

fn call(
    random: &mut Random,
    key: &[u8],
    id: Vec<u8>,
    mut limits: Vec<(Vec<u8>, Words)>,
    settles: bool,
    free: bool,
) -> Words {
    let mut hold = vec![option(random, "HOLD")];
    if !settles {
        hold.push(word(random.one_of(&TTLS)));
    }
    hold.push(id);
    if !settles && (!free || random.once_in(4)) {
        let otherwise = if free { "FREE" } else { "CHARGE" };
        hold.extend([option(random, "ELSE"), option(random, otherwise)]);
    }
    if random.once_in(4) {
        let (name, mut lease) = mixed_calls::lease(random, false);
        if settles {
            lease = vec![lease.swap_remove(0), lease.swap_remove(1)];
        }
        limits.push((name, lease));
    }
    // Now and then the key of another limit.
    let key = match limits.first() {
        Some((name, _)) if random.once_in(60) => name.clone(),
        _ => key.to_vec(),
    };
    let at = random.below(limits.len() as u64 + 1) as usize;
    limits.insert(at, (key, hold));
    let mut keys: Words = Vec::new();
    let mut specs: Words = Vec::new();
    for (key, spec) in limits {
        if !keys.contains(&key) || random.once_in(30) {
            keys.push(key);
            specs.extend(spec);
        }
    }
    let name = if settles { "RL.SETTLE" } else { "RL.ALL" };
    let count = number(keys.len() as u64);
    [vec![option(random, name), count], keys, specs].concat()
}

fn list(random: &mut Random, key: &[u8]) -> Words {
    let mut words = vec![option(random, "RL.HOLDS"), key.to_vec()];
    if random.once_in(2) {
        let most = 1 + random.below(5);
        words.extend([option(random, "COUNT"), spelled(random, most)]);
    }
    words
}

/// Returns a command of another client on a holds key: records of any time, damaged ones, a marker
/// that lets a walk begin, other types, expiries.
pub fn meddle(random: &mut Random, model: &Model) -> Words {
    let key = random.one_of(&KEYS);
    // Another hash or type would stay: no call of the module overwrites it.
    if model.is_other(key) && random.once_in(2) {
        return vec![word("DEL"), key.to_vec()];
    }
    let known = model.holds(key);
    if !known.is_empty() && random.once_in(2) {
        let (id, record) = known[random.below(known.len() as u64) as usize].clone();
        if let Record::Open(open) = record {
            return age(random, key, id, open);
        }
    }
    let id = id(random);
    let has_records = !known.is_empty();
    let now = crate::now() / 1_000_000;
    let time = |random: &mut Random| {
        let by = random.one_of(&[20, 3_000, 100_000, 5_000_000]);
        (now + random.below(2 * by) - by) as i64
    };
    let (name, arguments): (&str, Words) = match random.below(20) {
        // A hash of others would be refused for ever, so only where there are records.
        0..=6 if has_records => ("HSET", vec![id, any_record(random, time)]),
        7..=11 if has_records => {
            let open = random.below(IDS);
            let words = [time(random) as u64, time(random) as u64, open];
            ("HSET", vec![word("rl:holds"), marker(words)])
        }
        12 if has_records => ("HSET", vec![id, random.bytes(40)]),
        13 => ("HDEL", vec![id]),
        14 if has_records && random.once_in(4) => ("HDEL", vec![word("rl:holds")]),
        15 => ("PEXPIRE", vec![number(random.below(20))]),
        16 => ("PERSIST", vec![]),
        17 if random.once_in(4) => ("SET", vec![random.bytes(30)]),
        18 | 19 => ("DEL", vec![]),
        _ => ("HDEL", vec![id]),
    };
    [vec![word(name), key.to_vec()], arguments].concat()
}

/// Returns a record that parses.
fn any_record(random: &mut Random, time: impl Fn(&mut Random) -> i64) -> Vec<u8> {
    let forget = time(random);
    let record = match random.below(5) {
        0 => Record::Settled(forget),
        1 => Record::Closed(forget),
        _ => {
            let mut charges: Vec<Charge> = Vec::new();
            for _ in 0..1 + random.below(2) {
                let is_window = random.once_in(2);
                let name = match is_window {
                    true => window_calls::any_key(random),
                    false => calls::any_key(random),
                };
                let at = time(random);
                let charge = Charge {
                    is_window,
                    name,
                    cost: random.below(9),
                    at: if is_window { at } else { at * 1_000_000 },
                    refunded: random.once_in(4),
                };
                if charges.iter().all(|other| other.name != charge.name) {
                    charges.push(charge);
                }
            }
            Record::Open(Open {
                free: !random.once_in(4),
                deadline: time(random),
                forget: forget.max(time(random)),
                charges,
            })
        }
    };
    record.bytes()
}
