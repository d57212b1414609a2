//! `rate burst`: a bucket's limit. A rate is `N` (a second) or `N/PERIOD`.

use std::fmt;

use crate::bounds::{MAX_YEARS, NANOS_PER_MILLI, NANOS_PER_SECOND};
use crate::grammar::duration::period_millis;
use crate::grammar::hint;
use crate::grammar::number::decimal;
use crate::grammar::parameter::{self, Parameter};
use crate::kinds::bucket::Limit;
use crate::kinds::rate::Rate;
use crate::show::Shown;

/// Why a bucket's limit was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// The rate is invalid.
    Rate(&'a [u8]),
    /// The burst is invalid.
    Burst(parameter::Error<'a>),
    /// A rate is in the place of the key.
    RateFirst(&'a [u8]),
    /// The bucket would take too long to fill.
    TooSlow,
    /// A debt of one token would take too long to repay.
    TooSlowToRepay,
}

/// Reads `rate` and `burst`.
///
/// # Errors
/// Either is not accepted, or the bucket would take over 100 years to fill.
#[inline(always)]
pub fn limit<'a>(rate: &'a [u8], burst: &'a [u8]) -> Result<Limit, Error<'a>> {
    let rate = read_rate(rate).ok_or(Error::Rate(rate))?;
    let burst = Parameter::BURST.integer(burst).map_err(Error::Burst)?;
    Limit::new(rate, burst).ok_or(match burst {
        0 => Error::TooSlowToRepay,
        _ => Error::TooSlow,
    })
}

/// Returns the error for a call whose key is a rate: its arguments are in another order.
#[cold]
pub fn misplaced<'a>(key: &'a [u8], error: Error<'a>) -> Error<'a> {
    match error {
        Error::Burst(_) if key.contains(&b'/') && read_rate(key).is_some() => Error::RateFirst(key),
        error => error,
    }
}

#[inline(always)]
fn read_rate(text: &[u8]) -> Option<Rate> {
    let (count, text) = decimal(text)?;
    let period = match text {
        [] => NANOS_PER_SECOND,
        [b'/', period @ ..] => period_millis(period)?.checked_mul(NANOS_PER_MILLI)?,
        _ => return None,
    };
    Rate::new(count, period)
}

impl fmt::Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Rate(got) => write!(
                f,
                "rate must be N or N/PERIOD, such as 10, 0.5 or 100/m; got '{}': {}",
                Shown(got),
                hint::Rate(got)
            ),
            Self::Burst(parameter::Error { got, .. }) if got.contains(&b'/') => write!(
                f,
                "burst must be a whole number; got '{}': the rate comes first, then the burst, \
                 which has no period",
                Shown(got)
            ),
            Self::Burst(error) => error.fmt(f),
            Self::RateFirst(got) => write!(
                f,
                "the key comes first: key rate burst; got '{}' as the key",
                Shown(got)
            ),
            Self::TooSlow => write!(
                f,
                "rate and burst make a bucket that takes over {MAX_YEARS} years to fill"
            ),
            Self::TooSlowToRepay => write!(
                f,
                "rate and burst make a bucket that takes over {MAX_YEARS} years to repay one token"
            ),
        }
    }
}
