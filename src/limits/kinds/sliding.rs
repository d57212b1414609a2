//! The sliding window: at most `limit` in any interval of a length. (state, now, limit, request) →
//! decision.
//!
//! It counts in sub-windows of one sixteenth of the length: see [`Sliding`].

use std::num::NonZeroU64;

use crate::bounds::{floor_millis, saturating_i64, MAX_USED};
use crate::kinds::decision::{self, Ask, Change, Decision, Reply};
use crate::kinds::error::Error;
use crate::kinds::hold::{Holdable, Kind};
use crate::kinds::usage::{Usage, WindowStanding};

pub use crate::kinds::sub_windows::Sliding;

/// The limit for any interval of a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    limit: u64,
    /// Milliseconds, from 1 to 100 years.
    length: NonZeroU64,
}

impl Limit {
    /// Creates a limit of at most `limit` in any `length` milliseconds.
    pub fn new(limit: u64, length: NonZeroU64) -> Self {
        Self { limit, length }
    }
}

/// The standing of a sliding window at one time.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    limit: Limit,
    /// Milliseconds since 1970.
    now: u64,
    /// The stored state advanced to now, still with its stored length.
    seen: Sliding,
    used: u64,
    /// All usage counts as used now, because the stored state was in the future: the clock stepped
    /// back by more than a window. A denied call must write that, otherwise the caller would wait
    /// for an end that keeps moving.
    rebased: bool,
}

impl decision::Limit for Limit {
    type State = Sliding;
    type Standing = Standing;

    #[inline(always)]
    fn stand(self, stored: Option<Sliding>, now: u64) -> Standing {
        let now = floor_millis(now);
        let (seen, rebased) = match stored {
            None => (Sliding::used_now(self.length, now, 0), false),
            Some(stored) => match stored.at(now) {
                Some(seen) => (seen, false),
                None => {
                    let used = stored.used();
                    (Sliding::used_now(stored.length(), now, used), used > 0)
                }
            },
        };
        Standing {
            limit: self,
            now,
            seen,
            used: seen.used(),
            rebased,
        }
    }
}

impl decision::Standing for Standing {
    type State = Sliding;

    #[inline(always)]
    fn take(&self, ask: &Ask) -> Result<Decision<Sliding>, Error> {
        match self.usage().charge(ask)? {
            0 if self.usage().grants_nothing(ask) => Ok(self.untouched()),
            0 => Ok(self.unchanged(0, self.wait(ask))),
            taken => {
                let mut next = self.converted();
                next.charge(taken);
                Ok(self.changed(taken, next, self.used.saturating_add(taken)))
            }
        }
    }

    fn state(&self) -> Reply {
        self.reply(0, 0, &self.seen, self.used)
    }

    fn look(&self, ask: &Ask) -> Result<Decision<Sliding>, Error> {
        Ok(match self.usage().charge(ask)? {
            0 if self.usage().grants_nothing(ask) => self.untouched(),
            0 => self.unchanged(0, self.wait(ask)),
            taken => self.unchanged(taken, 0),
        })
    }

    #[inline(always)]
    fn has(&self, ask: &Ask) -> bool {
        self.usage().has(ask)
    }
}

impl WindowStanding for Standing {
    /// Refunds from the sub-window of `taken_at` and the one after it, at most what they hold. Without
    /// `taken_at` it refunds from the oldest on: the youngest usage, which counts longest, stays, so
    /// nothing is freed too early. The window keeps its stored length.
    fn give(&self, tokens: u64, taken_at: Option<u64>) -> Decision<Sliding> {
        let mut next = self.seen;
        match next.give(tokens, taken_at, self.now) {
            0 if tokens == 0 => self.untouched(),
            0 => self.unchanged(0, 0),
            given => self.changed(given, next, self.used.saturating_sub(given)),
        }
    }
}

impl Holdable for Standing {
    const KIND: Kind = Kind::Window;

    fn charged_at(&self, _cost: u64) -> i64 {
        let newest = self.converted().newest_begins_at();
        saturating_i64(newest.max(self.now))
    }

    /// Refunds only from the sub-window of the charge. A time later than now means now, unless the
    /// clock stepped back behind the newest sub-window.
    fn refund(&self, tokens: u64, charged_at: i64) -> Decision<Sliding> {
        let latest = self.seen.newest_begins_at().max(self.now);
        let mut next = self.seen;
        let given = u64::try_from(charged_at).map_or(0, |at| next.give_at(tokens, at.min(latest)));
        match given {
            0 => self.unchanged(0, 0),
            given => self.changed(given, next, self.used.saturating_sub(given)),
        }
    }

    fn force(&self, tokens: u64) -> Decision<Sliding> {
        match tokens.min(MAX_USED.saturating_sub(self.used)) {
            0 => self.unchanged(0, 0),
            taken => {
                let mut next = self.converted();
                next.charge(taken);
                self.changed(taken, next, self.used.saturating_add(taken))
            }
        }
    }
}

impl Standing {
    /// Takes or refunds nothing, and writes nothing.
    fn untouched(&self) -> Decision<Sliding> {
        Decision {
            reply: decision::Standing::state(self),
            change: Change::Keep,
        }
    }

    fn usage(&self) -> Usage {
        Usage {
            limit: self.limit.limit,
            used: self.used,
        }
    }

    /// Returns the state with the length of the call; if that differs, all usage counts as used
    /// now. Only a take that succeeds converts. Otherwise denied calls could postpone for ever what
    /// another length waits for, or free usage that a longer one still counts.
    #[inline(always)]
    fn converted(&self) -> Sliding {
        if self.seen.length() == self.limit.length {
            self.seen
        } else {
            Sliding::used_now(self.limit.length, self.now, self.used)
        }
    }

    /// Returns the wait until enough is free, by the stored length.
    fn wait(&self, ask: &Ask) -> i64 {
        self.usage()
            .wait(ask, |excess| self.until(self.seen.freed_at(excess)))
    }

    /// Returns the milliseconds until `instant`.
    fn until(&self, instant: u64) -> i64 {
        saturating_i64(instant.saturating_sub(self.now))
    }

    /// Replies without a change.
    #[inline(always)]
    fn unchanged(&self, taken: u64, wait_ms: i64) -> Decision<Sliding> {
        Decision {
            reply: self.reply(taken, wait_ms, &self.seen, self.used),
            change: if self.rebased {
                written(self.seen)
            } else {
                Change::Keep
            },
        }
    }

    /// Stores `next`, with `used` in all, after `taken` units were taken or refunded.
    #[inline(always)]
    fn changed(&self, taken: u64, next: Sliding, used: u64) -> Decision<Sliding> {
        Decision {
            reply: self.reply(taken, 0, &next, used),
            change: match used {
                0 => Change::Remove,
                _ => written(next),
            },
        }
    }

    #[inline(always)]
    fn reply(&self, taken: u64, wait_ms: i64, seen: &Sliding, used: u64) -> Reply {
        let limit = self.limit.limit;
        let usage = Usage { limit, used };
        Reply::new(
            saturating_i64(taken),
            saturating_i64(limit),
            saturating_i64(usage.remaining()),
            wait_ms,
            self.until(seen.unused_at()),
        )
    }
}

/// Stores a state whose key expires when nothing is used any more.
#[inline(always)]
fn written(sliding: Sliding) -> Change<Sliding> {
    Change::Write(sliding, saturating_i64(sliding.unused_at()))
}
