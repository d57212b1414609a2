//! Hints for durations, windows and their offsets.

use std::fmt;

use super::unit::{iso, number, unknown_unit};
use crate::bounds::{MAX_YEARS, MILLIS_PER_DAY, MILLIS_PER_HOUR};
use crate::grammar::calendar::{CalendarUnit, UNITS};
use crate::grammar::duration::{self, unit_millis};
use crate::grammar::nearest::nearest;
use crate::grammar::number::decimal;
use crate::show::Shown;

/// An invalid ttl; it formats as the hint with a colon before it, or as nothing if only the bounds are missed.
pub(crate) struct Ttl<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Ttl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0;
        match decimal(text) {
            Some((_, [])) => {
                f.write_str(": ")?;
                needs_unit(text, f)
            }
            None if unit_millis(text).is_some() => {
                f.write_str(": ")?;
                needs_count(text, f)
            }
            Some((_, unit)) if unit_millis(unit).is_none() && duration::parse(text).is_none() => {
                f.write_str(": ")?;
                unknown_unit(unit, f)
            }
            _ if iso(text).is_some() => {
                f.write_str(": ")?;
                unknown_unit(text, f)
            }
            _ => Ok(()),
        }
    }
}

/// An invalid offset; it formats as the hint with a colon before it, or as nothing.
pub(crate) struct Offset<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Offset<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.iter().any(u8::is_ascii_alphabetic) {
            true => f.write_str(
                ": names of zones are not accepted; for one with daylight saving, compute its next \
                 midnight and write UNTIL instead",
            ),
            false => Ok(()),
        }
    }
}

/// An invalid window, or an invalid length of a sliding one.
pub(crate) struct Window<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Window<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0;
        match decimal(text) {
            _ if text.is_empty() => f.write_str("it is missing"),
            _ if text.starts_with(b"-") => f.write_str("it must be above 0"),
            Some((_, [])) => needs_unit(text, f),
            Some((count, unit)) if unit_millis(unit).is_some() => match count.whole() {
                Some(0) => f.write_str("it must be above 0"),
                None if count.exponent < 0 => {
                    f.write_str("a duration must be a whole number of milliseconds")
                }
                _ => write!(f, "it is over {MAX_YEARS} years"),
            },
            Some((_, unit)) => unknown_unit(unit, f),
            None if is_window_word(text) => f.write_str("a duration follows SLIDING, such as 24h"),
            None if unit_millis(text) == Some(MILLIS_PER_DAY) => {
                f.write_str("DAY for the calendar day, 1d for 24 hours from the first take")
            }
            None if unit_millis(text) == Some(MILLIS_PER_HOUR) => {
                f.write_str("HOUR for the calendar hour, 1h for an hour from the first take")
            }
            None if unit_millis(text) == Some(7 * MILLIS_PER_DAY) => {
                f.write_str("WEEK for the calendar week, 7d for seven days from the first take")
            }
            None if unit_millis(text).is_some() => needs_count(text, f),
            None if iso(text).is_some() => unknown_unit(text, f),
            None if text.first().is_some_and(u8::is_ascii_digit) => number(text, f),
            None => match nearest(text, window_words()) {
                Some(word) => write!(f, "did you mean {word}?"),
                None => f.write_str("it is not a known window"),
            },
        }
    }
}

/// Returns whether it is a word with which a window begins.
pub(crate) fn is_window_word(text: &[u8]) -> bool {
    window_words().any(|word| text.eq_ignore_ascii_case(word.as_bytes()))
}

/// Returns the words with which windows begin, except durations.
fn window_words() -> impl Iterator<Item = &'static str> {
    let units = UNITS.iter().map(CalendarUnit::text);
    ["SLIDING", "UNTIL"].into_iter().chain(units)
}

fn needs_unit(text: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "a duration needs a unit: write {}s", Shown(text))
}

fn needs_count(text: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "a duration needs a count: write 1{}", Shown(text))
}
