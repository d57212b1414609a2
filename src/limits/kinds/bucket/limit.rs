//! A bucket's rate and burst, and their combined bounds.

use std::time::Duration;

use super::units::ONE_TOKEN;
use crate::bounds::{MAX_BURST, MAX_YEARS_MS, NANOS_PER_MILLI, UNIT_BITS};
use crate::kinds::rate::Rate;

const MAX_FILL_NANOS: u64 = MAX_YEARS_MS * NANOS_PER_MILLI;

/// A validated rate and burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub(super) rate: Rate,
    pub(super) burst: u64,
}

impl Limit {
    /// Creates a limit of `burst` tokens that refill at `rate`; `None` if the burst is above
    /// [`MAX_BURST`], or if the bucket would take over 100 years to fill.
    #[inline(always)]
    pub fn new(rate: Rate, burst: u64) -> Option<Self> {
        let limit = Self { rate, burst };
        // A burst of 0 holds nothing, but a debt by FORCE must be repaid too.
        let fill = limit.burst_units().max(ONE_TOKEN);
        (burst <= MAX_BURST && rate.gains_within(fill as u64, MAX_FILL_NANOS)).then_some(limit)
    }

    /// Returns the burst in tokens.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// Returns the time in which an empty bucket fills.
    pub fn fill_time(&self) -> Duration {
        Duration::from_nanos(self.rate.nanos_to_gain(self.burst_units() as u64))
    }

    pub(super) fn burst_units(&self) -> i64 {
        (self.burst << UNIT_BITS) as i64
    }
}
