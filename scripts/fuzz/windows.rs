//! Coverage-guided fuzzing of the parser of windows, and of their arithmetic: every decision
//! must equal the oracle's, bit for bit, whatever the key holds. Started by `scripts/fuzz.sh`.

#![no_main]

#[path = "../../tests/oracle/calendar.rs"]
mod calendar;
#[path = "../../tests/properties/windows/named.rs"]
mod named;
#[path = "../../tests/oracle/windows.rs"]
mod oracle;
#[path = "../../tests/properties/windows/world.rs"]
mod world;

use calendar::Unit;
use libfuzzer_sys::fuzz_target;
use named::Pair;
use oracle::{Ask, Call, Mode, Named, MAX_LENGTH, MAX_TOKENS, MILLI};
use world::World;

const NUMBERS: usize = 7;

fuzz_target!(|input: &[u8]| {
    let Some((numbers, rest)) = input.split_at_checked(8 * NUMBERS) else {
        return;
    };
    let word = |n: usize| u64::from_le_bytes(std::array::from_fn(|byte| numbers[8 * n + byte]));
    // The rest is the content of the key, or a text that may be a limit and a window.
    let verb = word(0);
    if verb & 1 == 0 {
        read(rest);
    }
    let key = (verb & 2 == 0).then(|| rest.to_vec());
    let now = word(1);
    let pair = Pair::new(word(2) % (MAX_TOKENS + 1), named(word(3), now));
    let call = call(verb, word(4), word(5), word(6), now);

    let mut world = World::new(now);
    world.expires = false;
    world.stored = key.map(|bytes| (bytes, i64::MAX));
    // Twice, so that what was written is read. Both are held to the oracle.
    let _ = world.call(pair, call);
    let _ = world.call(pair, call);
});

/// Parses a text as a limit and a window, or checks its error.
fn read(text: &[u8]) {
    let words: Vec<&[u8]> = text.split(|&byte| byte == b' ').collect();
    if let Err(error) = redis_rl_limits::grammar::window::Quota::parse(&words) {
        assert!(!error.to_string().is_empty());
    }
}

fn named(word: u64, now: u64) -> Named {
    let (kind, rest) = (word % 8, word / 8);
    let (length, offset) = (rest % MAX_LENGTH + 1, (rest % 2879) as i64 - 1439);
    let day = rest / 2879;
    match kind {
        0 => Named::Sliding(length),
        1 => Named::For(length),
        2 => Named::Until(rest),
        3 => Named::Until((now / MILLI).saturating_add(length) - 1),
        4 => Named::Calendar(Unit::Week((day % 7) as u32 + 1), offset),
        5 => Named::Calendar(Unit::Month((day % 31) as u32 + 1), offset),
        6 => Named::Calendar(
            [Unit::Hour, Unit::Day, Unit::Year][(day % 3) as usize],
            offset,
        ),
        // Shorter than its sub-windows.
        _ => Named::Sliding(rest % 64 + 1),
    }
}

fn call(verb: u64, cost: u64, keep: u64, at: u64, now: u64) -> Call {
    let mode = match verb / 4 % 3 {
        0 => Mode::Whole,
        1 => Mode::AtMost,
        _ => Mode::Force,
    };
    let ask = Ask {
        cost: cost % MAX_TOKENS + 1,
        keep: keep % (MAX_TOKENS + 1),
        mode,
    };
    // Half of them lie around now.
    let at = match verb / 16 % 2 {
        0 => at,
        _ => (now / MILLI).saturating_sub(at % 1_000_000),
    };
    match verb / 32 % 4 {
        0 => Call::Give(ask.cost, Some(at)),
        1 => Call::Give(ask.cost, None),
        // Peeks request all or nothing.
        2 => Call::Look(Ask {
            mode: Mode::Whole,
            ..ask
        }),
        _ => Call::Take(ask),
    }
}
