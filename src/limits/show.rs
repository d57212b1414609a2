//! Formats input and bounds for errors.

use std::fmt;

/// Input in an error: printable ASCII, at most 64 bytes.
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get(..64) {
            Some(head) if head.len() < self.0.len() => write!(f, "{}...", head.escape_ascii()),
            _ => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}

/// A bound in an error: powers of ten from a million on, twice such a power, and such a power minus
/// one are written with their exponent.
pub struct Bound(pub u64);

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let power = |n: u64| {
            let exponent = n.checked_ilog10().filter(|&exponent| exponent >= 6)?;
            (10u64.checked_pow(exponent) == Some(n)).then_some(exponent)
        };
        if let Some(exponent) = power(self.0) {
            write!(f, "10^{exponent}")
        } else if let Some(exponent) = power(self.0 / 2).filter(|_| self.0.is_multiple_of(2)) {
            write!(f, "2*10^{exponent}")
        } else if let Some(exponent) = power(self.0.saturating_add(1)) {
            write!(f, "10^{exponent} - 1")
        } else {
            write!(f, "{}", self.0)
        }
    }
}
