//! Parses `numkeys …`, the beginning of the calls on several keys.

use redis_rl_limits::grammar::error::{Error, Parameter};
use redis_rl_limits::grammar::number::plain_integer;

use crate::server::Argument;

/// Returns the arguments of the keys, `step` for each, and the rest.
///
/// # Errors
/// The number of keys is missing or not accepted, or fewer arguments follow.
pub fn split<'s, 'a>(
    arguments: &'s [Argument<'a>],
    step: usize,
    syntax: &'static str,
) -> Result<(&'s [Argument<'a>], &'s [Argument<'a>]), Error<'a>> {
    let [numkeys, rest @ ..] = arguments else {
        return Err(Error::Usage(syntax));
    };
    let numkeys = numkeys.bytes();
    plain_integer(numkeys, Parameter::NumKeys.bounds())
        .and_then(|n| rest.split_at_checked(step.checked_mul(usize::try_from(n).ok()?)?))
        .ok_or(Error::Invalid(Parameter::NumKeys, numkeys))
}
