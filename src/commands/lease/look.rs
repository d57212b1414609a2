//! Reads leases without side effects.

use crate::commands::error::Error;
use redis_rl_limits::kinds::decision::NEVER;
use redis_rl_limits::kinds::lease::{End, Limit};

use super::occupancy::{check, count, millis, refused, reset_ms, wait_ms, Occupancy};
use crate::server::{Argument, Call, Scores};

/// The leases at a key, open for reading.
pub struct Look<'k> {
    set: Scores<'k>,
    /// Their occupancy.
    pub held: Occupancy,
}

impl<'k> Look<'k> {
    /// Opens a key for reading.
    ///
    /// # Errors
    /// It does not hold leases.
    pub fn at<'a: 'k>(call: &'k mut Call<'_>, name: &'a Argument<'a>) -> Result<Self, Error<'a>> {
        let now_ms = millis(call);
        let mut set = call
            .look_at_set(name)
            .map_err(|refusal| refused(refusal, name))?;
        check(&set, name)?;
        let mut held = count(&mut set, now_ms);
        if set.has_expired() {
            // A replica still has the key. Members added by hand with a later end than the key's
            // expiry expire with it.
            held.live = 0;
        }
        Ok(Self { set, held })
    }

    /// Returns the milliseconds until there is room for one more lease, or -1 for never.
    pub fn wait_ms(&mut self, limit: Limit) -> i64 {
        wait_ms(&mut self.set, self.held, limit)
    }

    /// Returns the milliseconds until the last lease has ended.
    pub fn reset_ms(&mut self) -> i64 {
        match self.held.live {
            0 => 0,
            _ => reset_ms(&mut self.set, self.held.now_ms),
        }
    }

    /// Returns the times at which the first and the last live lease end, in milliseconds since
    /// 1970: [`NEVER`] if it never ends, 0 if none is live.
    pub fn ends_ms(&mut self) -> [i64; 2] {
        let Occupancy { live, dead, now_ms } = self.held;
        let first = self.set.nth_above(now_ms as f64, dead, 1);
        [first, self.set.last()].map(|end| {
            let end = end.filter(|_| live > 0);
            end.map_or(0, |end| End(end).millis().unwrap_or(NEVER))
        })
    }

    /// Calls `show` with the first `most` live leases, soonest to end first: token, and
    /// milliseconds until its end.
    pub fn each(&mut self, most: usize, mut show: impl FnMut(&[u8], i64)) {
        let now_ms = self.held.now_ms;
        let most = most.min(self.held.live);
        self.set.each_above(now_ms as f64, most, |token, score| {
            show(token, End(score).millis_left(now_ms));
        });
    }
}
