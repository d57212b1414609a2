//! Parses the arguments of a lease: the number of slots, the ttl and the token.

use std::fmt;

use crate::bounds::{
    MARKER, MAX_TOKENS_A_CALL, MAX_TOKEN_LEN, MAX_TTL_DAYS, MAX_TTL_MS, MIN_TTL_MS,
};
use crate::grammar::duration;
use crate::grammar::hint;
use crate::grammar::parameter::{self, Parameter};
use crate::grammar::words::Word;
use crate::kinds::lease::Limit;
use crate::show::Shown;

/// Why what a call names of a lease was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// The number of slots is not accepted.
    Slots(parameter::Error<'a>),
    /// A ttl stands where the number of slots belongs.
    TtlFirst(&'a [u8]),
    /// The ttl is invalid.
    Ttl(&'a [u8]),
    /// The ttl is invalid, and the token is one.
    TokenFirst(&'a [u8]),
    /// The token is invalid.
    Token(&'a [u8]),
    /// The call names too many tokens.
    TooManyTokens,
}

/// Parses the number of slots; a new lease must leave `keep` of them free.
///
/// # Errors
/// It is above [`MAX_SLOTS`](crate::bounds::MAX_SLOTS), or not an integer.
pub fn limit(slots: &[u8], keep: u64) -> Result<Limit, Error<'_>> {
    let slots = Parameter::SLOTS
        .integer(slots)
        .map_err(|error| match parse_ttl(slots) {
            Ok(_) => Error::TtlFirst(slots),
            Err(_) => Error::Slots(error),
        })?;
    Ok(Limit::new(slots, keep))
}

/// Parses a ttl, in milliseconds.
///
/// # Errors
/// It is not a duration, or is out of bounds.
pub fn parse_ttl(text: &[u8]) -> Result<u64, Error<'_>> {
    duration::parse(text)
        .filter(|ttl_ms| (MIN_TTL_MS..=MAX_TTL_MS).contains(ttl_ms))
        .ok_or(Error::Ttl(text))
}

/// Parses a ttl that precedes a token.
///
/// # Errors
/// As for [`parse_ttl`].
pub fn ttl_before<'a>(ttl: &'a [u8], token: &[u8]) -> Result<u64, Error<'a>> {
    parse_ttl(ttl).map_err(|error| match parse_ttl(token) {
        Ok(_) => Error::TokenFirst(ttl),
        Err(_) => error,
    })
}

/// Checks that it is a valid token.
///
/// # Errors
/// It is too long, empty, or the name of the [`MARKER`].
pub fn check_token(token: &[u8]) -> Result<(), Error<'_>> {
    if (1..=MAX_TOKEN_LEN).contains(&token.len()) && token != MARKER {
        Ok(())
    } else {
        Err(Error::Token(token))
    }
}

/// Checks that they are valid tokens, at most [`MAX_TOKENS_A_CALL`].
///
/// # Errors
/// There are more, or one is invalid.
pub fn check_tokens<'a, W: Word<'a>>(tokens: &[W]) -> Result<(), Error<'a>> {
    if tokens.len() > MAX_TOKENS_A_CALL {
        return Err(Error::TooManyTokens);
    }
    tokens
        .iter()
        .try_for_each(|token| check_token(token.bytes()))
}

impl fmt::Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Slots(error) => error.fmt(f),
            Self::TtlFirst(got) => write!(
                f,
                "limit must be a whole number; got '{}': the limit comes first, then the ttl",
                Shown(got)
            ),
            Self::Ttl(got) => write!(
                f,
                "ttl must be a duration from {MIN_TTL_MS}ms to {MAX_TTL_DAYS}d, such as 30s or \
                 5m; got '{}'{}",
                Shown(got),
                hint::Ttl(got)
            ),
            Self::TokenFirst(got) => write!(
                f,
                "ttl must be a duration; got '{}': the ttl comes before the token",
                Shown(got)
            ),
            Self::Token(got) => write!(
                f,
                "token must be 1 to {MAX_TOKEN_LEN} bytes other than '{}'; got '{}'",
                Shown(MARKER),
                Shown(got)
            ),
            Self::TooManyTokens => {
                write!(f, "a call names at most {MAX_TOKENS_A_CALL} tokens")
            }
        }
    }
}
