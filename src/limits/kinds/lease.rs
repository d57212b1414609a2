//! The lease: a slot that its holder keeps until it gives it back or its time is up. At most a
//! limit of them are held at once.
//!
//! What is stored is a sorted set, token → when its lease ends. The set stays where it is: what
//! comes in here are the few numbers that a decision needs of it.

use crate::bounds::saturating_i64;
use crate::bounds::MAX_TTL_MS;
pub use crate::bounds::{
    LEASES_TOLD, MARKER, MAX_SLOTS, MAX_TOKENS_A_CALL, MAX_TOKEN_LEN, MAX_TTL_DAYS, MIN_TTL_MS,
};
use crate::grammar::duration;
use crate::grammar::error::{Error, Parameter};
use crate::grammar::options::Word;
use crate::kinds::decision::{Reply, NEVER};

/// From here on a lease counts as held for ever: not all milliseconds have a score of their own.
const FOR_EVER: f64 = 9_007_199_254_740_992.0; // 2^53

/// When a lease ends, in milliseconds since 1970: the score of its member.
///
/// What calls make is whole. By hand it may be any number.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct End(pub f64);

impl End {
    /// The end of a lease of `ttl_ms` that begins at `now_ms`.
    pub fn after(now_ms: i64, ttl_ms: u64) -> Self {
        Self(now_ms.saturating_add(saturating_i64(ttl_ms)) as f64)
    }

    /// Whether the lease is held at `now_ms`: it is not any more in the millisecond of its end.
    pub fn is_live(self, now_ms: i64) -> bool {
        self.0 > now_ms as f64
    }

    /// The later of the two.
    pub fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }

    /// From which millisecond on it has ended; `None` if it never does.
    pub fn millis(self) -> Option<i64> {
        (self.0 < FOR_EVER).then_some(self.0.ceil() as i64)
    }

    /// Milliseconds from `now_ms` until it has ended, never below 0; [`NEVER`] if it never does.
    pub fn millis_left(self, now_ms: i64) -> i64 {
        self.millis()
            .map_or(NEVER, |end| end.saturating_sub(now_ms).max(0))
    }
}

/// What a call allows: so many leases at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    slots: u64,
    keep: u64,
}

/// When there is room for one more lease, if nobody acquires, renews or releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Now.
    Now,
    /// When so many of the live leases, soonest to end first, have ended.
    After(u64),
    /// Under this limit never.
    Never,
}

/// What becomes of an acquire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// The token gets a slot.
    Grant,
    /// The token has one already, of which this is the end.
    Renew(End),
    /// It gets none: [`Limit::room`] has the wait.
    Deny,
}

impl Limit {
    /// So many leases at once, of which a new one leaves `keep` free.
    ///
    /// # Errors
    /// More than [`MAX_SLOTS`], or no whole number.
    pub fn parse(slots: &[u8], keep: u64) -> Result<Self, Error<'_>> {
        let slots = Parameter::Slots.integer(slots)?;
        Ok(Self { slots, keep })
    }

    /// Whether, or when, a lease beside so many live ones is within the limit.
    pub fn room(self, live: u64) -> Room {
        // The most that may be held for one more to leave enough free.
        let most = self.slots.checked_sub(self.keep.saturating_add(1));
        match most.map(|most| live.saturating_sub(most)) {
            Some(0) => Room::Now,
            Some(too_many) => Room::After(too_many),
            None => Room::Never,
        }
    }

    /// What becomes of an acquire where so many leases are live, `own` among them if the token
    /// has one.
    pub fn acquire(self, live: u64, own: Option<End>) -> Verdict {
        match (own, self.room(live)) {
            (Some(end), _) => Verdict::Renew(end),
            (None, Room::Now) => Verdict::Grant,
            (None, Room::After(_) | Room::Never) => Verdict::Deny,
        }
    }

    /// The five integers, where so many leases are live after the call.
    pub fn reply(self, taken: i64, live: u64, wait_ms: i64, reset_ms: i64) -> Reply {
        Reply::new(
            taken,
            saturating_i64(self.slots),
            saturating_i64(self.slots.saturating_sub(live)),
            wait_ms,
            reset_ms,
        )
    }
}

/// The later end of a live lease that is renewed at `now_ms`; `None` if it has ended.
pub fn renewed(end: End, now_ms: i64, ttl_ms: u64) -> Option<End> {
    end.is_live(now_ms)
        .then(|| end.max(End::after(now_ms, ttl_ms)))
}

/// Reads how long a lease lasts, in milliseconds.
///
/// # Errors
/// It is no duration, or one that is not accepted.
pub fn parse_ttl(text: &[u8]) -> Result<u64, Error<'_>> {
    duration::parse(text)
        .filter(|ttl_ms| (MIN_TTL_MS..=MAX_TTL_MS).contains(ttl_ms))
        .ok_or(Error::Ttl(text))
}

/// Makes sure that it is a token.
///
/// # Errors
/// It is too long, empty, or the name of the [`MARKER`].
pub fn check_token(token: &[u8]) -> Result<(), Error<'_>> {
    if (1..=MAX_TOKEN_LEN).contains(&token.len()) && token != MARKER {
        Ok(())
    } else {
        Err(Error::Token(token))
    }
}

/// Makes sure that they are tokens, at most [`MAX_TOKENS_A_CALL`].
///
/// # Errors
/// There are more, or one is none.
pub fn check_tokens<'a, W: Word<'a>>(tokens: &[W]) -> Result<(), Error<'a>> {
    if tokens.len() > MAX_TOKENS_A_CALL {
        return Err(Error::TooManyTokens);
    }
    tokens
        .iter()
        .try_for_each(|token| check_token(token.bytes()))
}
