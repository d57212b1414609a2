//! The errors of a call, and the only place where they become text.

use std::fmt;

use crate::bounds::{
    MARKER, MAX_RATE, MAX_TOKENS, MAX_TOKENS_A_CALL, MAX_TOKEN_LEN, MAX_TTL_DAYS, MAX_USED,
    MAX_YEARS, MIN_TTL_MS,
};
use crate::grammar::hint;
pub use crate::grammar::parameter::Parameter;
use crate::grammar::show::{Bound, Shown};
use crate::grammar::words::{Name, ANCHOR, OFFSET};

/// The reason for which a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// Too few or too many arguments; contains the syntax.
    Usage(&'static str),
    /// A parameter has a value that is not accepted.
    Invalid(Parameter, &'a [u8]),
    /// The rate is invalid.
    Rate(&'a [u8]),
    /// The window is invalid.
    Window(&'a [u8]),
    /// The offset from UTC is invalid.
    Offset(&'a [u8]),
    /// The calendar unit has no anchor.
    Anchor(&'a [u8]),
    /// The end of a window has passed or is too far ahead; both in milliseconds since 1970.
    Until {
        /// The requested end.
        end: i64,
        /// The time of the call.
        now: i64,
    },
    /// The option is unknown; contains the accepted ones.
    UnknownOption(&'a [u8], &'static [Name]),
    /// An option lacks its value.
    MissingValue(&'a [u8]),
    /// An option is given twice.
    RepeatedOption(&'a [u8]),
    /// An option conflicts with another.
    ExcludedOption(&'a [u8]),
    /// Count and period make a rate that is too high.
    TooFast,
    /// Rate and burst make a bucket that takes over 100 years to fill.
    TooSlow,
    /// The bucket's debt would exceed the bound.
    Debt,
    /// The window's usage would exceed the bound.
    Used,
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
    Held {
        /// The key.
        key: &'a [u8],
        /// The name of what it holds.
        held: &'static str,
        /// The name of what the command expects.
        wanted: &'static str,
    },
    /// The key holds a sorted set that was not created by RL.ACQUIRE.
    ForeignSet(&'a [u8]),
    /// The ttl is invalid.
    Ttl(&'a [u8]),
    /// The token is invalid.
    Token(&'a [u8]),
    /// The call names too many tokens.
    TooManyTokens,
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
}

impl fmt::Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Usage(syntax) => write!(f, "ERR usage: {syntax}"),
            Self::Invalid(Parameter::Burst, got) if got.contains(&b'/') => write!(
                f,
                "ERR burst must be a whole number; got '{}': the rate comes first, then the burst",
                Shown(got)
            ),
            Self::Invalid(parameter, got) => {
                let (least, most) = parameter.bounds().into_inner();
                write!(
                    f,
                    "ERR {} must be a whole number from {least} to {}{}; got '{}'",
                    parameter.name(),
                    Bound(most),
                    parameter.unit(),
                    Shown(got)
                )
            }
            Self::Rate(got) => write!(
                f,
                "ERR rate must be N or N/PERIOD, such as 10, 0.5 or 100/m; got '{}': {}",
                Shown(got),
                hint::Rate(got)
            ),
            Self::Window(got) => write!(
                f,
                "ERR window must be a duration such as 15m, SLIDING and a duration, HOUR, DAY, \
                 WEEK, MONTH, YEAR, or UNTIL and a time; got '{}': {}",
                Shown(got),
                hint::Window(got)
            ),
            Self::Offset(got) => write!(
                f,
                "ERR {OFFSET} must be from -23:59 to +23:59, with a sign and two digits each, \
                 such as +02:00; got '{}'",
                Shown(got)
            ),
            Self::Anchor(unit) => write!(
                f,
                "ERR {ANCHOR} goes with WEEK and MONTH, not with '{}'",
                Shown(unit)
            ),
            Self::Until { end, now } => write!(
                f,
                "ERR UNTIL must be later than now and at most {MAX_YEARS} years ahead, in \
                 milliseconds since 1970; got {end}: {}",
                hint::Until { end, now }
            ),
            Self::UnknownOption(got, _)
                if [OFFSET, ANCHOR]
                    .iter()
                    .any(|w| got.eq_ignore_ascii_case(w.as_bytes())) =>
            {
                write!(
                    f,
                    "ERR syntax error: '{}' comes directly after HOUR, DAY, WEEK, MONTH or YEAR",
                    Shown(got)
                )
            }
            Self::UnknownOption(got, accepted) => {
                let got = Shown(got);
                write!(f, "ERR syntax error: unknown option '{got}'; accepted:")?;
                for (n, name) in accepted.iter().enumerate() {
                    write!(f, "{} {}", if n > 0 { "," } else { "" }, name.syntax())?;
                }
                Ok(())
            }
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
                "ERR syntax error: option '{}' does not go with the others: a call has one of \
                 ATMOST, MAXWAIT and FORCE, and KEEP goes with ATMOST alone",
                Shown(got)
            ),
            Self::TooFast => write!(
                f,
                "ERR count and period make a rate above {} tokens a second",
                Bound(MAX_RATE)
            ),
            Self::TooSlow => write!(
                f,
                "ERR rate and burst make a bucket that takes over {MAX_YEARS} years to fill"
            ),
            Self::Debt => write!(
                f,
                "ERR COST would make the bucket owe more than {} tokens",
                Bound(MAX_TOKENS)
            ),
            Self::Used => write!(
                f,
                "ERR COST would bring what is used of the window above {}",
                Bound(MAX_USED)
            ),
            Self::Kind(got) => write!(
                f,
                "ERR a limit begins with BUCKET, WINDOW or LEASE; got '{}'",
                Shown(got)
            ),
            Self::LimitForEachKey { keys } => write!(
                f,
                "ERR numkeys says {keys}: as many keys must follow, and then as many limits"
            ),
            Self::RepeatedKey(key) => write!(f, "ERR key '{}' is given twice", Shown(key)),
            Self::WrongType(key) => write!(
                f,
                "WRONGTYPE Operation against a key holding the wrong kind of value: '{}'",
                Shown(key)
            ),
            Self::Held { key, held, wanted } => {
                write!(f, "ERR key '{}' holds {held}, not {wanted}", Shown(key))
            }
            Self::ForeignSet(key) => write!(
                f,
                "ERR key '{}' holds a sorted set that is not leases",
                Shown(key)
            ),
            Self::Ttl(got) => write!(
                f,
                "ERR ttl must be a duration from {MIN_TTL_MS}ms to {MAX_TTL_DAYS}d, such as 30s or \
                 5m; got '{}'",
                Shown(got)
            ),
            Self::Token(got) => write!(
                f,
                "ERR token must be 1 to {MAX_TOKEN_LEN} bytes other than '{}'; got '{}'",
                Shown(MARKER),
                Shown(got)
            ),
            Self::TooManyTokens => {
                write!(f, "ERR a call names at most {MAX_TOKENS_A_CALL} tokens")
            }
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
            Self::WriteFailed(key) => write!(f, "ERR key '{}' could not be written", Shown(key)),
        }
    }
}
