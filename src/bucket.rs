//! The token bucket: (state, now, limit, cost) → decision, in exact integer arithmetic.
//!
//! No server, no clock: time is an argument, in nanoseconds since 1970.

#![forbid(unsafe_code)]

use crate::limit::{Limit, MAX_TOKENS};

/// Fractions of a token are kept to 2^-24: the unit of every level below.
pub const UNIT_BITS: u32 = 24;

const NANOS_PER_MILLI: u64 = 1_000_000;
const MAX_UNITS: i64 = (MAX_TOKENS << UNIT_BITS) as i64;

/// What is stored of a bucket: its level, and when it had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Nanoseconds since 1970.
    updated_at: u64,
    /// Level at that instant in units of 2^-24 tokens; negative when the bucket owes.
    /// Never beyond ±[`MAX_TOKENS`], so sums and differences of two levels fit an `i64`.
    tokens: i64,
}

impl Bucket {
    /// Bytes of a stored bucket.
    pub const SIZE: usize = 16;

    /// Reads the stored form; `None` if the bytes are no bucket.
    ///
    /// The bound on the level also tells buckets from text: the last byte of 16 printable
    /// characters would be a level beyond it.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (updated_at, tokens) = bytes.split_first_chunk::<8>()?;
        let updated_at = u64::from_le_bytes(*updated_at);
        let tokens = i64::from_le_bytes(tokens.try_into().ok()?);
        (-MAX_UNITS..=MAX_UNITS)
            .contains(&tokens)
            .then_some(Self { updated_at, tokens })
    }

    /// The stored form: both words, little-endian.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let words = u128::from(self.updated_at) | u128::from(self.tokens as u64) << 64;
        words.to_le_bytes()
    }

    /// When this bucket will be full, in milliseconds since 1970, rounded up.
    pub fn full_at_ms(self, limit: &Limit) -> i64 {
        let fill = limit.nanos_to_gain(deficit(limit.burst_units(), self.tokens));
        saturate(
            self.updated_at
                .saturating_add(fill)
                .div_ceil(NANOS_PER_MILLI),
        )
    }
}

/// The five integers that tell a caller how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Tokens taken by this call; 0 is denied.
    pub taken: i64,
    /// The burst.
    pub limit: i64,
    /// Whole tokens now in the bucket.
    pub remaining: i64,
    /// Milliseconds after which to ask again; 0 if taken, -1 if the cost can never be met.
    pub wait_ms: i64,
    /// Milliseconds until the bucket is full.
    pub reset_ms: i64,
}

/// What a call comes to: the answer, and the bucket to store if it changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The answer to the caller.
    pub reply: Reply,
    /// `None`: write nothing.
    pub store: Option<Bucket>,
}

/// Takes `cost` tokens at `now` or none. A bucket that is not there is full.
pub fn take(stored: Option<Bucket>, now: u64, limit: &Limit, cost: u64) -> Decision {
    let burst = limit.burst_units();
    let cost_units = units(cost);
    let full = Bucket {
        updated_at: now,
        tokens: burst,
    };
    let seen = stored.map_or(full, |bucket| Bucket {
        // A bucket from the future means that the clock stepped back: it refills from now on.
        updated_at: bucket.updated_at.min(now),
        tokens: bucket.tokens.min(burst),
    });
    let elapsed = now - seen.updated_at;
    let level = level_after(seen, elapsed, limit);

    if level >= cost_units {
        let left = Bucket {
            updated_at: now,
            tokens: level - cost_units,
        };
        return Decision {
            reply: Reply {
                taken: saturate(cost),
                limit: saturate(limit.burst()),
                remaining: whole(left.tokens),
                wait_ms: 0,
                reset_ms: millis(limit.nanos_to_gain(deficit(burst, left.tokens))),
            },
            store: Some(left),
        };
    }

    // Waiting counts from the stored instant, where the level is exact, not from the rounded
    // level of now: so it is neither a millisecond short nor one long.
    let until = |target: i64| {
        let nanos = limit.nanos_to_gain(deficit(target, seen.tokens));
        millis(nanos.saturating_sub(elapsed))
    };
    Decision {
        reply: Reply {
            taken: 0,
            limit: saturate(limit.burst()),
            remaining: whole(level),
            wait_ms: if cost_units > burst {
                -1
            } else {
                until(cost_units)
            },
            reset_ms: until(burst),
        },
        store: stored
            .filter(|bucket| bucket.updated_at > now)
            .map(|bucket| Bucket {
                updated_at: now,
                tokens: bucket.tokens,
            }),
    }
}

/// `min(burst, tokens + elapsed * rate)`, the product rounded down.
fn level_after(seen: Bucket, elapsed: u64, limit: &Limit) -> i64 {
    let missing = deficit(limit.burst_units(), seen.tokens);
    let gained = limit.units_gained(elapsed).min(u128::from(missing));
    seen.tokens + gained as i64
}

/// Units from `level` up to `target`; 0 if it is there already.
fn deficit(target: i64, level: i64) -> u64 {
    u64::try_from(target - level).unwrap_or(0)
}

fn units(tokens: u64) -> i64 {
    (tokens.min(MAX_TOKENS) << UNIT_BITS) as i64
}

fn whole(level: i64) -> i64 {
    level.max(0) >> UNIT_BITS
}

fn millis(nanos: u64) -> i64 {
    saturate(nanos.div_ceil(NANOS_PER_MILLI))
}

fn saturate(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
