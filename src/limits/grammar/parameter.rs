//! The numbers that a call may have: what each is called, and what is accepted.

use std::ops::RangeInclusive;

use crate::bounds::{MAX_AT_MS, MAX_LIMITS, MAX_SLOTS, MAX_TOKENS, MAX_WAIT_MS, MIN_AT_MS};
use crate::sketch::top;

/// What a value in a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// The most that a bucket holds.
    Burst,
    /// Tokens to take or give.
    Cost,
    /// Tokens that must be left.
    Keep,
    /// Milliseconds that the caller is ready to wait.
    MaxWait,
    /// The most that is used in a window.
    Limit,
    /// The weekday that a week begins on.
    Weekday,
    /// The day that a month begins on.
    MonthDay,
    /// When a window ends, in milliseconds since 1970.
    Until,
    /// When something was taken, in milliseconds since 1970.
    At,
    /// How many keys follow.
    NumKeys,
    /// The burst less one, as redis-cell counts.
    MaxBurst,
    /// Tokens a period.
    Count,
    /// Seconds.
    Period,
    /// Tokens to take; 0 only looks.
    Quantity,
    /// How many keys to tell.
    TopCount,
    /// Leases held at once.
    Slots,
    /// How many leases to tell.
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

    /// What is accepted.
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
