//! A rate: its accepted forms, and the time that tokens take at it.

use std::num::{NonZeroU128, NonZeroU64};

use crate::bounds::{MAX_RATE, MAX_YEARS_MS, NANOS_PER_MILLI, NANOS_PER_SECOND, UNIT_BITS};
use crate::decimal::Decimal;

const MAX_TOKENS_PER_NANO: u64 = MAX_RATE / NANOS_PER_SECOND;
const _: () = assert!(MAX_TOKENS_PER_NANO > 0 && MAX_RATE.is_multiple_of(NANOS_PER_SECOND));

/// Binary digits that a rate keeps at least, if one of its parts does not fit 64 bits.
const PRECISION: u32 = 25;
/// The larger part has at least 63 bits then. The smaller one keeps enough, because a rate is
/// neither above [`MAX_RATE`] nor so slow that a token takes over [`MAX_YEARS`](crate::bounds::MAX_YEARS).
const _: () = assert!(
    (MAX_TOKENS_PER_NANO as u128) << UNIT_BITS <= 1 << (63 - PRECISION)
        && (MAX_YEARS_MS as u128 * NANOS_PER_MILLI as u128) >> UNIT_BITS <= 1 << (63 - PRECISION)
);

/// `num / den` units of 2^-24 token per nanosecond: exactly the requested rate. A rate too precise
/// for 64 bits is rounded down, by less than one part in a million.
///
/// Both fit 64 bits, so their product with any time or level fits 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    num: NonZeroU64,
    den: NonZeroU64,
}

impl Rate {
    /// Creates a rate of `count` tokens per `period` nanoseconds; `None` if it is out of bounds.
    #[inline(always)]
    pub fn new(count: Decimal, period: u64) -> Option<Self> {
        match count.exponent {
            0 => Self::ratio(count.mantissa, period.into()),
            _ => Self::scaled(count, period),
        }
    }

    fn scaled(count: Decimal, period: u64) -> Option<Self> {
        let power = |exponent: u32| 10u128.checked_pow(exponent);
        let (mantissa, period) = (count.mantissa, u128::from(period));
        let places = count.exponent.unsigned_abs();
        if count.exponent > 0 {
            let mantissa = u128::from(mantissa).checked_mul(power(places)?)?;
            return match u64::try_from(mantissa) {
                Ok(mantissa) => Self::ratio(mantissa, period),
                Err(_) => Self::large_ratio(mantissa, period),
            };
        }
        // A number whose decimal places overflow here is below every rate that fills a bucket in a
        // hundred years.
        Self::ratio(mantissa, power(places)?.checked_mul(period)?)
    }

    /// Creates a rate of `tokens` per `period` nanoseconds.
    #[inline(always)]
    fn ratio(tokens: u64, period: u128) -> Option<Self> {
        if tokens == 0 || u128::from(tokens.div_ceil(MAX_TOKENS_PER_NANO)) > period {
            return None;
        }
        // Divides both by the same power of two. A zero low word counts as 64 zeros, which is more
        // than needed.
        let shift = (period as u64).trailing_zeros().min(UNIT_BITS);
        let num = u128::from(tokens) << UNIT_BITS.saturating_sub(shift);
        let den = period >> shift;
        match (u64::try_from(num), u64::try_from(den)) {
            (Ok(num), Ok(den)) => Some(Self {
                num: NonZeroU64::new(num)?,
                den: NonZeroU64::new(den)?,
            }),
            _ => Self::rounded_down(num, den),
        }
    }

    /// Does the same as [`ratio`](Self::ratio) for tokens that do not fit 64 bits.
    fn large_ratio(tokens: u128, period: u128) -> Option<Self> {
        if tokens.div_ceil(MAX_TOKENS_PER_NANO.into()) > period {
            return None;
        }
        // It is below 2^75, because a period is below 2^64.
        Self::rounded_down(tokens.checked_mul(1 << UNIT_BITS)?, period)
    }

    /// Reduces the fraction, then halves both parts until they fit 64 bits. The smaller part keeps
    /// [`PRECISION`] bits, so the error is below one part in a million.
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

    /// Returns whether `units` are gained within `nanos`. It compares products, because a division
    /// costs more than the rest of parsing a limit.
    #[inline(always)]
    pub(crate) fn gains_within(&self, units: u64, nanos: u64) -> bool {
        product(units, self.den.get()) <= product(nanos, self.num.get())
    }

    /// Returns the units gained in `nanos`, rounded down.
    #[inline(always)]
    pub(crate) fn units_gained(&self, nanos: u64) -> u128 {
        let product = product(nanos, self.num.get());
        match u64::try_from(product) {
            Ok(product) => u128::from(product / self.den),
            Err(_) => product / NonZeroU128::from(self.den),
        }
    }

    /// Returns the units gained in `nanos`, rounded up.
    pub(crate) fn units_owed(&self, nanos: u64) -> u128 {
        divide_up(product(nanos, self.num.get()), self.den)
    }

    /// Returns the nanoseconds in which `units` are gained, rounded up, or `u64::MAX` if they do
    /// not fit.
    #[inline(always)]
    pub(crate) fn nanos_to_gain(&self, units: u64) -> u64 {
        let nanos = divide_up(product(units, self.den.get()), self.num);
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    a
}

#[inline(always)]
#[expect(clippy::arithmetic_side_effects, reason = "64 bits by 64 bits fit 128")]
fn product(a: u64, b: u64) -> u128 {
    u128::from(a) * u128::from(b)
}

/// Divides, rounding up. Most numbers here fit 64 bits, which makes the division four times as
/// fast.
#[inline(always)]
fn divide_up(n: u128, by: NonZeroU64) -> u128 {
    if let Ok(n) = u64::try_from(n) {
        return u128::from((n / by).saturating_add(u64::from(n % by != 0)));
    }
    let by = NonZeroU128::from(by);
    (n / by).saturating_add(u128::from(n % by != 0))
}
