//! A decimal number: digits and an exponent.

/// The number of digits that always fit a [`Decimal`].
pub const MAX_DIGITS: usize = 19;

/// They are read without a check for overflow.
const _: () = assert!(10u128.pow(MAX_DIGITS as u32) <= u64::MAX as u128);

/// `mantissa * 10^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// All digits, as an integer.
    pub mantissa: u64,
    /// The power of ten by which the mantissa is multiplied.
    pub exponent: i32,
}

impl Decimal {
    /// Removes the trailing zeros of the digits.
    pub fn reduced(mut self) -> Self {
        // Bounded, because zero is divisible by 10 forever.
        for _ in 0..MAX_DIGITS {
            if !self.mantissa.is_multiple_of(10) {
                break;
            }
            self.mantissa /= 10;
            self.exponent = self.exponent.saturating_add(1);
        }
        self
    }

    /// Returns the value times `n`, if that is whole and fits.
    pub fn times(self, n: u64) -> Option<u64> {
        let product = u128::from(self.mantissa).checked_mul(n.into())?;
        let power = 10u128.checked_pow(self.exponent.unsigned_abs());
        let value = match (self.exponent < 0, power) {
            (_, None) => (product == 0).then_some(0)?,
            (true, Some(power)) if product.is_multiple_of(power) => product.checked_div(power)?,
            (true, _) => return None,
            (false, Some(power)) => product.checked_mul(power)?,
        };
        u64::try_from(value).ok()
    }

    /// Returns the value, if it is an integer and fits.
    pub fn whole(self) -> Option<u64> {
        if self.mantissa == 0 {
            return Some(0);
        }
        let reduced = self.reduced();
        let places = u32::try_from(reduced.exponent).ok()?;
        reduced.mantissa.checked_mul(10u64.checked_pow(places)?)
    }
}

impl From<u64> for Decimal {
    fn from(mantissa: u64) -> Self {
        Self {
            mantissa,
            exponent: 0,
        }
    }
}
