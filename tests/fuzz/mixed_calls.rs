//! Random calls on several limits of any kind, as clients might send them.

use crate::calls::{self, number, option, spelled, word, Words};
use crate::model::Model;
use crate::random::Random;
use crate::window_calls;

const SLOTS: [&[u8]; 3] = [b"slots", b"LEASE", b"\xff{slot}\n"];
const TOKENS: [&[u8]; 5] = [b"a", b"b", b"ONCE", b"BUCKET", b"\0\xff"];
const TTLS: [&str; 6] = ["10ms", "15ms", "50ms", "1s", "1h", "30d"];

/// Returns the next call.
pub fn any(random: &mut Random, model: &Model) -> Words {
    let mut keys: Words = Vec::new();
    let mut specs: Words = Vec::new();
    let once = random.once_in(2);
    for _ in 0..1 + random.below(5) {
        let (key, spec) = match random.below(5) {
            0 | 1 => calls::bucket(random, model),
            2 | 3 => window_calls::limit(random, model),
            _ => {
                let once = once != random.once_in(30);
                lease(random, once)
            }
        };
        if !keys.contains(&key) || random.once_in(30) {
            keys.push(key);
            specs.extend(spec);
        }
    }
    let count = number(keys.len() as u64);
    [vec![option(random, "RL.ALL"), count], keys, specs].concat()
}

pub fn lease(random: &mut Random, once: bool) -> (Vec<u8>, Words) {
    let limit = random.one_of(&[0, 1, 2, 2, 3, 5]);
    let mut words = vec![
        option(random, "LEASE"),
        spelled(random, limit),
        word(random.one_of(&TTLS)),
        random.one_of(&TOKENS).to_vec(),
    ];
    let mut options = Vec::new();
    if random.once_in(4) {
        let keep = 1 + random.below(3);
        options.push(vec![option(random, "KEEP"), spelled(random, keep)]);
    }
    if once {
        options.push(vec![option(random, "ONCE")]);
    }
    if random.once_in(2) {
        options.reverse();
    }
    words.extend(options.concat());
    (random.one_of(&SLOTS).to_vec(), words)
}

/// Returns a command of another client on the leases, or one of their own commands.
pub fn meddle(random: &mut Random) -> Words {
    let key = random.one_of(&SLOTS).to_vec();
    let token = random.one_of(&TOKENS).to_vec();
    let soon = crate::now() / 1_000_000 + random.below(2_000);
    let (name, arguments): (&str, Words) = match random.below(16) {
        0..=3 => ("RL.RELEASE", vec![token]),
        4..=5 => ("RL.RENEW", vec![word("1s"), token]),
        6..=7 => ("RL.ACQUIRE", vec![word("3"), word("20ms"), token]),
        8 => ("ZADD", vec![number(soon), token]),
        9 => ("ZREM", vec![word("rl:leases")]),
        10 => ("SET", vec![random.bytes(20)]),
        11 => ("PEXPIRE", vec![number(random.below(20))]),
        _ => ("DEL", vec![]),
    };
    [vec![word(name), key], arguments].concat()
}
