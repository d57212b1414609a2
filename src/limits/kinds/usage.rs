//! The common part of both kinds of window: a limit and its usage.

use crate::bounds::{MAX_COST, MAX_LIMIT, MAX_USED, MILLIS_PER_SECOND};
use crate::kinds::decision::{Ask, Decision, Mode, Standing, NEVER};
use crate::kinds::error::Error;

/// A window that is used up to its limit can be read again, and a reply can hold any usage with a
/// cost.
const _: () = assert!(MAX_LIMIT <= MAX_USED && MAX_USED + MAX_COST <= i64::MAX as u64);

/// The standing of a window of either kind.
pub trait WindowStanding: Standing {
    /// Refunds `tokens` that were taken at `taken_at`, in milliseconds since 1970 (a later time
    /// means now). Never refunds more than is used.
    fn give(&self, tokens: u64, taken_at: Option<u64>) -> Decision<Self::State>;
}

/// Returns by how much the AT of a refund may be too early for a window of this length, both in
/// milliseconds: a second or a sixteenth of the window, whichever is less.
pub(crate) fn at_tolerance(length: u64) -> u64 {
    (length / 16).min(MILLIS_PER_SECOND)
}

/// The limit of a window, and its usage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) limit: u64,
    pub(crate) used: u64,
}

impl Usage {
    pub(crate) fn remaining(self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// Returns whether enough is left.
    #[inline(always)]
    pub(crate) fn has(self, ask: &Ask) -> bool {
        self.excess(ask) == Some(0)
    }

    /// Returns whether the cost is 0, and granted.
    #[inline(always)]
    pub(crate) fn grants_nothing(self, ask: &Ask) -> bool {
        ask.cost == 0 && (self.has(ask) || ask.mode == Mode::Force)
    }

    /// Returns the amount taken; 0 if denied. A window has nothing to reserve, so [`Mode::MaxWait`]
    /// acts as [`Mode::Whole`].
    ///
    /// # Errors
    /// [`Mode::Force`] would raise the usage above the bound.
    #[inline(always)]
    pub(crate) fn charge(self, ask: &Ask) -> Result<u64, Error> {
        let left = self.remaining().saturating_sub(ask.keep);
        match ask.mode {
            Mode::AtMost => Ok(ask.cost.min(left)),
            Mode::Whole | Mode::MaxWait(_) if ask.cost <= left => Ok(ask.cost),
            Mode::Whole | Mode::MaxWait(_) => Ok(0),
            Mode::Force if self.used.saturating_add(ask.cost) > MAX_USED => Err(Error::Used),
            Mode::Force => Ok(ask.cost),
        }
    }

    /// Returns the amount that must be freed first; `None` if there can never be enough.
    pub(crate) fn excess(self, ask: &Ask) -> Option<u64> {
        let room = self.limit.checked_sub(ask.needed())?;
        Some(self.used.saturating_sub(room))
    }

    /// Returns the wait in milliseconds; `until_free` returns the time until the given amount is
    /// free.
    #[inline(always)]
    pub(crate) fn wait(self, ask: &Ask, until_free: impl FnOnce(u64) -> i64) -> i64 {
        self.excess(ask).map_or(NEVER, until_free)
    }
}
