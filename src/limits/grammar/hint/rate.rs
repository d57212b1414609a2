//! Hints for rates.

use std::fmt;

use super::unit::{number, unknown_unit};
use crate::bounds::{MAX_RATE, MAX_YEARS};
use crate::decimal::Decimal;
use crate::grammar::duration::{unit_millis, LONG_UNITS};
use crate::grammar::number::decimal;
use crate::show::{Bound, Shown};

/// The hint if it is not known which period was meant.
const AFTER_SLASH: &str = "a period comes after a slash, such as 10/s or 100/15m";

/// An invalid rate; it formats as the hint.
pub(crate) struct Rate<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Rate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0;
        if text.is_empty() {
            return f.write_str("it is empty");
        }
        if text.starts_with(b"-") {
            return f.write_str("it must be above 0");
        }
        let Some((count, rest)) = decimal(text) else {
            return number(text, f);
        };
        match rest {
            [] => bounds(count, f),
            [b'/', period @ ..] => self.period(count, period, f),
            [b',' | b'_' | b'\'' | b' ' | b'.', b'0'..=b'9', ..] => separators(text, f),
            rest if is_multiple(rest) => {
                f.write_str("multiples such as k and M are not accepted: write all digits")
            }
            // `10m`, `10rps`, `10 / s`.
            unit => match unit_meant(unit) {
                Some(meant) => write!(
                    f,
                    "a period comes after a slash: write {}/{meant}",
                    Shown(self.before(unit))
                ),
                None => f.write_str(AFTER_SLASH),
            },
        }
    }
}

impl<'a> Rate<'a> {
    /// Returns the part before `rest`, the end of the text.
    fn before(&self, rest: &[u8]) -> &'a [u8] {
        let length = self.0.len().saturating_sub(rest.len());
        self.0.get(..length).unwrap_or_default()
    }

    fn period(&self, count: Decimal, period: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count_text = Shown(self.before(period));
        if period.is_empty() {
            return f.write_str("the period is missing: s, m, h, d or w, or such as 15m");
        }
        let (count_of_it, unit) = match decimal(period) {
            Some((number, unit)) => (number.whole(), unit),
            None if period.first().is_some_and(u8::is_ascii_digit) => (None, period),
            None => (Some(1), period),
        };
        match (count_of_it, unit) {
            (_, []) => write!(
                f,
                "the period needs a unit: write {count_text}{}s",
                Shown(period)
            ),
            (Some(0), _) => f.write_str("the period is 0"),
            (None, unit) if unit_millis(unit).is_some() => {
                f.write_str("a period must be a whole number of milliseconds")
            }
            (_, unit) if unit_millis(unit).is_some() => bounds(count, f),
            // The count has too many digits.
            (None, [b'0'..=b'9', ..]) => number(period, f),
            (_, unit) => unknown_unit(unit, f),
        }
    }
}

/// Writes the number without the separators of thousands, or with a point for a decimal comma.
fn separators(text: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let is_part = |byte: &u8| byte.is_ascii_digit() || b",_' .".contains(byte);
    let length = text.iter().take_while(|byte| is_part(byte)).count();
    let (number, rest) = text.split_at_checked(length).unwrap_or((text, b""));
    let Some((whole, fraction)) = grouped(number) else {
        return f.write_str(AFTER_SLASH);
    };
    let (words, point) = match fraction {
        b"" => ("write a number without separators: ", ""),
        _ => ("write a decimal with a point: ", "."),
    };
    f.write_str(words)?;
    for group in groups(whole) {
        write!(f, "{}", Shown(group))?;
    }
    // Anything else than a period is wrong too, and gets its own hint.
    let rest = if rest.starts_with(b"/") { rest } else { b"" };
    write!(f, "{point}{}{}", Shown(fraction), Shown(rest))
}

fn groups(number: &[u8]) -> impl Iterator<Item = &[u8]> {
    number.split(|byte| !byte.is_ascii_digit())
}

/// Splits a number with separators into its whole part, which may have some, and its fraction.
fn grouped(number: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_grouped = |number| {
        let first: &[u8] = groups(number).next()?;
        let fits = (1..=3).contains(&first.len()) && groups(number).skip(1).all(|g| g.len() == 3);
        (fits && (first != b"0")).then_some(())
    };
    let last = number.iter().rposition(|byte| !byte.is_ascii_digit())?;
    let (whole, rest) = number.split_at_checked(last)?;
    let (separator, fraction) = rest.split_first()?;
    let others = whole.iter().filter(|byte| !byte.is_ascii_digit());
    let is_only = others.clone().count() == 0;
    match others.clone().any(|other| other == separator) || is_only {
        // One kind of separator: `1,000`, `1_0`, `1.000.000`; or a decimal comma, `10,5`.
        true if *separator == b'_' || is_grouped(number).is_some() => Some((number, b"")),
        true if is_only && *separator == b',' => Some((whole, fraction)),
        true => None,
        // Another one for thousands: `1,000.5`, `1.000,5`.
        false if matches!(separator, b',' | b'.') => is_grouped(whole).map(|()| (whole, fraction)),
        false => None,
    }
}

/// Returns whether a multiple such as `k` or `MB` follows a number. A lower-case `m` alone is a minute.
fn is_multiple(rest: &[u8]) -> bool {
    match rest {
        [b'k' | b'K' | b'M' | b'G' | b'T', rest @ ..] => match rest {
            [b'b' | b'B' | b'i', ..] => true,
            [next, ..] => !next.is_ascii_alphabetic(),
            [] => true,
        },
        _ => false,
    }
}

fn bounds(count: Decimal, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if count.mantissa == 0 {
        return f.write_str("it must be above 0; a burst of 0 denies everything");
    }
    if count.exponent < -18 {
        return write!(f, "a token would take over {MAX_YEARS} years");
    }
    write!(f, "it is above {} tokens a second", Bound(MAX_RATE))
}

/// Returns the unit that was probably meant by a suffix of a number without a slash. `None` if it is
/// unknown, or has a count of its own.
fn unit_meant(text: &[u8]) -> Option<&'static str> {
    if text.iter().any(u8::is_ascii_digit) {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let words = |c: &u8| !c.is_ascii_alphabetic();
    let mut words = lower.split(words).filter(|word| !word.is_empty());
    words.find_map(|word| match word {
        b"rps" | b"qps" | b"tps" | b"s" => Some("s"),
        b"rpm" | b"qpm" | b"tpm" | b"m" => Some("m"),
        b"rph" | b"qph" | b"tph" | b"h" => Some("h"),
        b"rpd" | b"qpd" | b"tpd" | b"d" => Some("d"),
        b"ms" => Some("ms"),
        b"w" => Some("w"),
        word => LONG_UNITS
            .iter()
            .find(|(long, ..)| {
                word == long.as_bytes() || word.strip_suffix(b"s") == Some(long.as_bytes())
            })
            .map(|&(_, short, _)| short),
    })
}
