//! Hints for numbers and units, which rates and durations share.

use std::fmt;

use crate::decimal::MAX_DIGITS;
use crate::grammar::duration::{parse, unit_millis, LONG_UNITS};
use crate::grammar::nearest::nearest;
use crate::grammar::number::MAX_EXPONENT;

/// Returns what to write instead of an ISO 8601 duration in weeks, days, hours, minutes and seconds.
pub(super) fn iso(text: &[u8]) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let text = text.strip_prefix(b"p")?;
    let (date, time) = match text.iter().position(|&byte| byte == b't') {
        Some(at) => (text.get(..at)?, text.get(at.saturating_add(1)..)?),
        None => (text, &b""[..]),
    };
    // In a date, m is a month.
    if date.contains(&b'm') {
        return None;
    }
    let text = [date, time].concat();
    parse(&text)?;
    String::from_utf8(text).ok()
}

pub(super) fn number(text: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if !text.iter().any(u8::is_ascii_digit) {
        return f.write_str("it has no number");
    }
    if text.first().is_some_and(u8::is_ascii_digit) {
        return write!(
            f,
            "a number has at most {MAX_DIGITS} digits, at least one after a decimal point, \
             and an exponent from -{MAX_EXPONENT} to {MAX_EXPONENT}"
        );
    }
    f.write_str("it must begin with a digit")
}

pub(super) fn unknown_unit(unit: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if unit == b"M" || unit.eq_ignore_ascii_case(b"ms") {
        return f.write_str("m (minute) and ms must be lower case");
    }
    if let Some(instead) = iso(unit) {
        return write!(f, "ISO 8601 durations are not accepted: write {instead}");
    }
    if unit.iter().any(u8::is_ascii_whitespace) {
        return f.write_str("count and unit are written together, without a space: 15m");
    }
    if let [b',', b'0'..=b'9', ..] = unit {
        return f.write_str("a fraction has a point: 1.5h");
    }
    let first = unit_millis(unit.split(u8::is_ascii_digit).next().unwrap_or_default());
    if first.is_some() && unit.iter().any(u8::is_ascii_digit) {
        return f.write_str(
            "each unit comes once, from the largest to the smallest, and only the last number may \
             have a fraction: 1h30m",
        );
    }
    let lower = unit.to_ascii_lowercase();
    match lower.as_slice() {
        b"mo" | b"mon" | b"month" | b"months" => {
            f.write_str("a month has no fixed length: write 30d, or use RL.WTAKE with MONTH")
        }
        b"y" | b"yr" | b"year" | b"years" => {
            f.write_str("a year has no fixed length: write 365d, or use RL.WTAKE with YEAR")
        }
        b"us" | b"ns" => f.write_str("the shortest period is 1ms"),
        lower => {
            f.write_str("unknown unit; use ms, s, m, h, d or w")?;
            match nearest(lower, LONG_UNITS.iter().map(|&(name, ..)| name)) {
                Some(name) => write!(f, ": did you mean {name}?"),
                None => Ok(()),
            }
        }
    }
}
