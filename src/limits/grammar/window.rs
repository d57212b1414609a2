//! Parses a limit and a window of a call: `limit window…`, where `window` is one of
//!
//! - a duration: `15m`
//! - `SLIDING` and a duration
//! - `HOUR`, `DAY`, `WEEK`, `MONTH` or `YEAR`, then `[OFFSET ±hh:mm]` and `[ANCHOR n]`
//! - `UNTIL` and milliseconds since 1970
//!
//! All words are case-insensitive.

use std::fmt;
use std::num::NonZeroU64;

use crate::bounds::saturating_i64;
use crate::grammar::calendar::{CalendarUnit, UnitNames, ANCHOR, OFFSET, UNITS};
use crate::grammar::number::leading_digits;
use crate::grammar::parameter::{self, Parameter};
use crate::grammar::words::Word;
use crate::grammar::{duration, hint, options};
use crate::kinds::calendar::{Calendar, Unit};
use crate::kinds::sliding;
use crate::kinds::window::{self, Opens};
use crate::show::Shown;

/// Why a limit and a window were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// A number is not accepted.
    Number(parameter::Error<'a>),
    /// A window is in the place of the limit.
    WindowFirst(&'a [u8]),
    /// The window is invalid.
    Window(&'a [u8]),
    /// The offset from UTC is invalid.
    Offset(&'a [u8]),
    /// The calendar unit has no anchor.
    Anchor(&'a [u8]),
    /// A word that belongs to the window is given twice, or lacks its value.
    Word(options::Error<'a>),
}

/// A window of either kind, with its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// A window that opens and ends.
    Fixed(window::Limit),
    /// A sliding window.
    Sliding(sliding::Limit),
}

impl Quota {
    /// Parses the limit and the window at the beginning of `words`, and returns them with the rest.
    ///
    /// # Errors
    /// Either is missing or not accepted.
    #[inline(always)]
    pub fn parse<'s, 'a, W: Word<'a>>(words: &'s [W]) -> Result<(Self, &'s [W]), Error<'a>> {
        let (limit, words) = match words {
            [] => (number(Parameter::LIMIT, b"")?, words),
            [limit, words @ ..] => (limit_before(limit.bytes(), words)?, words),
        };
        let (window, words) = match words {
            [] => return Err(Error::Window(b"")),
            [window, words @ ..] => (window.bytes(), words),
        };
        let fixed = |opens| Self::Fixed(window::Limit::new(limit, opens));
        if let Some(b'0'..=b'9') = window.first() {
            return Ok((fixed(Opens::For(length(window)?.get())), words));
        }
        if window.eq_ignore_ascii_case(b"SLIDING") {
            let (text, words) = value(window, words)?;
            let limit = sliding::Limit::new(limit, length(text)?);
            return Ok((Self::Sliding(limit), words));
        }
        if window.eq_ignore_ascii_case(b"UNTIL") {
            let (text, words) = value(window, words)?;
            let end = saturating_i64(number(Parameter::UNTIL, text)?);
            return Ok((fixed(Opens::Until(end)), words));
        }
        let (calendar, words) = calendar(window, words)?;
        Ok((fixed(Opens::Calendar(calendar)), words))
    }
}

#[inline(always)]
fn length(text: &[u8]) -> Result<NonZeroU64, Error<'_>> {
    let millis = duration::parse(text).and_then(NonZeroU64::new);
    millis.ok_or(Error::Window(text))
}

/// Returns the value that must follow `word`.
#[inline(always)]
fn value<'s, 'a, W: Word<'a>>(
    word: &'a [u8],
    words: &'s [W],
) -> Result<(&'a [u8], &'s [W]), Error<'a>> {
    match words {
        [] => Err(Error::Word(options::Error::MissingValue(word))),
        [text, words @ ..] => Ok((text.bytes(), words)),
    }
}

fn calendar<'s, 'a, W: Word<'a>>(
    window: &'a [u8],
    mut words: &'s [W],
) -> Result<(Calendar, &'s [W]), Error<'a>> {
    let named = CalendarUnit::named(window).ok_or(Error::Window(window))?;
    let mut unit = named.unit;
    let (mut offset, mut has_anchor) = (None, false);
    while let [word, rest @ ..] = words {
        let word = word.bytes();
        let repeated = if word.eq_ignore_ascii_case(OFFSET.as_bytes()) {
            let (text, rest) = value(word, rest)?;
            words = rest;
            let minutes = read_offset(text).ok_or(Error::Offset(text))?;
            offset.replace(minutes).is_some()
        } else if word.eq_ignore_ascii_case(ANCHOR.as_bytes()) {
            let (text, rest) = value(word, rest)?;
            words = rest;
            unit = anchored(named, text)?.ok_or(Error::Anchor(window))?;
            std::mem::replace(&mut has_anchor, true)
        } else {
            break;
        };
        if repeated {
            return Err(Error::Word(options::Error::Repeated(word)));
        }
    }
    let calendar = Calendar::new(unit, offset.unwrap_or(0));
    Ok((calendar.ok_or(Error::Window(window))?, words))
}

/// Parses the anchor of a unit; `None` if the unit has no anchor.
fn anchored(named: CalendarUnit, text: &[u8]) -> Result<Option<Unit>, Error<'_>> {
    let Some(anchor) = named.anchor else {
        return Ok(None);
    };
    let day = number(&anchor.parameter, text)?;
    Ok(u8::try_from(day).ok().map(anchor.unit))
}

#[inline(always)]
fn number<'a>(parameter: &'static Parameter, text: &'a [u8]) -> Result<u64, Error<'a>> {
    parameter.integer(text).map_err(Error::Number)
}

/// Parses `±hh:mm` in minutes, positive to the east.
fn read_offset(text: &[u8]) -> Option<i64> {
    let &[sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] = text else {
        return None;
    };
    let number = |digits: [u8; 2]| match leading_digits(0, &digits)? {
        (n, []) => i64::try_from(n).ok(),
        _ => None,
    };
    let hours = number([h1, h2]).filter(|&n| n < 24)?;
    let minutes = number([m1, m2]).filter(|&n| n < 60)?;
    let offset = hours.checked_mul(60)?.checked_add(minutes)?;
    match sign {
        b'-' => offset.checked_neg(),
        _ => Some(offset),
    }
}

/// Parses the limit, which precedes the window.
#[inline(always)]
fn limit_before<'a, W: Word<'a>>(text: &'a [u8], words: &[W]) -> Result<u64, Error<'a>> {
    number(Parameter::LIMIT, text).map_err(|error| match is_window_first(text, words) {
        true => Error::WindowFirst(text),
        false => error,
    })
}

/// Returns whether a window stands where the limit belongs, and the limit comes later.
#[cold]
fn is_window_first<'a, W: Word<'a>>(text: &[u8], words: &[W]) -> bool {
    let next = words.first().map_or(&b""[..], Word::bytes);
    let is_limit = Parameter::LIMIT.integer(next).is_ok();
    hint::is_window_word(text) || (is_limit && duration::parse(text).is_some())
}

impl fmt::Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Number(error) => error.fmt(f),
            Self::WindowFirst(got) => write!(
                f,
                "limit must be a whole number; got '{}': the limit comes first, then the window",
                Shown(got)
            ),
            Self::Window(got) => {
                f.write_str("window must be a duration such as 15m, SLIDING and a duration, ")?;
                UNITS
                    .iter()
                    .try_for_each(|unit| write!(f, "{}, ", unit.text()))?;
                let (got, advice) = (Shown(got), hint::Window(got));
                write!(f, "or UNTIL and a time; got '{got}': {advice}")
            }
            Self::Offset(got) => write!(
                f,
                "{OFFSET} must be from -23:59 to +23:59, with a sign and two digits each, \
                 such as +02:00; got '{}'{}",
                Shown(got),
                hint::Offset(got)
            ),
            Self::Anchor(unit) => write!(
                f,
                "{ANCHOR} goes with {}, not with '{}'",
                UnitNames {
                    of: |unit| unit.anchor.is_some(),
                    last: " and "
                },
                Shown(unit)
            ),
            Self::Word(error) => error.fmt(f),
        }
    }
}
