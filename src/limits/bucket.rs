//! The token bucket: (state, now, limit, what is asked) → decision, in exact integer arithmetic.
//!
//! No server, no clock: time is an argument, in nanoseconds since 1970.
//!
//! What is `inline(always)`, here and in [`limit`](crate::limit), makes a denied take 2 % cheaper.

#![forbid(unsafe_code)]
#![expect(
    clippy::arithmetic_side_effects,
    reason = "no level is beyond 2^61, so three of them add up to no more than an i64 holds; what \
              is subtracted from a time is no later than it"
)]

use crate::error::Error;
use crate::limit::{Limit, MAX_TOKENS};

/// Fractions of a token are kept to 2^-24: the unit of every level below.
pub const UNIT_BITS: u32 = 24;

const ONE_TOKEN: i64 = 1 << UNIT_BITS;
const MAX_UNITS: i64 = (MAX_TOKENS << UNIT_BITS) as i64;
const NANOS_PER_MILLI: u64 = 1_000_000;
/// The wait for more tokens than the bucket can hold.
const NEVER: i64 = -1;

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

    /// The bucket that a theoretical arrival time stands for: what GCRA keeps, as redis-cell
    /// does, in nanoseconds since 1970. The time until then is what has yet to flow in.
    pub fn from_arrival_time(arrival: u64, now: u64, limit: &Limit) -> Self {
        let missing = limit.units_owed(arrival.saturating_sub(now));
        let most = limit.burst_units() + MAX_UNITS;
        Self {
            updated_at: now,
            tokens: limit.burst_units() - i64::try_from(missing).map_or(most, |n| n.min(most)),
        }
    }
}

/// How much a caller wants, and what is to happen where there is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Tokens, from 1 to [`MAX_TOKENS`].
    pub cost: u64,
    /// What to do where there are fewer.
    pub mode: Mode,
}

/// What to do where there are fewer tokens than asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Deny.
    Whole,
    /// Take the whole tokens that are there.
    AtMost,
    /// Reserve those that will be there within so many milliseconds, else deny.
    MaxWait(u64),
    /// Take them all the same: the bucket owes.
    Force,
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
    /// Milliseconds: after which to go on if taken, else to ask again; -1 if the cost can never
    /// be met.
    pub wait_ms: i64,
    /// Milliseconds until the bucket is full.
    pub reset_ms: i64,
}

/// What becomes of the stored bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: nothing is written.
    Keep,
    /// It becomes this one, and is full at that time: milliseconds since 1970, rounded up.
    Write(Bucket, i64),
    /// It is full, which is what a bucket that is not there stands for.
    Remove,
}

/// What a call comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The answer to the caller.
    pub reply: Reply,
    /// What to store.
    pub change: Change,
}

/// How a bucket stands at an instant, under a limit.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    limit: Limit,
    now: u64,
    /// The stored bucket if there is one, else a full one; cut to the burst, and not from the
    /// future: where the clock stepped back, it refills from now on.
    seen: Bucket,
    /// `min(burst, tokens + elapsed * rate)`, the product rounded down.
    level: i64,
    /// The bucket as it is stored, had it been updated now: what a denied call has to write
    /// where the clock stepped back, lest the caller wait until the clock is there again.
    rebased: Option<Bucket>,
}

impl Reply {
    /// In the order in which they are sent.
    pub fn fields(&self) -> [i64; 5] {
        let Self {
            taken,
            limit,
            remaining,
            wait_ms,
            reset_ms,
        } = *self;
        [taken, limit, remaining, wait_ms, reset_ms]
    }
}

impl Standing {
    /// How `stored` stands at `now`. A bucket that is not there is full.
    #[inline(always)]
    pub fn new(stored: Option<Bucket>, now: u64, limit: Limit) -> Self {
        let burst = limit.burst_units();
        let Some(stored) = stored else {
            let seen = Bucket {
                updated_at: now,
                tokens: burst,
            };
            return Self {
                limit,
                now,
                seen,
                level: burst,
                rebased: None,
            };
        };
        let seen = Bucket {
            updated_at: stored.updated_at.min(now),
            tokens: stored.tokens.min(burst),
        };
        let missing = deficit(burst, seen.tokens);
        let gained = limit
            .units_gained(now - seen.updated_at)
            .min(u128::from(missing));
        Self {
            limit,
            now,
            seen,
            level: seen.tokens + gained as i64,
            rebased: (stored.updated_at > now).then_some(Bucket {
                updated_at: now,
                ..stored
            }),
        }
    }

    /// Whether there are `cost` tokens.
    pub fn has(&self, cost: u64) -> bool {
        self.level >= units(cost)
    }

    /// Takes what is asked for, or denies it.
    ///
    /// # Errors
    /// The bucket would owe more than [`MAX_TOKENS`].
    #[inline(always)]
    pub fn take(&self, ask: Ask) -> Result<Decision, Error<'static>> {
        let wanted = units(ask.cost);
        let (taken, wait_ms) = if self.level >= wanted {
            (wanted, 0)
        } else {
            self.take_from_too_few(wanted, ask.mode)
        };
        // Checked for every take, though only a debt can fail it.
        if self.level - taken < -MAX_UNITS {
            return Err(Error::Debt);
        }
        Ok(if taken > 0 {
            self.moved(-taken, wait_ms)
        } else {
            self.unchanged(0, wait_ms)
        })
    }

    /// What of `wanted` is taken, and the wait.
    #[inline(always)]
    fn take_from_too_few(&self, wanted: i64, mode: Mode) -> (i64, i64) {
        match mode {
            Mode::Whole => (0, self.wait_for(wanted)),
            Mode::AtMost if self.level >= ONE_TOKEN => (self.level & -ONE_TOKEN, 0),
            Mode::AtMost => (0, self.wait_for(ONE_TOKEN)),
            Mode::MaxWait(most) => match self.wait_for(wanted) {
                NEVER => (0, NEVER),
                // From then on the same call need not wait longer than it is ready to.
                wait if wait > saturate(most) => (0, wait - saturate(most)),
                wait => (wanted, wait),
            },
            Mode::Force => (wanted, 0),
        }
    }

    /// Gives `tokens` back, at most to full. The reply counts a part of a token as one.
    pub fn give(&self, tokens: u64) -> Decision {
        match units(tokens).min(self.limit.burst_units() - self.level) {
            0 => self.unchanged(0, 0),
            given => self.moved(given, 0),
        }
    }

    /// Takes nothing: the reply says whether there are `cost` tokens, or when.
    pub fn look(&self, cost: u64) -> Decision {
        if self.has(cost) {
            self.unchanged(saturate(cost), 0)
        } else {
            self.unchanged(0, self.wait_for(units(cost)))
        }
    }

    /// The level goes up or down by `units`.
    #[inline(always)]
    fn moved(&self, units: i64, wait_ms: i64) -> Decision {
        let burst = self.limit.burst_units();
        let left = self.level + units;
        let fill = self.limit.nanos_to_gain(deficit(burst, left));
        let full_at = self.now.saturating_add(fill);
        Decision {
            reply: Reply {
                taken: ((units.abs() - 1) >> UNIT_BITS) + 1,
                limit: saturate(self.limit.burst()),
                remaining: whole(left),
                wait_ms,
                reset_ms: millis(fill),
            },
            change: if left == burst {
                Change::Remove
            } else {
                let bucket = Bucket {
                    updated_at: self.now,
                    tokens: left,
                };
                Change::Write(bucket, millis(full_at))
            },
        }
    }

    /// Nothing is taken or given.
    #[inline(always)]
    fn unchanged(&self, taken: i64, wait_ms: i64) -> Decision {
        let burst = self.limit.burst_units();
        Decision {
            reply: Reply {
                taken,
                limit: saturate(self.limit.burst()),
                remaining: whole(self.level),
                wait_ms,
                reset_ms: self.wait_for(burst),
            },
            change: self.rebased.map_or(Change::Keep, |bucket| {
                let fill = self.limit.nanos_to_gain(deficit(burst, bucket.tokens));
                Change::Write(bucket, millis(self.now.saturating_add(fill)))
            }),
        }
    }

    /// Milliseconds until the level is `target`, or [`NEVER`].
    ///
    /// Counted from the stored instant, where the level is exact, not from the rounded level of
    /// now: so it is neither a millisecond short nor one long.
    #[inline(always)]
    fn wait_for(&self, target: i64) -> i64 {
        if target > self.limit.burst_units() {
            return NEVER;
        }
        let nanos = self.limit.nanos_to_gain(deficit(target, self.seen.tokens));
        millis(nanos.saturating_sub(self.now - self.seen.updated_at))
    }
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
