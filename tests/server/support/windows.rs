//! Windows as they are stored, and calls on them held to the oracle.

use std::ops::RangeInclusive;

use redis::Connection;

use super::{expires_at, now, Ask as _, Reply, HOUR_MS};
use crate::calendar;
use crate::windows::{decide, After, Ask, Call, Mode, Named, Stored};

/// Returns the string of a fixed window.
pub fn fixed(start: i64, end: i64, used: u64) -> Vec<u8> {
    Stored::Fixed { start, end, used }.bytes()
}

/// Returns the string of a sliding window with all usage in the sub-window of `instant`.
pub fn sliding(length: i64, instant: i64, used: u64) -> Vec<u8> {
    let newest = 16 * instant / length;
    Stored::Sliding {
        length: length.try_into().expect("a length"),
        newest: newest.try_into().expect("a time after 1970"),
        taken: [(newest.into(), used.into())].into(),
    }
    .bytes()
}

/// Returns the window that a key must hold.
pub fn stored(c: &mut Connection, key: &str) -> Stored {
    let bytes: Vec<u8> = c.call(&["GET", key]);
    Stored::read(&bytes).unwrap_or_else(|| panic!("{key} holds no window: {bytes:?}"))
}

/// Returns the usage of the window that a key holds.
pub fn used(c: &mut Connection, key: &str) -> i64 {
    used_of(&stored(c, key))
}

/// Returns the usage of a window.
pub fn used_of(window: &Stored) -> i64 {
    match window {
        Stored::Fixed { used, .. } => (*used).try_into().expect("a number of tokens"),
        Stored::Sliding { taken, .. } => {
            let sum: i128 = taken.values().sum();
            sum.try_into().expect("a number of tokens")
        }
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    (now() / 1_000_000).try_into().expect("a time")
}

/// Returns a day, as a window's words, that neither begins nor ends within ten hours of now.
pub fn mid_day() -> String {
    let offset = 12 - now_ms() / HOUR_MS % 24;
    format!("DAY OFFSET {offset:+03}:00")
}

/// Returns a month, as a window's words, that neither begins nor ends within a week of now.
pub fn mid_month() -> String {
    let today = calendar::date(now_ms() / calendar::DAY);
    format!("MONTH ANCHOR {}", (today.day + 13) % 28 + 1)
}

/// Returns a year, as a window's words, or a month if the year is about to end or has just begun.
pub fn mid_year() -> String {
    let today = calendar::date(now_ms() / calendar::DAY);
    match (today.month, today.day) {
        (12, 31) | (1, 1) => mid_month(),
        _ => "YEAR".to_owned(),
    }
}

/// Stores a string that expires then.
pub fn put(c: &mut Connection, key: &str, value: &[u8], expires_at: i64) {
    let at = expires_at.to_string();
    let words = [b"SET", key.as_bytes(), value, b"PXAT", at.as_bytes()];
    c.call::<()>(&words);
}

/// Returns a take for the oracle.
pub fn take(cost: u64, keep: u64, mode: Mode) -> Call {
    Call::Take(Ask { cost, keep, mode })
}

/// Returns a peek for the oracle.
pub fn look(cost: u64) -> Call {
    let (keep, mode) = (0, Mode::Whole);
    Call::Look(Ask { cost, keep, mode })
}

/// Makes a call on `k` with the limit 10. The reply, what is stored and when it expires are what
/// the oracle makes of it in a millisecond of the call.
pub fn held_to_oracle(c: &mut Connection, words: &str, named: Named, asked: Call) -> Reply {
    let look =
        |c: &mut Connection| -> (Option<Vec<u8>>, i64) { (c.ask("GET k"), expires_at(c, "k")) };
    let before = look(c);
    let from = now();
    let reply: Reply = c.ask(words);
    let to = now();
    let after = look(c);
    let mut expected = Vec::new();
    for ms in from / 1_000_000..=to / 1_000_000 {
        let outcome = decide(10, named, before.0.as_deref(), ms * 1_000_000, asked);
        let outcome = outcome.unwrap_or_else(|refusal| panic!("{words} is {refusal:?}"));
        let left = match outcome.after {
            After::Kept => before.clone(),
            After::Written(bytes, at) => (Some(bytes), at),
            After::Removed => (None, -2),
        };
        expected.push((outcome.reply, left));
    }
    assert!(
        expected.contains(&(reply, after.clone())),
        "{words} on {before:?}: {reply:?} {after:?}, not {expected:?}"
    );
    reply
}

/// Checks that a window with this `reset_ms` ends `length` after one of these times.
pub fn assert_ends(reset_ms: i64, asked: RangeInclusive<i64>, length: i64) {
    let told = asked.start() + reset_ms..=asked.end() + reset_ms;
    let ends = asked.start() + length..=asked.end() + length;
    assert!(
        told.start() <= ends.end() && ends.start() <= told.end(),
        "{reset_ms} ms for {length} ms"
    );
}

/// Stores an hour's window with a usage of five, sliding or not, in the key `k` with the right
/// expiry.
pub fn put_five_used(c: &mut Connection, is_sliding: &str) {
    let now = now_ms();
    let value = match is_sliding {
        "SLIDING " => sliding(HOUR_MS, now, 5),
        _ => fixed(now, now + HOUR_MS, 5),
    };
    put(c, "k", &value, now + 2 * HOUR_MS);
}
