//! The whole numbers that a call may have: what errors call each, and what is accepted.

use std::fmt;
use std::ops::RangeInclusive;

use crate::bounds::{
    MAX_AT_MS, MAX_BURST, MAX_COST, MAX_KEEP, MAX_LIMIT, MAX_SLOTS, MAX_SLOT_WAIT_MS, MAX_WAITERS,
    MAX_WAIT_MS, MIN_AT_MS,
};
use crate::grammar::number::{integer, plain_integer};
use crate::show::{Bound, Shown};

/// A whole number that a call may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    name: &'static str,
    least: u64,
    most: u64,
    unit: &'static str,
}

impl Parameter {
    /// The burst of a bucket.
    pub const BURST: &'static Self = &Self::new("burst", 0..=MAX_BURST);
    /// The limit of a window.
    pub const LIMIT: &'static Self = &Self::new("limit", 0..=MAX_LIMIT);
    /// Tokens to take or refund.
    pub const COST: &'static Self = &Self::new("COST", 0..=MAX_COST);
    /// Tokens that must remain.
    pub const KEEP: &'static Self = &Self::new("KEEP", 0..=MAX_KEEP);
    /// Milliseconds that the caller accepts to wait.
    pub const MAX_WAIT: &'static Self =
        &Self::new("MAXWAIT", 0..=MAX_WAIT_MS).with_unit(" milliseconds");
    /// The time of a take, in milliseconds since 1970.
    pub const AT: &'static Self =
        &Self::new("AT", MIN_AT_MS..=MAX_AT_MS).with_unit(", in milliseconds since 1970");
    /// The end of a window, in milliseconds since 1970.
    pub const UNTIL: &'static Self =
        &Self::new("UNTIL", 0..=i64::MAX as u64).with_unit(", in milliseconds since 1970");
    /// Leases held at once.
    pub const SLOTS: &'static Self = &Self::new("limit", 0..=MAX_SLOTS);
    /// The amount that a settlement leaves charged.
    pub const USED: &'static Self = &Self::new("USED", 0..=MAX_COST);
    /// The number of leases or holds to return.
    pub const COUNT: &'static Self = &Self::new("COUNT", 1..=MAX_SLOTS);
    /// Milliseconds for which a caller waits for a slot.
    pub const WAIT: &'static Self =
        &Self::new("WAIT", 1..=MAX_SLOT_WAIT_MS).with_unit(" milliseconds");
    /// The number of other waiters at which a caller does not wait.
    pub const QUEUE: &'static Self = &Self::new("QUEUE", 1..=MAX_WAITERS);

    /// Creates a parameter with its name in errors.
    pub const fn new(name: &'static str, accepted: RangeInclusive<u64>) -> Self {
        Self {
            name,
            least: *accepted.start(),
            most: *accepted.end(),
            unit: "",
        }
    }

    /// Adds a unit, which errors print after the bounds.
    pub const fn with_unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    /// Returns the accepted values.
    pub const fn accepted(&self) -> RangeInclusive<u64> {
        self.least..=self.most
    }

    /// Reads a value, in any form whose value is whole.
    ///
    /// # Errors
    /// It is not an integer, or is out of bounds.
    #[inline(always)]
    pub fn integer<'a>(&'static self, got: &'a [u8]) -> Result<u64, Error<'a>> {
        let parameter = self;
        integer(got, self.accepted()).ok_or(Error { parameter, got })
    }

    /// Reads a value in plain digits.
    ///
    /// # Errors
    /// It contains other characters, or is out of bounds.
    pub fn plain_integer<'a>(&'static self, got: &'a [u8]) -> Result<u64, Error<'a>> {
        let parameter = self;
        plain_integer(got, self.accepted()).ok_or(Error { parameter, got })
    }
}

/// A value that is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error<'a> {
    /// The parameter.
    pub parameter: &'static Parameter,
    /// The value as sent.
    pub got: &'a [u8],
}

impl fmt::Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parameter = self.parameter;
        write!(
            f,
            "{} must be a whole number from {} to {}{}; got '{}'",
            parameter.name,
            Bound(parameter.least),
            Bound(parameter.most),
            parameter.unit,
            Shown(self.got)
        )
    }
}
