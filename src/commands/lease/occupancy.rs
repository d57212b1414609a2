//! The sorted set of leases, token → end: recognises one and counts its leases, for the commands
//! that only read it and those that write it.

use crate::commands::error::Error;
use redis_rl_limits::bounds::{self, NANOS_PER_MILLI};
use redis_rl_limits::kinds::decision::NEVER;
use redis_rl_limits::kinds::lease::{End, Limit, Room};

use crate::server::{Argument, Call, Name, Refusal, Scores};

/// The member that identifies a set as ours, as a server string.
pub static MARKER: Name = Name::new(bounds::MARKER);

/// The number of live leases at a key.
#[derive(Clone, Copy, Debug)]
pub struct Occupancy {
    /// Leases that have not ended.
    pub live: usize,
    /// Members that do not count: the marker, and expired leases that were not trimmed.
    pub dead: usize,
    /// The time of the call, in milliseconds since 1970.
    pub now_ms: i64,
}

impl Occupancy {
    /// Returns whether all members except the marker are live.
    pub fn none_has_ended(&self) -> bool {
        self.dead == 1
    }
}

/// Counts the leases in a set.
#[inline(always)]
pub fn count(set: &mut Scores<'_>, now_ms: i64) -> Occupancy {
    let dead = set.count_up_to(now_ms);
    Occupancy {
        live: set.len().saturating_sub(dead),
        dead,
        now_ms,
    }
}

/// Returns the milliseconds until there is room for one more lease if nobody acquires, renews or
/// releases.
pub fn wait_ms(set: &mut Scores<'_>, held: Occupancy, limit: Limit) -> i64 {
    let ended = match limit.room(held.live as u64) {
        Room::Now => return 0,
        Room::Never => return NEVER,
        Room::After(ended) => usize::try_from(ended).unwrap_or(usize::MAX),
    };
    set.nth_above(held.now_ms as f64, held.dead, ended)
        .map_or(0, |score| End(score).millis_left(held.now_ms))
}

/// Returns the milliseconds until the last lease has ended; 0 if there is none.
pub fn reset_ms(set: &mut Scores<'_>, now_ms: i64) -> i64 {
    set.last().map_or(0, |score| End(score).millis_left(now_ms))
}

/// Checks that a set was created by RL.ACQUIRE.
///
/// # Errors
/// It has members, but not the marker.
#[inline(always)]
pub fn check<'a>(set: &Scores<'_>, name: &Argument<'a>) -> Result<(), Error<'a>> {
    match set.score(&set.name(&MARKER)) == Some(0.0) || set.len() == 0 {
        true => Ok(()),
        false => Err(Error::ForeignSet(name.bytes())),
    }
}

/// Returns the time of a call, in milliseconds since 1970.
pub fn millis(call: &Call<'_>) -> i64 {
    i64::try_from(call.now() / NANOS_PER_MILLI).unwrap_or(i64::MAX)
}

/// Converts a refusal to the error of a command on leases.
#[cold]
pub fn refused<'a>(refusal: Refusal, name: &Argument<'a>) -> Error<'a> {
    let key = name.bytes();
    match refusal {
        Refusal::WrongType | Refusal::OtherLength => Error::WrongType(key),
        Refusal::OutOfMemory => Error::NoMemoryForLease(key),
        Refusal::ReadFailed => Error::ReadFailed(key),
        Refusal::WriteFailed => Error::WriteFailed(key),
    }
}
