//! The stored forms of records, as they are written.

use super::record::{Charge, Limited, Open, CLOSED, OPEN, REFUNDED, SETTLED};
use crate::bounds::{HOLD_MINUTE_MS, REFUNDED_HOLD_MS};

/// Bytes of the stored form of an open hold before its charges.
const TERMS_SIZE: usize = 19;
/// Bytes of a stored charge without the name.
const CHARGE_SIZE: usize = 19;

/// Everything about an open hold except its charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whether an overdue hold is refunded.
    pub else_free: bool,
    /// The time from which the hold is overdue, in Unix milliseconds.
    pub deadline: i64,
    /// The time from which the id is unknown, in Unix milliseconds.
    pub forget_at: i64,
}

impl Terms {
    /// Returns the terms of a hold that is made or repeated at `now_ms`. `used_until` is the time
    /// from which nothing of this call's charges can be refunded. `before` has the deadline and
    /// `forget_at` of a repeated hold, the latter only if something was still held.
    pub fn new(
        now_ms: i64,
        ttl_ms: i64,
        else_free: bool,
        used_until: i64,
        before: (Option<i64>, Option<i64>),
    ) -> Self {
        let deadline = now_ms.saturating_add(ttl_ms);
        let deadline = before.0.map_or(deadline, |old| old.max(deadline));
        let mut forget_at = deadline.saturating_add(ttl_ms.max(HOLD_MINUTE_MS));
        if else_free {
            forget_at = forget_at.max(used_until);
        }
        Self {
            else_free,
            deadline,
            forget_at: before.1.map_or(forget_at, |old| old.max(forget_at)),
        }
    }

    /// Returns the stored form of an open hold: as many charges as
    /// [`MAX_HELD_LIMITS`](crate::bounds::MAX_HELD_LIMITS) allows.
    pub fn record<'a>(&self, charges: impl Iterator<Item = Charge<'a>> + Clone) -> Vec<u8> {
        let mut count: u8 = 0;
        let mut size = TERMS_SIZE;
        for charge in charges.clone() {
            count = count.saturating_add(1);
            size = size.saturating_add(CHARGE_SIZE.saturating_add(charge.limit.name.len()));
        }
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(&[OPEN, u8::from(self.else_free), count]);
        bytes.extend_from_slice(&self.deadline.to_le_bytes());
        bytes.extend_from_slice(&self.forget_at.to_le_bytes());
        for charge in charges {
            let refunded = if charge.refunded { REFUNDED } else { 0 };
            bytes.push(charge.limit.kind as u8 | refunded);
            bytes.extend_from_slice(&charge.cost.to_le_bytes());
            bytes.extend_from_slice(&charge.at.to_le_bytes());
            let length = u16::try_from(charge.limit.name.len()).unwrap_or(u16::MAX);
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(charge.limit.name);
        }
        bytes
    }
}

impl Open<'_> {
    /// Returns the stored form after `is_refunded` limits were refunded at `now_ms`. Once nothing
    /// is held any more, the id is forgotten within an hour.
    pub fn refunded(&self, now_ms: i64, is_refunded: impl Fn(&Limited<'_>) -> bool) -> Vec<u8> {
        let charges = self.charges().map(|charge| Charge {
            refunded: charge.refunded || is_refunded(&charge.limit),
            ..charge
        });
        let forget_at = match charges.clone().any(|charge| charge.held() > 0) {
            true => self.forget_at,
            false => self.forget_at.min(now_ms.saturating_add(REFUNDED_HOLD_MS)),
        };
        let terms = Terms {
            else_free: self.else_free,
            deadline: self.deadline,
            forget_at,
        };
        terms.record(charges)
    }
}

/// Returns the stored form of an id that is settled at `now_ms`, and when it is forgotten.
pub fn settled(now_ms: i64) -> ([u8; 9], i64) {
    remembered(SETTLED, now_ms)
}

/// Returns the stored form of an id that is closed at `now_ms`, and when it is forgotten.
pub fn closed(now_ms: i64) -> ([u8; 9], i64) {
    remembered(CLOSED, now_ms)
}

fn remembered(tag: u8, now_ms: i64) -> ([u8; 9], i64) {
    let forget_at = now_ms.saturating_add(HOLD_MINUTE_MS);
    let mut bytes = [tag; 9];
    if let Some((_, at)) = bytes.split_first_chunk_mut::<1>() {
        at.copy_from_slice(&forget_at.to_le_bytes());
    }
    (bytes, forget_at)
}
