//! What may follow the fixed arguments, in any order.

use std::mem::discriminant;

use crate::server::Argument;
use redis_rl_limits::bucket::{Ask, Mode};
use redis_rl_limits::error::{Error, Parameter};
use redis_rl_limits::limit::{integer, MAX_TOKENS};

/// The longest that a caller may be ready to wait: some 31 years.
const MAX_WAIT_MS: u64 = 1_000_000_000_000;

/// `[COST n] [ATMOST | MAXWAIT ms | FORCE]`.
///
/// # Errors
/// An option that there is not, twice, without its value, or beside one that excludes it.
pub fn ask<'a>(mut options: &[Argument<'a>]) -> Result<Ask, Error<'a>> {
    let mut cost = None;
    let mut mode = None;
    while let Some((name, rest)) = options.split_first() {
        let name = name.bytes();
        options = rest;
        let asked = if name.eq_ignore_ascii_case(b"COST") {
            set_cost(&mut cost, name, &mut options)?;
            continue;
        } else if name.eq_ignore_ascii_case(b"ATMOST") {
            Mode::AtMost
        } else if name.eq_ignore_ascii_case(b"MAXWAIT") {
            max_wait(name, &mut options)?
        } else if name.eq_ignore_ascii_case(b"FORCE") {
            Mode::Force
        } else {
            return Err(Error::UnknownOption(
                name,
                "COST n, ATMOST, MAXWAIT ms, FORCE",
            ));
        };
        if let Some(before) = mode.replace(asked) {
            return Err(if discriminant(&before) == discriminant(&asked) {
                Error::RepeatedOption(name)
            } else {
                Error::ExcludedOption(name)
            });
        }
    }
    Ok(Ask {
        cost: cost.unwrap_or(1),
        mode: mode.unwrap_or(Mode::Whole),
    })
}

/// `[COST n]` and nothing else.
///
/// # Errors
/// An option that there is not, twice or without its value.
pub fn cost<'a>(mut options: &[Argument<'a>]) -> Result<u64, Error<'a>> {
    let mut cost = None;
    while let Some((name, rest)) = options.split_first() {
        let name = name.bytes();
        options = rest;
        if !name.eq_ignore_ascii_case(b"COST") {
            return Err(Error::UnknownOption(name, "COST n"));
        }
        set_cost(&mut cost, name, &mut options)?;
    }
    Ok(cost.unwrap_or(1))
}

fn value<'a>(name: &'a [u8], options: &mut &[Argument<'a>]) -> Result<&'a [u8], Error<'a>> {
    let (value, rest) = options.split_first().ok_or(Error::MissingValue(name))?;
    *options = rest;
    Ok(value.bytes())
}

fn set_cost<'a>(
    cost: &mut Option<u64>,
    name: &'a [u8],
    options: &mut &[Argument<'a>],
) -> Result<(), Error<'a>> {
    let text = value(name, options)?;
    let given = integer(text, 1..=MAX_TOKENS).ok_or(Error::Invalid(Parameter::Cost, text))?;
    match cost.replace(given) {
        Some(_) => Err(Error::RepeatedOption(name)),
        None => Ok(()),
    }
}

fn max_wait<'a>(name: &'a [u8], options: &mut &[Argument<'a>]) -> Result<Mode, Error<'a>> {
    let text = value(name, options)?;
    integer(text, 0..=MAX_WAIT_MS)
        .map(Mode::MaxWait)
        .ok_or(Error::Invalid(Parameter::MaxWait, text))
}
