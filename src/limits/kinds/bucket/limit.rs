//! A bucket's rate and burst, and their combined bounds.

use std::time::Duration;

use super::ONE_TOKEN;
use crate::bounds::{MAX_TOKENS, MAX_YEARS_MS, NANOS_PER_MILLI, NANOS_PER_SECOND, UNIT_BITS};
use crate::grammar::error::{Error, Parameter};
use crate::grammar::number::{integer, Decimal};
use crate::kinds::rate::Rate;

const MAX_FILL_NANOS: u64 = MAX_YEARS_MS * NANOS_PER_MILLI;

/// A validated rate and burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub(super) rate: Rate,
    pub(super) burst: u64,
}

impl Limit {
    /// Parses `rate` (`N` or `N/P`) and `burst`.
    ///
    /// # Errors
    /// Either is not accepted, or the bucket would take over 100 years to fill.
    #[inline(always)]
    pub fn parse<'a>(rate: &'a [u8], burst: &'a [u8]) -> Result<Self, Error<'a>> {
        Self::new(
            Rate::parse(rate)?,
            integer(burst, 0..=MAX_TOKENS).ok_or(Error::Invalid(Parameter::Burst, burst))?,
        )
    }

    /// Creates a limit of `count` tokens per `seconds` with bursts of `burst`.
    ///
    /// # Errors
    /// The rate is out of bounds, or the bucket would take over 100 years to fill.
    pub fn per_seconds(count: u64, seconds: u64, burst: u64) -> Result<Self, Error<'static>> {
        let period = seconds.checked_mul(NANOS_PER_SECOND);
        let rate = period.and_then(|period| Rate::new(Decimal::from(count), period));
        Self::new(rate.ok_or(Error::TooFast)?, burst)
    }

    #[inline(always)]
    fn new(rate: Rate, burst: u64) -> Result<Self, Error<'static>> {
        let limit = Self { rate, burst };
        // A burst of 0 holds nothing, but a debt by FORCE must be repaid too.
        let fill = limit.burst_units().max(ONE_TOKEN);
        if rate.gains_within(fill as u64, MAX_FILL_NANOS) {
            Ok(limit)
        } else {
            Err(Error::TooSlow)
        }
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
