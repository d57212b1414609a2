//! The sliding window: at most so many in any interval of a length: (state, now, limit, what is
//! asked) → decision.
//!
//! It is counted in sub-windows of a sixteenth of the length: see [`Sliding`].

use std::num::NonZeroU64;

use crate::bounds::{floor_millis, saturating_i64};
use crate::grammar::error::Error;
use crate::kinds::decision::{self, Ask, Change, Decision, Reply};
use crate::kinds::usage::{Usage, WindowStanding};

pub use crate::kinds::sub_windows::Sliding;

/// How much may be used in any interval of a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    limit: u64,
    /// Milliseconds, from 1 to those of a hundred years.
    length: NonZeroU64,
}

impl Limit {
    /// At most `limit` in any `length` milliseconds.
    pub(crate) fn new(limit: u64, length: NonZeroU64) -> Self {
        Self { limit, length }
    }
}

/// How a sliding window stands at an instant.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    limit: Limit,
    /// Milliseconds since 1970.
    now: u64,
    /// As it is stored, at this instant; still of the length that it is stored with.
    seen: Sliding,
    used: u64,
    /// All counts as used now, since it lay in the future: the clock stepped back by more than a
    /// window. A denied call has to write that, lest the caller wait for an end that moves.
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
    fn take(&self, ask: &Ask) -> Result<Decision<Sliding>, Error<'static>> {
        match self.usage().charge(ask)? {
            0 => Ok(self.unchanged(0, self.wait(ask))),
            taken => {
                let mut next = self.converted();
                next.charge(taken);
                Ok(self.changed(taken, next, self.used.saturating_add(taken)))
            }
        }
    }

    fn look(&self, ask: &Ask) -> Result<Decision<Sliding>, Error<'static>> {
        Ok(match self.usage().charge(ask)? {
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
    /// From the sub-window of that instant what it holds. Without `taken_at` from the oldest on:
    /// what stays is the youngest, which counts longest, so nothing comes free too early. The
    /// window keeps the length that it is stored with.
    fn give(&self, tokens: u64, taken_at: Option<u64>) -> Decision<Sliding> {
        let mut next = self.seen;
        match next.give(tokens, taken_at.map(|at| at.min(self.now))) {
            0 => self.unchanged(0, 0),
            given => self.changed(given, next, self.used.saturating_sub(given)),
        }
    }
}

impl Standing {
    fn usage(&self) -> Usage {
        Usage {
            limit: self.limit.limit,
            used: self.used,
        }
    }

    /// With the length of the call: if it is another, all that is used counts as used now. Only
    /// what takes something converts: one that is denied would else put off, for ever, what another
    /// length waits for, or free what a longer one still counts.
    #[inline(always)]
    fn converted(&self) -> Sliding {
        if self.seen.length() == self.limit.length {
            self.seen
        } else {
            Sliding::used_now(self.limit.length, self.now, self.used)
        }
    }

    /// Until enough is free, in the length that is stored.
    fn wait(&self, ask: &Ask) -> i64 {
        self.usage()
            .wait(ask, |excess| self.until(self.seen.freed_at(excess)))
    }

    /// Milliseconds until then.
    fn until(&self, instant: u64) -> i64 {
        saturating_i64(instant.saturating_sub(self.now))
    }

    /// Nothing is taken or given.
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

    /// So many were taken or given, which makes it `next`, with `used` in all.
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

/// The key expires when nothing is used any more.
#[inline(always)]
fn written(sliding: Sliding) -> Change<Sliding> {
    Change::Write(sliding, saturating_i64(sliding.unused_at()))
}
