//! Everything that can be wrong with a call, and the one place where it becomes text.

#![forbid(unsafe_code)]

use std::fmt;

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// Too few or too many arguments.
    Arity,
    /// A parameter has a value that is not accepted.
    Invalid(Parameter, &'a [u8]),
    /// No such option; the second says which there are.
    UnknownOption(&'a [u8], &'static str),
    /// An option that must be followed by a value is last.
    MissingValue(&'a [u8]),
    /// An option is given twice.
    RepeatedOption(&'a [u8]),
    /// An option after another that excludes it.
    ExcludedOption(&'a [u8]),
    /// Count and period make a rate above what is accepted.
    TooFast,
    /// Rate and burst make a bucket that takes over 100 years to fill.
    TooSlow,
    /// The bucket would owe more than is accepted.
    Debt,
    /// A key is given twice.
    RepeatedKey(&'a [u8]),
    /// The key holds another type.
    WrongType,
    /// The key holds a string that is no bucket.
    NotABucket,
    /// A new bucket, and the server's memory is used up.
    OutOfMemory,
    /// The server refused to write.
    WriteFailed,
}

/// What a value in a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// `100/m`
    Rate,
    /// The most that a bucket holds.
    Burst,
    /// Tokens to take or give.
    Cost,
    /// Milliseconds that the caller is ready to wait.
    MaxWait,
    /// How many buckets follow.
    NumKeys,
    /// The burst less one, as redis-cell counts.
    MaxBurst,
    /// Tokens a period.
    Count,
    /// Seconds.
    Period,
    /// Tokens to take; 0 only looks.
    Quantity,
    /// How many keys to tell.
    TopCount,
}

impl Parameter {
    const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Burst => "burst",
            Self::Cost => "COST",
            Self::MaxWait => "MAXWAIT",
            Self::NumKeys => "numkeys",
            Self::MaxBurst => "max_burst",
            Self::Count => "count",
            Self::Period => "period",
            Self::Quantity => "quantity",
            Self::TopCount => "count",
        }
    }

    const fn accepted(self) -> &'static str {
        match self {
            Self::Rate => {
                "N or N/P: a positive decimal of at most 19 digits, up to 10^12 tokens a second, \
                 and a period such as ms, s, 15m, h or d"
            }
            Self::Burst | Self::Cost => "an integer from 1 to 10^11",
            Self::MaxWait => "an integer from 0 to 10^12 milliseconds",
            Self::NumKeys => "an integer from 1 to 128, followed by as many times 'key rate burst'",
            Self::MaxBurst => "an integer from 0 to 10^11 - 1",
            Self::Count => "an integer from 1 to 10^18",
            Self::Period => "an integer from 1 to 10^9 seconds",
            Self::Quantity => "an integer from 0 to 10^11",
            Self::TopCount => "an integer from 1 to 4096, or RESET",
        }
    }
}

impl fmt::Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Arity => f.write_str("ERR wrong number of arguments"),
            Self::Invalid(parameter, got) => write!(
                f,
                "ERR {} must be {}; got '{}'",
                parameter.name(),
                parameter.accepted(),
                Shown(got)
            ),
            Self::UnknownOption(got, accepted) => write!(
                f,
                "ERR syntax error: unknown option '{}'; accepted: {accepted}",
                Shown(got)
            ),
            Self::MissingValue(got) => {
                write!(f, "ERR syntax error: option '{}' needs a value", Shown(got))
            }
            Self::RepeatedOption(got) => write!(
                f,
                "ERR syntax error: option '{}' is given twice",
                Shown(got)
            ),
            Self::ExcludedOption(got) => write!(
                f,
                "ERR syntax error: option '{}' comes after another of ATMOST, MAXWAIT and FORCE, \
                 of which a call may have one",
                Shown(got)
            ),
            Self::TooFast => {
                f.write_str("ERR count and period make a rate above 10^12 tokens a second")
            }
            Self::TooSlow => {
                f.write_str("ERR rate and burst make a bucket that takes over 100 years to fill")
            }
            Self::Debt => f.write_str("ERR COST would make the bucket owe more than 10^11 tokens"),
            Self::RepeatedKey(got) => write!(f, "ERR key '{}' is given twice", Shown(got)),
            Self::WrongType => {
                f.write_str("WRONGTYPE Operation against a key holding the wrong kind of value")
            }
            Self::NotABucket => {
                f.write_str("ERR key holds a string that is not a rate-limit bucket")
            }
            Self::OutOfMemory => {
                f.write_str("OOM a new bucket is not allowed when used memory > 'maxmemory'")
            }
            Self::WriteFailed => f.write_str("ERR key could not be written"),
        }
    }
}

/// Input as it may be shown: printable ASCII, 64 bytes at most.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get(..64) {
            Some(head) if head.len() < self.0.len() => write!(f, "{}...", head.escape_ascii()),
            _ => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}
