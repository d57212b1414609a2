//! Parses `numkeys …`, the beginning of the calls on several keys.

use crate::commands::error::Error;
use redis_rl_limits::bounds::MAX_LIMITS;
use redis_rl_limits::grammar::parameter;
use redis_rl_limits::grammar::parameter::Parameter;

use super::small_vec::Few;
use crate::server::Argument;

/// The number of keys that follow.
const NUMKEYS: &Parameter = &Parameter::new("numkeys", 1..=MAX_LIMITS)
    .with_unit(", in plain digits, followed by as many keys");

/// The same, where it is valid, but fewer arguments follow.
const NUMKEYS_THAT_FOLLOW: &Parameter = &Parameter::new("numkeys", 1..=MAX_LIMITS)
    .with_unit(" that matches the number of arguments after it");

/// A spec, and the words after it.
type Parsed<'a, S> = Result<(S, &'a [Argument<'a>]), Error<'a>>;

/// Parses the specs in `words`, one for each of `keys`, each by `parse`.
///
/// # Errors
/// There are more or fewer specs than keys, or one is not accepted.
#[inline(always)]
pub fn spec_for_each<'a, S>(
    keys: &'a [Argument<'a>],
    mut words: &'a [Argument<'a>],
    parse: impl Fn(&'a [Argument<'a>]) -> Parsed<'a, S>,
) -> Result<Few<S>, Error<'a>> {
    let mut specs = Few::new();
    for _ in keys {
        if words.is_empty() {
            return Err(Error::LimitForEachKey { keys: keys.len() });
        }
        let (spec, rest) = parse(words)?;
        specs.push(spec);
        words = rest;
    }
    match words {
        [] => Ok(specs),
        _ => Err(Error::LimitForEachKey { keys: keys.len() }),
    }
}

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
    let got = numkeys.bytes();
    let n = NUMKEYS.plain_integer(got)?;
    usize::try_from(n)
        .ok()
        .and_then(|n| rest.split_at_checked(step.checked_mul(n)?))
        .ok_or_else(|| {
            let parameter = NUMKEYS_THAT_FOLLOW;
            parameter::Error { parameter, got }.into()
        })
}
