//! The unit of a bucket's level: 2^-24 of a token.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "levels and costs are bounded, and the assertion below states that their sums fit"
)]

use crate::bounds::{MAX_BURST, MAX_COST, MAX_DEBT, MAX_KEEP, UNIT_BITS};

/// One token in units.
pub const ONE_TOKEN: i64 = 1 << UNIT_BITS;
/// The most that a bucket holds.
pub const MAX_LEVEL: i64 = (MAX_BURST << UNIT_BITS) as i64;
/// The most that a bucket owes.
pub const MAX_OWED: i64 = (MAX_DEBT << UNIT_BITS) as i64;

/// The largest cost or reserve.
const MAX_TOKENS: u64 = if MAX_COST > MAX_KEEP {
    MAX_COST
} else {
    MAX_KEEP
};

/// Every level, and every sum and difference that is formed of them, fits an `i64`. The largest is
/// what a full bucket holds more than one that owes everything and is charged a cost and a reserve,
/// and is then rounded up to a token.
const _: () = assert!(
    (MAX_BURST as u128 + MAX_DEBT as u128 + 2 * MAX_TOKENS as u128 + 1) << UNIT_BITS
        <= i64::MAX as u128
);

/// Returns the units from `level` up to `target`; 0 if it is reached already.
pub fn deficit(target: i64, level: i64) -> u64 {
    u64::try_from(target - level).unwrap_or(0)
}

/// Converts the tokens of a cost or a reserve to units, at most the largest.
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
