//! Periods and durations: `m`, `15m`, `2weeks`.

use crate::bounds::{
    MAX_YEARS_MS, MILLIS_PER_DAY, MILLIS_PER_HOUR, MILLIS_PER_MINUTE, MILLIS_PER_SECOND,
};
use crate::grammar::number::decimal;

const MILLIS_PER_WEEK: u64 = 7 * MILLIS_PER_DAY;

/// The units' long names, in any case and with a plural `s`: name, short form, milliseconds.
pub(crate) const LONG_UNITS: [(&str, &str, u64); 8] = [
    ("sec", "s", MILLIS_PER_SECOND),
    ("second", "s", MILLIS_PER_SECOND),
    ("min", "m", MILLIS_PER_MINUTE),
    ("minute", "m", MILLIS_PER_MINUTE),
    ("hr", "h", MILLIS_PER_HOUR),
    ("hour", "h", MILLIS_PER_HOUR),
    ("day", "d", MILLIS_PER_DAY),
    ("week", "w", MILLIS_PER_WEEK),
];

/// Returns the milliseconds of a unit. `M` and `MS` are rejected, because they could mean something
/// else.
#[inline(always)]
pub(crate) fn unit_millis(name: &[u8]) -> Option<u64> {
    match name {
        b"ms" => Some(1),
        b"s" | b"S" => Some(MILLIS_PER_SECOND),
        b"m" => Some(MILLIS_PER_MINUTE),
        b"h" | b"H" => Some(MILLIS_PER_HOUR),
        b"d" | b"D" => Some(MILLIS_PER_DAY),
        b"w" | b"W" => Some(MILLIS_PER_WEEK),
        _ => long_unit_millis(name),
    }
}

#[cold]
fn long_unit_millis(name: &[u8]) -> Option<u64> {
    let singular = match name {
        [singular @ .., b's' | b'S'] => singular,
        _ => name,
    };
    let is = |long: &str| {
        let long = long.as_bytes();
        name.eq_ignore_ascii_case(long) || singular.eq_ignore_ascii_case(long)
    };
    let found = LONG_UNITS.iter().find(|(long, ..)| is(long));
    found.map(|&(_, _, millis)| millis)
}

/// Parses a rate's period into milliseconds: `m`, `15m`.
#[inline(always)]
pub(crate) fn period_millis(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'..=b'9', ..] => counted_millis(text),
        _ => unit_millis(text),
    }
}

/// Parses a duration into milliseconds, at most 100 years: `15m`, `24h`, `2weeks`, `0s`.
///
/// Returns `None` if it is invalid: both the count, an integer, and the unit are required.
#[inline(always)]
pub fn parse(text: &[u8]) -> Option<u64> {
    counted_millis(text).filter(|&millis| millis <= MAX_YEARS_MS)
}

#[inline(always)]
fn counted_millis(text: &[u8]) -> Option<u64> {
    let (count, unit) = decimal(text)?;
    match (count.whole(), unit_millis(unit)) {
        (Some(count), Some(unit)) => count.checked_mul(unit),
        _ => sequence_millis(text),
    }
}

/// Parses counts with their units, in descending order of unit, as Go prints them: `1h30m`, `1m0s`. The
/// last count may be a decimal if the whole is a whole number of milliseconds: `1.5s`.
#[cold]
fn sequence_millis(mut text: &[u8]) -> Option<u64> {
    let mut total: u64 = 0;
    let mut last_unit = u64::MAX;
    loop {
        let (count, rest) = decimal(text)?;
        let letters = rest.iter().take_while(|byte| byte.is_ascii_alphabetic());
        let (unit, rest) = rest.split_at_checked(letters.count())?;
        let unit = unit_millis(unit).filter(|&unit| unit < last_unit)?;
        let millis = match rest {
            [] => count.times(unit)?,
            _ => count.whole()?.checked_mul(unit)?,
        };
        total = total.checked_add(millis)?;
        if rest.is_empty() {
            return Some(total);
        }
        (last_unit, text) = (unit, rest);
    }
}
