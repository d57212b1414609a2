//! Rate and burst: what is accepted, and how long tokens take at that rate.

#![forbid(unsafe_code)]

use std::ops::RangeInclusive;

use crate::bucket::UNIT_BITS;
use crate::error::{Error, Parameter};

/// The largest burst, cost or debt, in tokens.
pub const MAX_TOKENS: u64 = 100_000_000_000;
/// The fastest rate, in tokens a second.
pub const MAX_RATE: u64 = 1_000_000_000_000;

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// A hundred years of 365.25 days, in nanoseconds.
const MAX_FILL_NANOS: u64 = 36_525 * 86_400 * NANOS_PER_SECOND;

/// A validated rate and burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    rate: Rate,
    burst: u64,
}

/// `num / den` units of 2^-24 tokens a nanosecond, exactly the rate that was asked for.
///
/// Both fit 64 bits, so that their product with any time or level fits 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    num: u64,
    den: u64,
}

impl Limit {
    /// Reads `rate` (`N` or `N/P`) and `burst`.
    ///
    /// # Errors
    /// Whatever of the two is not accepted, or that the bucket would take over 100 years to fill.
    pub fn parse<'a>(rate: &'a [u8], burst: &'a [u8]) -> Result<Self, Error<'a>> {
        Self::new(
            Rate::parse(rate).ok_or(Error::Invalid(Parameter::Rate, rate))?,
            integer(burst, 1..=MAX_TOKENS).ok_or(Error::Invalid(Parameter::Burst, burst))?,
        )
    }

    /// `burst` tokens at most, and `count` of them every `seconds`.
    ///
    /// # Errors
    /// The rate is out of bounds, or the bucket would take over 100 years to fill.
    pub fn per_seconds(count: u64, seconds: u64, burst: u64) -> Result<Self, Error<'static>> {
        let rate = seconds
            .checked_mul(NANOS_PER_SECOND)
            .and_then(|period| Rate::new(count, 0, period));
        Self::new(rate.ok_or(Error::TooFast)?, burst)
    }

    fn new(rate: Rate, burst: u64) -> Result<Self, Error<'static>> {
        let limit = Self { rate, burst };
        if limit.nanos_to_gain(limit.burst_units() as u64) > MAX_FILL_NANOS {
            return Err(Error::TooSlow);
        }
        Ok(limit)
    }

    /// The burst in tokens.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    pub(crate) fn burst_units(&self) -> i64 {
        (self.burst << UNIT_BITS) as i64
    }

    /// Units gained in `nanos`, rounded down.
    pub(crate) fn units_gained(&self, nanos: u64) -> u128 {
        u128::from(nanos) * u128::from(self.rate.num) / u128::from(self.rate.den)
    }

    /// Units gained in `nanos`, rounded up.
    pub(crate) fn units_owed(&self, nanos: u64) -> u128 {
        (u128::from(nanos) * u128::from(self.rate.num)).div_ceil(u128::from(self.rate.den))
    }

    /// The first nanosecond at which `units` have been gained; `u64::MAX` if that is beyond it.
    pub(crate) fn nanos_to_gain(&self, units: u64) -> u64 {
        let nanos =
            (u128::from(units) * u128::from(self.rate.den)).div_ceil(u128::from(self.rate.num));
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

/// A whole number in a range: ASCII digits only.
pub fn integer(text: &[u8], accepted: RangeInclusive<u64>) -> Option<u64> {
    digits(text).filter(|n| accepted.contains(n))
}

impl Rate {
    fn parse(text: &[u8]) -> Option<Self> {
        let (amount, period) = match text.iter().position(|&b| b == b'/') {
            Some(at) => (text.get(..at)?, period_nanos(text.get(at + 1..)?)?),
            None => (text, NANOS_PER_SECOND),
        };
        let (mantissa, decimals) = decimal(amount)?;
        Self::new(mantissa, decimals, period)
    }

    /// `mantissa / 10^decimals` tokens every `period` nanoseconds.
    fn new(mantissa: u64, decimals: u32, period: u64) -> Option<Self> {
        let period = u128::from(period) * u128::from(10u64.checked_pow(decimals)?);
        let per_second = u128::from(mantissa) * u128::from(NANOS_PER_SECOND);
        if mantissa == 0 || per_second > u128::from(MAX_RATE).checked_mul(period)? {
            return None;
        }
        let shift = period.trailing_zeros().min(UNIT_BITS);
        let num = u128::from(mantissa) << (UNIT_BITS - shift);
        let den = period >> shift;
        let common = if (num | den) >> u64::BITS == 0 {
            1
        } else {
            greatest_common_divisor(num, den)
        };
        Some(Self {
            num: u64::try_from(num / common).ok()?,
            den: u64::try_from(den / common).ok()?,
        })
    }
}

fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// `0.5` → (5, 1): digits without the point, and how many stood behind it.
fn decimal(text: &[u8]) -> Option<(u64, u32)> {
    let Some(point) = text.iter().position(|&b| b == b'.') else {
        return Some((digits(text)?, 0));
    };
    let (whole, fraction) = (text.get(..point)?, text.get(point + 1..)?);
    let zeros = fraction.iter().rev().take_while(|&&b| b == b'0').count();
    // One digit stays, lest nothing behind the point pass for a zero.
    let length = fraction.len().saturating_sub(zeros).max(1);
    let fraction = fraction.get(..length)?;
    let decimals = u32::try_from(length).ok()?;
    let scaled = digits(whole)?.checked_mul(10u64.checked_pow(decimals)?)?;
    Some((scaled.checked_add(digits(fraction)?)?, decimals))
}

/// `15m` → nanoseconds; the count may be left out.
fn period_nanos(text: &[u8]) -> Option<u64> {
    let length = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (count, unit) = text.split_at_checked(length)?;
    let unit = match unit {
        b"ms" => 1_000_000,
        b"s" => NANOS_PER_SECOND,
        b"m" => 60 * NANOS_PER_SECOND,
        b"h" => 3_600 * NANOS_PER_SECOND,
        b"d" => 86_400 * NANOS_PER_SECOND,
        _ => return None,
    };
    let count = if count.is_empty() { 1 } else { digits(count)? };
    count.checked_mul(unit).filter(|&nanos| nanos > 0)
}

/// One or more ASCII digits that fit 64 bits; no sign, no space.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |n, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        n.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
