//! What the two kinds of window have in common: a limit, and how much of it is used.

use crate::bounds::MAX_USED;
use crate::grammar::error::Error;
use crate::kinds::decision::{Ask, Decision, Mode, Standing, NEVER};

/// How a window of either kind stands at an instant.
pub trait WindowStanding: Standing {
    /// Gives back `tokens` that were taken at `taken_at`, in milliseconds since 1970 (later than
    /// now is now). Never more than is used.
    fn give(&self, tokens: u64, taken_at: Option<u64>) -> Decision<Self::State>;
}

/// How much may be used in a window, and how much is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) limit: u64,
    pub(crate) used: u64,
}

impl Usage {
    pub(crate) fn remaining(self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// Whether as much is left as is needed.
    #[inline(always)]
    pub(crate) fn has(self, ask: &Ask) -> bool {
        self.remaining() >= ask.needed()
    }

    /// How much is taken; 0 is denied. A window has nothing to reserve, so [`Mode::MaxWait`]
    /// is [`Mode::Whole`].
    ///
    /// # Errors
    /// [`Mode::Force`] would use more than is accepted.
    #[inline(always)]
    pub(crate) fn charge(self, ask: &Ask) -> Result<u64, Error<'static>> {
        let left = self.remaining().saturating_sub(ask.keep);
        match ask.mode {
            Mode::AtMost => Ok(ask.cost.min(left)),
            Mode::Whole | Mode::MaxWait(_) if ask.cost <= left => Ok(ask.cost),
            Mode::Whole | Mode::MaxWait(_) => Ok(0),
            Mode::Force if self.used.saturating_add(ask.cost) > MAX_USED => Err(Error::Used),
            Mode::Force => Ok(ask.cost),
        }
    }

    /// How much has to come free first; `None` if there can never be enough.
    pub(crate) fn excess(self, ask: &Ask) -> Option<u64> {
        let room = self.limit.checked_sub(ask.needed())?;
        Some(self.used.saturating_sub(room))
    }

    /// The wait until `freed(n)`, in milliseconds, with the `n` that have to come free.
    #[inline(always)]
    pub(crate) fn wait(self, ask: &Ask, until_free: impl FnOnce(u64) -> i64) -> i64 {
        self.excess(ask).map_or(NEVER, until_free)
    }
}
