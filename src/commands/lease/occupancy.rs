//! The sorted set that holds leases, token → when it ends: whether a set is one, and how the leases
//! in it stand. Shared by those who only look and those who write.

use redis_rl_limits::bounds::NANOS_PER_MILLI;
use redis_rl_limits::grammar::error::Error;
use redis_rl_limits::kinds::decision::NEVER;
use redis_rl_limits::kinds::lease::{self, End, Limit, Room};

use crate::server::{Argument, Call, Name, Refusal, Scores};

/// The member by which a set is known to be ours, as the server keeps it.
pub static MARKER: Name = Name::new(lease::MARKER);

/// How the leases at a key stand.
#[derive(Clone, Copy, Debug)]
pub struct Occupancy {
    /// Leases that have not ended.
    pub live: usize,
    /// Members that do not count: the marker, and leases that ended and were not trimmed.
    pub dead: usize,
    /// The millisecond of the call.
    pub now_ms: i64,
}

impl Occupancy {
    /// Whether all members but the marker are live.
    pub fn none_has_ended(&self) -> bool {
        self.dead == 1
    }
}

/// How the leases in a set stand, whoever asks.
#[inline(always)]
pub fn count(set: &mut Scores<'_>, now_ms: i64) -> Occupancy {
    let dead = set.count_up_to(now_ms);
    Occupancy {
        live: set.len().saturating_sub(dead),
        dead,
        now_ms,
    }
}

/// Milliseconds until there is room for one more lease if nobody acquires, renews or releases.
pub fn wait_ms(set: &mut Scores<'_>, held: Occupancy, limit: Limit) -> i64 {
    let ended = match limit.room(held.live as u64) {
        Room::Now => return 0,
        Room::Never => return NEVER,
        Room::After(ended) => usize::try_from(ended).unwrap_or(usize::MAX),
    };
    set.nth_above(held.now_ms as f64, held.dead, ended)
        .map_or(0, |score| End(score).millis_left(held.now_ms))
}

/// Milliseconds until the last lease has ended; 0 if there is none.
pub fn reset_ms(set: &mut Scores<'_>, now_ms: i64) -> i64 {
    set.last().map_or(0, |score| End(score).millis_left(now_ms))
}

/// Makes sure that a set is ours.
#[inline(always)]
pub fn check<'a>(set: &Scores<'_>, name: &Argument<'a>) -> Result<(), Error<'a>> {
    match set.score(&MARKER.argument()) == Some(0.0) || set.len() == 0 {
        true => Ok(()),
        false => Err(Error::ForeignSet(name.bytes())),
    }
}

/// The millisecond of a call.
pub fn millis(call: &Call<'_>) -> i64 {
    i64::try_from(call.now() / NANOS_PER_MILLI).unwrap_or(i64::MAX)
}

/// A refusal of the server's, in the words of a command on leases.
#[cold]
pub fn refused<'a>(refusal: Refusal, name: &Argument<'a>) -> Error<'a> {
    let key = name.bytes();
    match refusal {
        Refusal::WrongType | Refusal::OtherLength => Error::WrongType(key),
        Refusal::OutOfMemory => Error::NoMemoryForLease(key),
        Refusal::WriteFailed => Error::WriteFailed(key),
    }
}
