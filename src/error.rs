//! Everything that can be wrong with a call, and the one place where it becomes text.

#![forbid(unsafe_code)]

use std::fmt;

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// The rate is not accepted.
    Rate(&'a [u8]),
    /// The burst is not accepted.
    Burst(&'a [u8]),
    /// The cost is not accepted.
    Cost(&'a [u8]),
    /// Rate and burst make a bucket that takes over 100 years to fill.
    TooSlow,
    /// No such option.
    UnknownOption(&'a [u8]),
    /// An option that must be followed by a value is last.
    MissingValue(&'a [u8]),
    /// An option is given twice.
    RepeatedOption(&'a [u8]),
    /// The key holds another type.
    WrongType,
    /// The key holds a string that is no bucket.
    NotABucket,
    /// A new bucket, and the server's memory is used up.
    OutOfMemory,
    /// The server refused to write.
    WriteFailed,
}

impl fmt::Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Rate(got) => write!(
                f,
                "ERR rate must be N or N/P: a positive decimal up to 10^12 tokens a second, \
                 and a period such as s, 15m, h or d; got '{}'",
                Shown(got)
            ),
            Self::Burst(got) => write!(
                f,
                "ERR burst must be an integer from 1 to 10^11; got '{}'",
                Shown(got)
            ),
            Self::Cost(got) => write!(
                f,
                "ERR COST must be an integer from 1 to 10^11; got '{}'",
                Shown(got)
            ),
            Self::TooSlow => {
                f.write_str("ERR rate and burst make a bucket that takes over 100 years to fill")
            }
            Self::UnknownOption(got) => write!(
                f,
                "ERR syntax error: unknown option '{}'; accepted is COST n",
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
        let head = self.0.get(..64);
        write!(f, "{}", head.unwrap_or(self.0).escape_ascii())?;
        f.write_str(if head.is_some_and(|h| h.len() < self.0.len()) {
            "..."
        } else {
            ""
        })
    }
}
