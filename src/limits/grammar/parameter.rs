//! The numeric parameters of a call: their names and accepted ranges.

use std::ops::RangeInclusive;

use crate::bounds::{MAX_AT_MS, MAX_LIMITS, MAX_SLOTS, MAX_TOKENS, MAX_WAIT_MS, MIN_AT_MS};
use crate::sketch::top;

/// A numeric parameter of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// The burst of a bucket.
    Burst,
    /// Tokens to take or refund.
    Cost,
    /// Tokens that must remain.
    Keep,
    /// Milliseconds that the caller accepts to wait.
    MaxWait,
    /// The limit of a window.
    Limit,
    /// The first weekday of a week.
    Weekday,
    /// The first day of a month.
    MonthDay,
    /// The end of a window, in milliseconds since 1970.
    Until,
    /// The time of a take, in milliseconds since 1970.
    At,
    /// The number of keys that follow.
    NumKeys,
    /// The burst minus one, as redis-cell counts.
    MaxBurst,
    /// Tokens per period.
    Count,
    /// The period in seconds.
    Period,
    /// Tokens to take; 0 peeks.
    Quantity,
    /// The number of keys to return.
    TopCount,
    /// Leases held at once.
    Slots,
    /// The number of leases to return.
    LeaseCount,
}

impl Parameter {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::Cost => "COST",
            Self::Keep => "KEEP",
            Self::MaxWait => "MAXWAIT",
            Self::Limit => "limit",
            Self::Weekday => "ANCHOR of a WEEK",
            Self::MonthDay => "ANCHOR of a MONTH",
            Self::Until => "UNTIL",
            Self::At => "AT",
            Self::NumKeys => "numkeys",
            Self::MaxBurst => "max_burst",
            Self::Count | Self::TopCount => "count",
            Self::Period => "period",
            Self::Quantity => "quantity",
            Self::Slots => "limit",
            Self::LeaseCount => "COUNT",
        }
    }

    /// Returns the accepted range.
    pub const fn bounds(self) -> RangeInclusive<u64> {
        match self {
            Self::Burst | Self::Limit | Self::Quantity => 0..=MAX_TOKENS,
            Self::Cost | Self::Keep => 1..=MAX_TOKENS,
            Self::MaxWait => 0..=MAX_WAIT_MS,
            Self::Weekday => 1..=7,
            Self::MonthDay => 1..=31,
            Self::Until => 0..=i64::MAX as u64,
            Self::At => MIN_AT_MS..=MAX_AT_MS,
            Self::NumKeys => 1..=MAX_LIMITS,
            Self::MaxBurst => 0..=MAX_TOKENS - 1,
            Self::Count => 1..=1_000_000_000_000_000_000,
            Self::Period => 1..=1_000_000_000,
            Self::TopCount => 1..=top::MAX_KEYS as u64,
            Self::Slots => 0..=MAX_SLOTS,
            Self::LeaseCount => 1..=MAX_SLOTS,
        }
    }

    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::MaxWait => " milliseconds",
            Self::Until | Self::At => ", in milliseconds since 1970",
            Self::Weekday => ", Monday to Sunday",
            Self::Period => " seconds",
            Self::TopCount => ", or RESET",
            Self::NumKeys => ", in plain digits, followed by as many keys",
            _ => "",
        }
    }
}
