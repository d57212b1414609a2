//! The lease: a slot that its holder keeps until it releases it or its time is up. At most `limit`
//! leases are held at once.
//!
//! The state is a sorted set, token → end of its lease. The set stays in the server; only the few
//! numbers that a decision needs are passed here.

use crate::bounds::{saturating_i64, MAX_TTL_MS, NANOS_PER_MILLI};
use crate::kinds::decision::{Reply, NEVER};

/// From this score on a lease counts as held for ever, because not every millisecond has a score of
/// its own.
const FOR_EVER: f64 = 9_007_199_254_740_992.0; // 2^53

/// No lease that a call makes counts as held for ever, whatever the clock.
const _: () = assert!(u64::MAX / NANOS_PER_MILLI + MAX_TTL_MS < FOR_EVER as u64);

/// The end of a lease, in milliseconds since 1970: the score of its member.
///
/// Calls store whole numbers. A score written by hand may be any number.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct End(pub f64);

impl End {
    /// Returns the end of a lease of `ttl_ms` that begins at `now_ms`.
    pub fn after(now_ms: i64, ttl_ms: u64) -> Self {
        Self(now_ms.saturating_add(saturating_i64(ttl_ms)) as f64)
    }

    /// Returns whether the lease is held at `now_ms`. In the millisecond of its end it no longer
    /// is.
    pub fn is_live(self, now_ms: i64) -> bool {
        self.0 > now_ms as f64
    }

    /// Returns the later of the two.
    pub fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }

    /// Returns the first millisecond at which it has ended; `None` if it never ends.
    pub fn millis(self) -> Option<i64> {
        (self.0 < FOR_EVER).then_some(self.0.ceil() as i64)
    }

    /// Returns the milliseconds from `now_ms` until it has ended, never below 0; [`NEVER`] if it
    /// never ends.
    pub fn millis_left(self, now_ms: i64) -> i64 {
        self.millis()
            .map_or(NEVER, |end| end.saturating_sub(now_ms).max(0))
    }
}

/// The limit of a call: the slots, and those that a new lease must leave free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    slots: u64,
    keep: u64,
}

/// The time at which there is room for one more lease, if nobody acquires, renews or releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Now.
    Now,
    /// When this many of the live leases, soonest to end first, have ended.
    After(u64),
    /// Never under this limit.
    Never,
}

/// The behaviour of an acquire if its token already holds a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfHeld {
    /// It renews the lease.
    Renew,
    /// It is denied (`NX`).
    Deny,
}

/// The outcome of an acquire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// The token gets a slot.
    Grant,
    /// The token holds a slot already, with this end.
    Renew(End),
    /// The token holds a slot already, with this end, and the call is denied for that (`NX`).
    Held(End),
    /// The token gets no slot: [`Limit::room`] has the wait.
    Deny,
}

impl Limit {
    /// Creates a limit of `slots` leases at once. A new lease must leave `keep` slots free.
    pub fn new(slots: u64, keep: u64) -> Self {
        Self { slots, keep }
    }

    /// Returns the number of held slots below which a call gets one.
    pub fn most(self) -> u64 {
        self.slots.saturating_sub(self.keep)
    }

    /// Returns whether, or when, one lease more than `live` is within the limit.
    pub fn room(self, live: u64) -> Room {
        // The most leases that may be held so that one more leaves enough slots free.
        let most = self.slots.checked_sub(self.keep.saturating_add(1));
        match most.map(|most| live.saturating_sub(most)) {
            Some(0) => Room::Now,
            Some(too_many) => Room::After(too_many),
            None => Room::Never,
        }
    }

    /// Decides an acquire with `live` leases; `own` is the end of the token's own lease, if it has
    /// a live one.
    pub fn acquire(self, live: u64, own: Option<End>, if_held: IfHeld) -> Verdict {
        match (own, self.room(live)) {
            (Some(end), _) if if_held == IfHeld::Deny => Verdict::Held(end),
            (Some(end), _) => Verdict::Renew(end),
            (None, Room::Now) => Verdict::Grant,
            (None, Room::After(_) | Room::Never) => Verdict::Deny,
        }
    }

    /// Returns the five integers, given `live` leases after the call.
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

/// Returns the new end of a live lease that is renewed at `now_ms`; `None` if it has ended.
pub fn renewed(end: End, now_ms: i64, ttl_ms: u64) -> Option<End> {
    end.is_live(now_ms)
        .then(|| end.max(End::after(now_ms, ttl_ms)))
}
