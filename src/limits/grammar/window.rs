//! Parses a limit and a window of a call: `limit window…`, where `window` is one of
//!
//! - a duration: `15m`
//! - `SLIDING` and a duration
//! - `HOUR`, `DAY`, `WEEK`, `MONTH` or `YEAR`, then `[OFFSET ±hh:mm]` and `[ANCHOR n]`
//! - `UNTIL` and milliseconds since 1970
//!
//! All words are case-insensitive.

use std::num::NonZeroU64;

use crate::bounds::saturating_i64;
use crate::grammar::duration;
use crate::grammar::error::{Error, Parameter};
use crate::grammar::number::leading_digits;
use crate::grammar::options::Word;
use crate::grammar::words::{ANCHOR, OFFSET};
use crate::kinds::calendar::{Calendar, Unit};
use crate::kinds::sliding;
use crate::kinds::window::{self, Opens};

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
            [] => return Err(Error::Invalid(Parameter::Limit, b"")),
            [limit, words @ ..] => (Parameter::Limit.integer(limit.bytes())?, words),
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
            let end = saturating_i64(Parameter::Until.integer(text)?);
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
        [] => Err(Error::MissingValue(word)),
        [text, words @ ..] => Ok((text.bytes(), words)),
    }
}

fn calendar<'s, 'a, W: Word<'a>>(
    window: &'a [u8],
    mut words: &'s [W],
) -> Result<(Calendar, &'s [W]), Error<'a>> {
    let mut unit = unit(window).ok_or(Error::Window(window))?;
    let (mut offset, mut anchored) = (None, false);
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
            unit = anchor(unit, text)?.ok_or(Error::Anchor(window))?;
            std::mem::replace(&mut anchored, true)
        } else {
            break;
        };
        if repeated {
            return Err(Error::RepeatedOption(word));
        }
    }
    let calendar = Calendar::new(unit, offset.unwrap_or(0));
    Ok((calendar.ok_or(Error::Window(window))?, words))
}

/// Parses a calendar unit, with its default anchor.
fn unit(word: &[u8]) -> Option<Unit> {
    let is = |unit: &str| word.eq_ignore_ascii_case(unit.as_bytes());
    match word {
        _ if is("HOUR") => Some(Unit::Hour),
        _ if is("DAY") => Some(Unit::Day),
        _ if is("WEEK") => Some(Unit::Week(1)),
        _ if is("MONTH") => Some(Unit::Month(1)),
        _ if is("YEAR") => Some(Unit::Year),
        _ => None,
    }
}

/// Parses the anchor of a unit; `None` if the unit has no anchor.
fn anchor(unit: Unit, text: &[u8]) -> Result<Option<Unit>, Error<'_>> {
    let (parameter, anchored): (_, fn(u8) -> Unit) = match unit {
        Unit::Week(_) => (Parameter::Weekday, Unit::Week),
        Unit::Month(_) => (Parameter::MonthDay, Unit::Month),
        Unit::Hour | Unit::Day | Unit::Year => return Ok(None),
    };
    let day = parameter.integer(text)?;
    Ok(u8::try_from(day).ok().map(anchored))
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
