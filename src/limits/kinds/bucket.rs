//! The token bucket: (state, now, limit, request) → decision, in exact integer arithmetic.
//!
//! Time is an argument, in nanoseconds since 1970.
//!
//! Functions are `inline(always)`, here and in those that they call, because that makes a denied
//! take 2 % cheaper.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "no level is beyond 2^61, so three of them add up to no more than an i64 holds; what \
              is subtracted from a time is no later than it"
)]

mod limit;
mod standing;

pub use limit::Limit;
pub use standing::Standing;

use crate::kinds::decision::{self, State};

use crate::bounds::{floor_millis, saturating_i64, MAX_TOKENS, UNIT_BITS};

const ONE_TOKEN: i64 = 1 << UNIT_BITS;
const MAX_UNITS: i64 = (MAX_TOKENS << UNIT_BITS) as i64;

/// The stored state of a bucket: its level and the time of that level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Nanoseconds since 1970.
    updated_at: u64,
    /// The level at that time in units of 2^-24 token; negative when the bucket owes. Never beyond
    /// ±[`MAX_TOKENS`], so sums and differences of two levels fit an `i64`.
    tokens: i64,
}

impl State for Bucket {
    const NAME: &'static str = "a rate-limit bucket";
    const SIZE: usize = 16;
    type Bytes = [u8; 16];

    /// Parses the stored form. The bound on the level also distinguishes buckets from text: the
    /// last byte of 16 printable characters would be a level beyond it.
    #[inline(always)]
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (updated_at, tokens) = bytes.split_first_chunk::<8>()?;
        let updated_at = u64::from_le_bytes(*updated_at);
        let tokens = i64::from_le_bytes(tokens.try_into().ok()?);
        (-MAX_UNITS..=MAX_UNITS)
            .contains(&tokens)
            .then_some(Self { updated_at, tokens })
    }

    /// Returns both words, little-endian.
    #[inline(always)]
    fn to_bytes(self) -> [u8; 16] {
        let words = u128::from(self.updated_at) | u128::from(self.tokens as u64) << 64;
        words.to_le_bytes()
    }
}

impl Bucket {
    /// Returns the level as it is stored in whole tokens, rounded down: negative if it owes.
    pub fn tokens(&self) -> i64 {
        self.tokens >> UNIT_BITS
    }

    /// Returns the time of that level, in milliseconds since 1970.
    pub fn updated_ms(&self) -> i64 {
        saturating_i64(floor_millis(self.updated_at))
    }

    /// Converts a theoretical arrival time, as GCRA and redis-cell store it, in nanoseconds since
    /// 1970. The time until then is the time in which the missing tokens refill.
    pub fn from_arrival_time(arrival: u64, now: u64, limit: &Limit) -> Self {
        let missing = limit.rate.units_owed(arrival.saturating_sub(now));
        let most = limit.burst_units() + MAX_UNITS;
        Self {
            updated_at: now,
            tokens: limit.burst_units() - i64::try_from(missing).map_or(most, |n| n.min(most)),
        }
    }
}

impl decision::Limit for Limit {
    type State = Bucket;
    type Standing = Standing;

    #[inline(always)]
    fn stand(self, stored: Option<Bucket>, now: u64) -> Standing {
        let burst = self.burst_units();
        let Some(stored) = stored else {
            return Standing {
                limit: self,
                now,
                seen: Bucket {
                    updated_at: now,
                    tokens: burst,
                },
                level: burst,
                rebased: None,
            };
        };
        let seen = Bucket {
            updated_at: stored.updated_at.min(now),
            tokens: stored.tokens.min(burst),
        };
        let gained = self.rate.units_gained(now - seen.updated_at);
        let missing = u128::from(deficit(burst, seen.tokens));
        Standing {
            limit: self,
            now,
            seen,
            level: seen.tokens + gained.min(missing) as i64,
            rebased: (stored.updated_at > now).then_some(Bucket {
                updated_at: now,
                ..stored
            }),
        }
    }
}

/// Returns the units from `level` up to `target`; 0 if it is reached already.
fn deficit(target: i64, level: i64) -> u64 {
    u64::try_from(target - level).unwrap_or(0)
}

fn units(tokens: u64) -> i64 {
    (tokens.min(MAX_TOKENS) << UNIT_BITS) as i64
}

/// Converts units to whole tokens, rounded down and never below 0.
fn whole_tokens(units: i64) -> i64 {
    units.max(0) >> UNIT_BITS
}

/// Converts units to whole tokens, rounded up. The units must not be negative.
fn ceil_tokens(units: i64) -> i64 {
    (units + (ONE_TOKEN - 1)) >> UNIT_BITS
}
