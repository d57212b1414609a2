//! The errors of a call, with the texts that its sender gets. Errors in the arguments are the
//! grammar's, and errors of a decision are the limit's.

use std::fmt::{self, Write as _};

use redis_rl_limits::bounds::MAX_RATE;
use redis_rl_limits::grammar::{self, bucket, hold, lease, options, parameter, window};
use redis_rl_limits::kinds;
use redis_rl_limits::show::{Bound, Shown};

use super::hold_error::Fault;
use crate::stats;

/// The reason for which a call was refused.
#[derive(Clone, Copy)]
pub enum Error<'a> {
    /// Too few or too many arguments; contains the syntax.
    Usage(&'static str),
    /// A word of the call.
    Grammar(grammar::error::Error<'a>),
    /// The limit cannot decide.
    Limit(kinds::error::Error),
    /// Count and period make a rate that is too high.
    TooFast,
    /// The kind of limit is unknown.
    Kind(&'a [u8]),
    /// The number of limits differs from the number of keys.
    LimitForEachKey {
        /// The number of keys.
        keys: usize,
    },
    /// A key is given twice.
    RepeatedKey(&'a [u8]),
    /// The key holds a value of another type.
    WrongType(&'a [u8]),
    /// The key holds another kind of string.
    OtherString {
        /// The key.
        key: &'a [u8],
        /// The name of what it holds.
        held: &'static str,
        /// The name of what the command expects.
        wanted: &'static str,
    },
    /// The key holds a sorted set that was not created by RL.ACQUIRE.
    ForeignSet(&'a [u8]),
    /// The key does not exist, and the server's memory is used up.
    OutOfMemory(&'a [u8]),
    /// The lease is new, and the server's memory is used up.
    NoMemoryForLease(&'a [u8]),
    /// ONCE is on some leases of a call and not on others.
    OnceOnSome,
    /// The server did not return the key's value.
    ReadFailed(&'a [u8]),
    /// The server refused to write the key.
    WriteFailed(&'a [u8]),
    /// Something is wrong with a hold.
    Hold(Fault<'a>),
}

impl Error<'_> {
    /// Returns its text.
    pub fn text(&self) -> Box<str> {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = write!(text, "{self}");
        text.into()
    }

    /// Counts it.
    pub fn count(&self) {
        let errors = &stats::ERRORS;
        let kind = match self {
            Self::WrongType(_)
            | Self::OtherString { .. }
            | Self::ForeignSet(_)
            | Self::Hold(Fault::ForeignHash(_) | Fault::Damaged(_)) => &errors.key,
            Self::OutOfMemory(_)
            | Self::NoMemoryForLease(_)
            | Self::WriteFailed(_)
            | Self::Hold(Fault::NoMemory(_)) => &errors.memory,
            Self::Limit(kinds::error::Error::Debt | kinds::error::Error::Used) => &errors.debt,
            _ => &errors.call,
        };
        kind.add(1);
    }
}

impl fmt::Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Usage(syntax) => write!(f, "ERR usage: {syntax}"),
            Self::Grammar(error) => write!(f, "ERR {error}"),
            Self::Limit(error) => write!(f, "ERR {error}"),
            Self::TooFast => write!(
                f,
                "ERR count and period make a rate above {} tokens a second",
                Bound(MAX_RATE)
            ),
            Self::Kind(got) => write!(
                f,
                "ERR a limit begins with BUCKET, WINDOW, LEASE or HOLD; got '{}': as many keys as \
                 numkeys come before the limits",
                Shown(got)
            ),
            Self::LimitForEachKey { keys } => write!(
                f,
                "ERR numkeys is {keys}, so {keys} keys and then {keys} limits must follow"
            ),
            Self::RepeatedKey(key) => write!(f, "ERR key '{}' is given twice", Shown(key)),
            Self::WrongType(key) => write!(
                f,
                "WRONGTYPE Operation against a key holding the wrong kind of value: '{}'",
                Shown(key)
            ),
            Self::OtherString { key, held, wanted } => {
                write!(f, "ERR key '{}' holds {held}, not {wanted}", Shown(key))
            }
            Self::ForeignSet(key) => write!(
                f,
                "ERR key '{}' holds a sorted set that was not created by RL.ACQUIRE",
                Shown(key)
            ),
            Self::NoMemoryForLease(key) => write!(
                f,
                "OOM command not allowed when used memory > 'maxmemory': a lease in key '{}' would \
                 be new",
                Shown(key)
            ),
            Self::OutOfMemory(key) => write!(
                f,
                "OOM command not allowed when used memory > 'maxmemory': key '{}' would be new",
                Shown(key)
            ),
            Self::OnceOnSome => {
                f.write_str("ERR syntax error: ONCE must be on every LEASE of a call or on none")
            }
            Self::ReadFailed(key) => write!(
                f,
                "ERR key '{}' could not be read: the server's command GET failed",
                Shown(key)
            ),
            Self::Hold(fault) => fault.fmt(f),
            Self::WriteFailed(key) => write!(f, "ERR key '{}' could not be written", Shown(key)),
        }
    }
}

impl<'a> From<Fault<'a>> for Error<'a> {
    fn from(fault: Fault<'a>) -> Self {
        Self::Hold(fault)
    }
}

impl From<kinds::error::Error> for Error<'_> {
    fn from(error: kinds::error::Error) -> Self {
        Self::Limit(error)
    }
}

macro_rules! from_grammar {
    ($($part:ident)*) => {$(
        impl<'a> From<$part::Error<'a>> for Error<'a> {
            fn from(error: $part::Error<'a>) -> Self {
                Self::Grammar(error.into())
            }
        }
    )*};
}

from_grammar! { parameter bucket window lease hold options }
