//! The unit of a bucket's level: 2^-24 of a token.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "no level is beyond 2^61, so three of them add up to no more than an i64 holds; what \
              is subtracted from a time is no later than it"
)]

use crate::bounds::{MAX_TOKENS, UNIT_BITS};

/// One token in units.
pub const ONE_TOKEN: i64 = 1 << UNIT_BITS;
/// The most that a bucket holds or owes.
pub const MAX_UNITS: i64 = (MAX_TOKENS << UNIT_BITS) as i64;

/// Returns the units from `level` up to `target`; 0 if it is reached already.
pub fn deficit(target: i64, level: i64) -> u64 {
    u64::try_from(target - level).unwrap_or(0)
}

/// Converts tokens to units, at most [`MAX_UNITS`].
pub fn units(tokens: u64) -> i64 {
    (tokens.min(MAX_TOKENS) << UNIT_BITS) as i64
}

/// Converts units to whole tokens, rounded down and never below 0.
pub fn whole_tokens(units: i64) -> i64 {
    units.max(0) >> UNIT_BITS
}

/// Converts units to whole tokens, rounded up. The units must not be negative.
pub fn ceil_tokens(units: i64) -> i64 {
    (units + (ONE_TOKEN - 1)) >> UNIT_BITS
}
