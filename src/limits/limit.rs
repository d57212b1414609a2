//! Rate and burst: what is accepted, and how long tokens take at that rate.

#![forbid(unsafe_code)]

use std::num::{NonZeroU128, NonZeroU64};
use std::ops::RangeInclusive;
use std::time::Duration;

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

/// `num / den` units of 2^-24 tokens a nanosecond: exactly the rate that was asked for, but for
/// one of many digits, which is rounded down by less than a millionth.
///
/// Both fit 64 bits, so that their product with any time or level fits 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    num: NonZeroU64,
    den: NonZeroU64,
}

impl Limit {
    /// Reads `rate` (`N` or `N/P`) and `burst`.
    ///
    /// # Errors
    /// Whatever of the two is not accepted, or that the bucket would take over 100 years to fill.
    #[inline(always)]
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

    #[inline(always)]
    fn new(rate: Rate, burst: u64) -> Result<Self, Error<'static>> {
        let limit = Self { rate, burst };
        let fill = product(limit.burst_units() as u64, rate.den.get());
        // Compares products, since a division costs more than all the rest of this.
        if fill > product(MAX_FILL_NANOS, rate.num.get()) {
            return Err(Error::TooSlow);
        }
        Ok(limit)
    }

    /// The burst in tokens.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// How long an empty bucket takes to fill.
    pub fn fill_time(&self) -> Duration {
        Duration::from_nanos(self.nanos_to_gain(self.burst_units() as u64))
    }

    pub(crate) fn burst_units(&self) -> i64 {
        (self.burst << UNIT_BITS) as i64
    }

    /// Units gained in `nanos`, rounded down.
    #[inline(always)]
    pub(crate) fn units_gained(&self, nanos: u64) -> u128 {
        let product = product(nanos, self.rate.num.get());
        match u64::try_from(product) {
            Ok(product) => u128::from(product / self.rate.den),
            Err(_) => product / NonZeroU128::from(self.rate.den),
        }
    }

    /// Units gained in `nanos`, rounded up.
    pub(crate) fn units_owed(&self, nanos: u64) -> u128 {
        divide_up(product(nanos, self.rate.num.get()), self.rate.den)
    }

    /// The first nanosecond at which `units` have been gained; `u64::MAX` if that is beyond it.
    #[inline(always)]
    pub(crate) fn nanos_to_gain(&self, units: u64) -> u64 {
        let nanos = divide_up(product(units, self.rate.den.get()), self.rate.num);
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

/// A whole number in a range: ASCII digits only.
pub fn integer(text: &[u8], accepted: RangeInclusive<u64>) -> Option<u64> {
    match leading_digits(0, text)? {
        (n, []) if accepted.contains(&n) => Some(n),
        _ => None,
    }
}

impl Rate {
    #[inline(always)]
    fn parse(text: &[u8]) -> Option<Self> {
        let (whole, text) = leading_digits(0, text)?;
        let (mantissa, decimals, text) = match text {
            [b'.', text @ ..] => {
                let length = text.iter().take_while(|b| b.is_ascii_digit()).count();
                let (fraction, text) = text.split_at_checked(length).filter(|_| length > 0)?;
                match without_zeros_behind(fraction) {
                    [] => (whole, 0, text),
                    fraction => (leading_digits(whole, fraction)?.0, fraction.len(), text),
                }
            }
            _ => (whole, 0, text),
        };
        let period = match text {
            [] => NANOS_PER_SECOND,
            [b'/', period @ ..] => period_nanos(period)?,
            _ => return None,
        };
        Self::new(mantissa, u32::try_from(decimals).ok()?, period)
    }

    /// `mantissa / 10^decimals` tokens every `period` nanoseconds.
    #[inline(always)]
    fn new(mantissa: u64, decimals: u32, period: u64) -> Option<Self> {
        let period = match decimals {
            0 => u128::from(period),
            _ => 10u128.checked_pow(decimals)?.checked_mul(period.into())?,
        };
        // ⌊(m - 1) / k⌋ ≥ p is ⌈m / k⌉ > p. With no tokens at all the subtraction wraps, and if
        // they pass here `num` is zero.
        let most = MAX_RATE / NANOS_PER_SECOND;
        if u128::from(mantissa.wrapping_sub(1) / most) >= period {
            return None;
        }
        // The low word tells: if it is zero, it counts 64, which is above what is wanted.
        let shift = (period as u64).trailing_zeros().min(UNIT_BITS);
        let num = u128::from(mantissa).checked_shl(UNIT_BITS.checked_sub(shift)?)?;
        let den = period.checked_shr(shift)?;
        match (u64::try_from(num), u64::try_from(den)) {
            (Ok(num), Ok(den)) => Some(Self {
                num: NonZeroU64::new(num)?,
                den: NonZeroU64::new(den)?,
            }),
            _ => Self::rounded_down(num, den),
        }
    }

    /// The fraction that fits 64 bits: reduced, and then halved above and below, as often as it
    /// takes. As a rate is neither above 10^12 a second nor below one in 100 years, the smaller
    /// of the two keeps 25 bits, and the rate all but 2^-24 of itself.
    fn rounded_down(num: u128, den: u128) -> Option<Self> {
        let common = greatest_common_divisor(num, den);
        let (mut num, mut den) = (num.checked_div(common)?, den.checked_div(common)?);
        loop {
            if let (Ok(num), Ok(den)) = (u64::try_from(num), u64::try_from(den)) {
                return Some(Self {
                    num: NonZeroU64::new(num)?,
                    den: NonZeroU64::new(den)?,
                });
            }
            num /= 2;
            den = den.div_ceil(2);
        }
    }
}

/// `500` → `5`.
fn without_zeros_behind(mut digits: &[u8]) -> &[u8] {
    while let [rest @ .., b'0'] = digits {
        digits = rest;
    }
    digits
}

fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    a
}

/// `15m` → nanoseconds; the count may be left out.
#[inline(always)]
fn period_nanos(text: &[u8]) -> Option<u64> {
    let (count, unit) = match text {
        [b'0'..=b'9', ..] => leading_digits(0, text)?,
        _ => (1, text),
    };
    let unit = match unit {
        b"ms" => 1_000_000,
        b"s" => NANOS_PER_SECOND,
        b"m" => 60 * NANOS_PER_SECOND,
        b"h" => 3_600 * NANOS_PER_SECOND,
        b"d" => 86_400 * NANOS_PER_SECOND,
        _ => return None,
    };
    count.checked_mul(unit).filter(|&nanos| nanos > 0)
}

/// `12/m` → (12, `/m`): the number that the digits make, put behind those of `number`, and what
/// follows them; `None` if there is no digit, or a number that does not fit 64 bits.
#[inline(always)]
fn leading_digits(mut number: u64, mut text: &[u8]) -> Option<(u64, &[u8])> {
    let start = text.len();
    while let [digit @ b'0'..=b'9', rest @ ..] = text {
        number = number
            .checked_mul(10)?
            .checked_add(u64::from(digit.wrapping_sub(b'0')))?;
        text = rest;
    }
    (text.len() < start).then_some((number, text))
}

#[inline(always)]
#[expect(clippy::arithmetic_side_effects, reason = "64 bits by 64 bits fit 128")]
fn product(a: u64, b: u64) -> u128 {
    u128::from(a) * u128::from(b)
}

/// Most numbers here fit 64 bits, and a division by one costs a quarter then.
#[inline(always)]
fn divide_up(n: u128, by: NonZeroU64) -> u128 {
    if let Ok(n) = u64::try_from(n) {
        return u128::from((n / by).saturating_add(u64::from(n % by != 0)));
    }
    let by = NonZeroU128::from(by);
    (n / by).saturating_add(u128::from(n % by != 0))
}
