//! The hold: an estimate that was charged to several limits and is settled later, once.
//!
//! A hold's record stores how much each limit holds for it. A settlement, a repeat and the refund
//! of an overdue hold all do the same: they change what a limit holds and move only the difference
//! ([`Holdable::hold_instead`]).

mod marker;
mod record;
mod walk;
mod write;

pub use marker::{free_places, Marker, MARKER};
pub use record::{Charge, Kind, Limited, Open, Record};
pub use walk::{Found, Walk};
pub use write::{closed, settled, Terms};

use crate::bounds::{saturating_i64, MAX_HOLDS};
use crate::kinds::decision::{Decision, Reply, Standing};

/// The standing of a limit that a hold can charge.
pub trait Holdable: Standing {
    /// Bucket or window.
    const KIND: Kind;

    /// Returns the time that a record stores for a charge of `cost` made now.
    /// [`refund`](Self::refund) decides by it how much comes back.
    ///
    /// For a window this is the time of the charge in Unix milliseconds, or the window's start if
    /// the clock is behind it. For a bucket it is the time at which the bucket will be full again,
    /// in Unix nanoseconds.
    fn charged_at(&self, cost: u64) -> i64;

    /// Refunds at most `tokens` of a charge that was made at `charged_at`.
    fn refund(&self, tokens: u64, charged_at: i64) -> Decision<Self::State>;

    /// Charges `tokens` even if there are too few: all of them, or as many as the bounds allow.
    fn force(&self, tokens: u64) -> Decision<Self::State>;

    /// Makes the limit hold `amount` instead of the `held` that was charged at `charged_at`.
    /// `taken` in the reply is the amount charged, negative if refunded.
    fn hold_instead(&self, held: u64, amount: u64, charged_at: i64) -> Decision<Self::State> {
        if amount > held {
            return self.force(amount.saturating_sub(held));
        }
        let refund = self.refund(held.saturating_sub(amount), charged_at);
        let reply = Reply {
            taken: refund.reply.taken.saturating_neg(),
            ..refund.reply
        };
        Decision { reply, ..refund }
    }
}

/// Returns the five integers of a holds key with `records` records. `millis_left` is the time until
/// the id's deadline; `None` if the id is not open.
pub fn reply(millis_left: Option<i64>, records: u64) -> Reply {
    Reply::new(
        i64::from(millis_left.is_some()),
        saturating_i64(MAX_HOLDS),
        saturating_i64(free_places(records)),
        0,
        millis_left.unwrap_or(0).max(0),
    )
}
