//! The grammar of a hold: its ttl and its id.

use std::fmt;

use crate::bounds::{
    saturating_i64, HOLDS_MARKER, MAX_HOLD_TTL_HOURS, MAX_HOLD_TTL_MS, MAX_TOKEN_LEN,
    MIN_HOLD_TTL_MS,
};
use crate::grammar::duration;
use crate::grammar::hint;
use crate::show::Shown;

/// Why a ttl or an id of a hold was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// The ttl is invalid.
    Ttl(&'a [u8]),
    /// The id is invalid.
    Id(&'a [u8]),
}

/// Parses the time until an unsettled hold is overdue, in milliseconds.
///
/// # Errors
/// It is not a duration within the bounds.
pub fn parse_ttl(text: &[u8]) -> Result<i64, Error<'_>> {
    duration::parse(text)
        .filter(|ttl_ms| (MIN_HOLD_TTL_MS..=MAX_HOLD_TTL_MS).contains(ttl_ms))
        .map(saturating_i64)
        .ok_or(Error::Ttl(text))
}

/// Checks that a text can be the id of a hold.
///
/// # Errors
/// It is empty, too long, or the name of the [`HOLDS_MARKER`].
pub fn check_id(id: &[u8]) -> Result<(), Error<'_>> {
    match (1..=MAX_TOKEN_LEN).contains(&id.len()) && id != HOLDS_MARKER {
        true => Ok(()),
        false => Err(Error::Id(id)),
    }
}

impl fmt::Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Ttl(got) => write!(
                f,
                "ttl of a HOLD must be a duration from 1s to {MAX_HOLD_TTL_HOURS}h, such as 30s or \
                 5m; got '{}'{}",
                Shown(got),
                hint::Ttl(got)
            ),
            Self::Id(got) => write!(
                f,
                "id of a HOLD must be 1 to {MAX_TOKEN_LEN} bytes other than '{}'; got '{}'",
                Shown(HOLDS_MARKER),
                Shown(got)
            ),
        }
    }
}
