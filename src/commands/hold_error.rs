//! The errors of a call that has a hold, with the texts that its sender gets.

use std::fmt;

use redis_rl_limits::bounds::{MAX_HELD_LIMITS, MAX_HELD_NAMES};
use redis_rl_limits::show::Shown;

/// Why a call with a hold is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault<'a> {
    /// The server lacks a command that the records would be replicated by.
    Unavailable,
    /// A call has more than one HOLD.
    Repeated,
    /// RL.SETTLE has no HOLD.
    Missing,
    /// A lease of the call has ONCE.
    Once,
    /// No bucket or window, or too many.
    Limits,
    /// The names of the buckets and windows are too long together.
    Names,
    /// A bucket or a window of RL.SETTLE has no USED.
    Used,
    /// A word follows the name of a LEASE or a HOLD of RL.SETTLE.
    NameAlone(&'a [u8]),
    /// The id was settled.
    Settled(&'a [u8]),
    /// The id was closed.
    Cancelled(&'a [u8]),
    /// The id is open, but the call is not a repeat.
    Differs(&'a [u8]),
    /// The settlement names other limits than the hold.
    OtherLimits(&'a [u8]),
    /// The record of the id does not parse.
    Damaged(&'a [u8]),
    /// The key holds another hash.
    ForeignHash(&'a [u8]),
    /// The server is out of memory.
    NoMemory(&'a [u8]),
}

impl fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Unavailable => f.write_str(
                "ERR syntax error: HOLD is not available, because this server lacks the command \
                 HSET or HDEL (rename-command?)",
            ),
            Self::Repeated => f.write_str("ERR syntax error: a call has at most one HOLD"),
            Self::Missing => f.write_str("ERR syntax error: RL.SETTLE needs one HOLD id"),
            Self::Once => f.write_str(
                "ERR syntax error: option 'ONCE' cannot be combined with HOLD, which already makes \
                 the call repeatable",
            ),
            Self::Limits => write!(
                f,
                "ERR a call with a HOLD must have 1 to {MAX_HELD_LIMITS} buckets and windows"
            ),
            Self::Names => write!(
                f,
                "ERR the keys of the buckets and windows in a call with a HOLD must have at most \
                 {MAX_HELD_NAMES} bytes together"
            ),
            Self::Used => f.write_str(
                "ERR syntax error: each BUCKET and WINDOW of RL.SETTLE needs USED n, the amount to \
                 charge in the end",
            ),
            Self::NameAlone(got) => write!(
                f,
                "ERR syntax error: RL.SETTLE accepts LEASE token and HOLD id, without a limit, a \
                 ttl or options; got '{}'",
                Shown(got)
            ),
            Self::Settled(id) => write!(f, "ERR hold '{}' was settled", Shown(id)),
            Self::Cancelled(id) => write!(
                f,
                "ERR hold '{}' was cancelled before it was made",
                Shown(id)
            ),
            Self::Differs(id) => write!(
                f,
                "ERR hold '{}' was made with other keys, costs or ELSE",
                Shown(id)
            ),
            Self::OtherLimits(id) => write!(
                f,
                "ERR hold '{}' was made for other buckets or windows",
                Shown(id)
            ),
            Self::Damaged(id) => write!(
                f,
                "ERR hold '{}' cannot be read: its record was changed by hand",
                Shown(id)
            ),
            Self::ForeignHash(key) => write!(
                f,
                "ERR key '{}' holds a hash that was not created by RL.ALL",
                Shown(key)
            ),
            Self::NoMemory(key) => write!(
                f,
                "OOM command not allowed when used memory > 'maxmemory': a hold in key '{}' would \
                 be new",
                Shown(key)
            ),
        }
    }
}
