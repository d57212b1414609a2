//! Why a limit cannot decide.

use std::fmt;

use crate::bounds::{MAX_DEBT, MAX_USED, MAX_YEARS, MAX_YEARS_MS};
use crate::show::Bound;

/// Why a limit cannot decide at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The bucket's debt would exceed the bound.
    Debt,
    /// The window's usage would exceed the bound.
    Used,
    /// The end of a window has passed or is too far ahead; both in milliseconds since 1970.
    Until {
        /// The requested end.
        end: i64,
        /// The time of the call.
        now: i64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Debt => write!(
                f,
                "COST would make the bucket owe more than {} tokens",
                Bound(MAX_DEBT)
            ),
            Self::Used => write!(
                f,
                "COST would raise the window's usage above {}",
                Bound(MAX_USED)
            ),
            Self::Until { end, now } => {
                write!(
                    f,
                    "UNTIL must be later than now and at most {MAX_YEARS} years ahead, in \
                     milliseconds since 1970; got {end}: "
                )?;
                advise_end(end, now, f)
            }
        }
    }
}

/// Writes the most likely mistake in a rejected end.
fn advise_end(end: i64, now: i64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let accepted = |end: i64| end > now && end.abs_diff(now) <= MAX_YEARS_MS;
    if end.checked_mul(1000).is_some_and(accepted) {
        f.write_str("that looks like seconds")
    } else if accepted(end / 1000) {
        f.write_str("that looks like microseconds")
    } else if accepted(end / 1_000_000) {
        f.write_str("that looks like nanoseconds")
    } else if end <= now {
        write!(f, "now is {now}")
    } else {
        f.write_str("that is too far ahead")
    }
}
