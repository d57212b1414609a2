//! The standing of a bucket at one time, and the decisions that follow from it.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "levels and costs are bounded, and an assertion next to the units states that their sums \
              fit; what is subtracted from a time is no later than it"
)]

use super::limit::Limit;
use super::state::Bucket;
use super::units::{ceil_tokens, deficit, units, whole_tokens, MAX_OWED, ONE_TOKEN};
use crate::bounds::{ceil_millis, floor_millis, saturating_i64, SLACK_PARTS, UNIT_BITS};
use crate::kinds::decision::{self, Ask, Change, Decision, Mode, Reply, NEVER};
use crate::kinds::error::Error;
use crate::kinds::hold::{Holdable, Kind};

/// The standing of a bucket at one time, under a limit.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    limit: Limit,
    now: u64,
    /// The stored bucket if there is one, otherwise a full one. It is capped at the burst. Its time
    /// is never in the future: after a clock step back it refills from now on.
    seen: Bucket,
    /// `min(burst, tokens + elapsed * rate)`, the product rounded down.
    level: i64,
    /// The stored bucket with its time set to now. A denied call must write it after a clock step
    /// back; otherwise the caller would wait until the clock has caught up.
    rebased: Option<Bucket>,
}

impl Bucket {
    /// Converts a theoretical arrival time, as GCRA and redis-cell store it, in nanoseconds since
    /// 1970. The time until then is the time in which the missing tokens refill.
    pub fn from_arrival_time(arrival: u64, now: u64, limit: &Limit) -> Self {
        let missing = limit.rate.units_owed(arrival.saturating_sub(now));
        let most = limit.burst_units() + MAX_OWED;
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

    /// Returns a part of the time in which an empty bucket fills, rounded down.
    #[inline(always)]
    fn slack_ms(self) -> i64 {
        let fill = self.rate.nanos_to_gain(deficit(self.burst_units(), 0));
        saturating_i64(floor_millis(fill / SLACK_PARTS))
    }
}

impl decision::Standing for Standing {
    type State = Bucket;

    #[inline(always)]
    fn take(&self, ask: &Ask) -> Result<Decision<Bucket>, Error> {
        let (taken, wait_ms) = self.charge(ask);
        // Checked for every take, although only a debt can fail it.
        if self.level - taken < -MAX_OWED {
            return Err(Error::Debt);
        }
        Ok(match (taken, wait_ms) {
            // A cost of 0 was granted.
            (0, 0) => Decision {
                reply: self.state(),
                change: Change::Keep,
            },
            (0, _) => self.denied(wait_ms),
            _ => self.moved(-taken, wait_ms),
        })
    }

    fn state(&self) -> Reply {
        self.reply(0, 0)
    }

    fn look(&self, ask: &Ask) -> Result<Decision<Bucket>, Error> {
        let (taken, wait_ms) = self.charge(ask);
        Ok(Decision {
            reply: self.reply(whole_tokens(taken), wait_ms),
            change: match (taken, wait_ms) {
                (0, 0) => Change::Keep,
                _ => self.rebased_change().unwrap_or(Change::Keep),
            },
        })
    }

    #[inline(always)]
    fn has(&self, ask: &Ask) -> bool {
        self.level >= needed(ask)
    }
}

impl Holdable for Standing {
    const KIND: Kind = Kind::Bucket;

    /// Returns the time at which the bucket will be full again if nobody else takes from it, in
    /// Unix nanoseconds.
    fn charged_at(&self, cost: u64) -> i64 {
        let missing = deficit(self.limit.burst_units(), self.level - units(cost));
        let fill = self.limit.rate.nanos_to_gain(missing);
        saturating_i64(self.now.saturating_add(fill))
    }

    /// Refunds at most the refill until the bucket would have been full again without other
    /// callers.
    ///
    /// A refund must not leave more than there would be if the amount had never been charged. In
    /// such a bucket, inflow is lost from the time when it is full. So what a full bucket would
    /// have lost since is not refunded, and nothing once the charge itself has been refilled.
    fn refund(&self, tokens: u64, full_at: i64) -> Decision<Bucket> {
        let full_at = u64::try_from(full_at).unwrap_or(0);
        let inflow = self.limit.rate.units_owed(full_at.saturating_sub(self.now));
        let most = i64::try_from(inflow).unwrap_or(i64::MAX);
        self.give_units(units(tokens).min(most))
    }

    fn force(&self, tokens: u64) -> Decision<Bucket> {
        // A level is at least -MAX_OWED, so the difference is not negative.
        match units(tokens).min((self.level + MAX_OWED) & !(ONE_TOKEN - 1)) {
            taken if taken > 0 => self.moved(-taken, 0),
            _ => self.give_units(0),
        }
    }
}

impl Standing {
    /// Returns the units taken, and the wait.
    #[inline(always)]
    fn charge(&self, ask: &Ask) -> (i64, i64) {
        let wanted = units(ask.cost);
        if self.level >= wanted + units(ask.keep) {
            (wanted, 0)
        } else {
            self.take_from_too_few(ask)
        }
    }

    /// Returns the units taken if there are fewer than requested, and the wait.
    #[inline(always)]
    fn take_from_too_few(&self, ask: &Ask) -> (i64, i64) {
        // Never 0, by which a cost of 0 that was granted is recognised, although the wait is cut at
        // the end of the 64-bit clock.
        let wait = match self.wait_for(needed(ask)) {
            0 => 1,
            wait => wait,
        };
        match ask.mode {
            Mode::Whole => (0, wait),
            Mode::AtMost => match whole_tokens(self.level - units(ask.keep)) {
                0 => (0, wait),
                tokens => (tokens << UNIT_BITS, 0),
            },
            // There is nothing to reserve for a cost of 0.
            Mode::MaxWait(_) if wait == NEVER || ask.cost == 0 => (0, wait),
            // After this delay, the remaining wait fits within MAXWAIT.
            Mode::MaxWait(most) if wait > saturating_i64(most) => (0, wait - saturating_i64(most)),
            Mode::MaxWait(_) => (units(ask.cost), wait),
            Mode::Force => (units(ask.cost), 0),
        }
    }

    /// Refunds `tokens`, at most up to full. The reply rounds part of a token up. A burst of 0
    /// refunds nothing.
    pub fn give(&self, tokens: u64) -> Decision<Bucket> {
        self.give_units(units(tokens))
    }

    fn give_units(&self, units: i64) -> Decision<Bucket> {
        let room = self.limit.burst_units() - self.level;
        match units.min(room) {
            given if given > 0 && self.limit.burst > 0 => self.moved(given, 0),
            _ => Decision {
                reply: self.reply(0, 0),
                change: Change::Keep,
            },
        }
    }

    /// Changes the level by `units`.
    #[inline(always)]
    fn moved(&self, units: i64, wait_ms: i64) -> Decision<Bucket> {
        let burst = self.limit.burst_units();
        let left = self.level + units;
        let fill = self.limit.rate.nanos_to_gain(deficit(burst, left));
        let full_at = self.now.saturating_add(fill);
        Decision {
            reply: Reply::new(
                ceil_tokens(units.abs()),
                saturating_i64(self.limit.burst),
                whole_tokens(left),
                wait_ms,
                ceil_millis(full_at - self.now),
            ),
            change: if left == burst {
                Change::Remove
            } else {
                let bucket = Bucket {
                    updated_at: self.now,
                    tokens: left,
                };
                Change::Write(bucket, ceil_millis(full_at))
            },
        }
    }

    /// Takes nothing.
    #[inline(always)]
    fn denied(&self, wait_ms: i64) -> Decision<Bucket> {
        Decision {
            reply: self.reply(0, wait_ms),
            change: match self.rebased_change() {
                Some(change) => change,
                None if self.seen.tokens < self.limit.burst_units() => {
                    Change::KeepAlive(ceil_millis(self.full_at()))
                }
                // It was full when it was stored, or does not exist.
                None => Change::Keep,
            },
        }
    }

    /// Replies without changing the level.
    #[inline(always)]
    fn reply(&self, taken: i64, wait_ms: i64) -> Reply {
        Reply::new(
            taken,
            saturating_i64(self.limit.burst),
            whole_tokens(self.level),
            wait_ms,
            self.reset_ms(),
        )
    }

    #[inline(always)]
    fn rebased_change(&self) -> Option<Change<Bucket>> {
        let rebased = |bucket: Bucket| {
            let missing = deficit(self.limit.burst_units(), bucket.tokens);
            let fill = self.limit.rate.nanos_to_gain(missing);
            Change::Write(bucket, ceil_millis(bucket.updated_at.saturating_add(fill)))
        };
        self.rebased.map(rebased)
    }

    /// Returns the milliseconds until the level is `target`, or [`NEVER`].
    ///
    /// They are counted from the stored time, where the level is exact, not from the rounded level
    /// of now, and are therefore exact to the millisecond.
    #[inline(always)]
    fn wait_for(&self, target: i64) -> i64 {
        if target > self.limit.burst_units() {
            return NEVER;
        }
        ceil_millis(
            self.nanos_since_stored(target)
                .saturating_sub(self.elapsed()),
        )
    }

    /// Returns the milliseconds until the bucket is full, at most until the 64-bit clock ends (in
    /// 2554), as its key expires then.
    #[inline(always)]
    fn reset_ms(&self) -> i64 {
        ceil_millis(self.full_at().saturating_sub(self.now))
    }

    /// Returns the time at which the bucket is full, in nanoseconds since 1970.
    #[inline(always)]
    fn full_at(&self) -> u64 {
        let nanos = self.nanos_since_stored(self.limit.burst_units());
        self.seen.updated_at.saturating_add(nanos)
    }

    /// Returns the nanoseconds from the stored time until the level is `target`.
    #[inline(always)]
    fn nanos_since_stored(&self, target: i64) -> u64 {
        let missing = deficit(target, self.seen.tokens);
        self.limit.rate.nanos_to_gain(missing)
    }

    #[inline(always)]
    fn elapsed(&self) -> u64 {
        self.now - self.seen.updated_at
    }
}

/// Returns the lowest level at which something is taken, except with [`Mode::Force`].
#[inline(always)]
fn needed(ask: &Ask) -> i64 {
    let least = match ask.mode {
        Mode::AtMost => units(ask.cost.min(1)),
        Mode::Whole | Mode::MaxWait(_) | Mode::Force => units(ask.cost),
    };
    least + units(ask.keep)
}
