//! A key that holds a sorted set, read through the module API.
//!
//! The API has no count and no rank by score. What is near either end is walked to, a step at a
//! time; what is further off the server's own commands find in O(log n).

use std::os::raw::c_int;
use std::ptr;

use redis_module::raw;

use crate::server::api::api;
use crate::server::argument::Argument;
use crate::server::call::Call;
use crate::server::eviction_stats::UNSEEN;
use crate::server::member::Member;
use crate::server::refusal::Refusal;
use crate::server::{expiry, OK};

/// So many steps cost less than a command of the server's.
const MAX_STEPS: usize = 64;

/// An open key that holds a sorted set or nothing, to be read. Closed when dropped.
///
/// Only one key is open at a time, as with [`Key`](crate::server::Key).
pub struct Scores<'k> {
    pub(in crate::server) ctx: *mut raw::RedisModuleCtx,
    pub(in crate::server) name: &'k Argument<'k>,
    /// Null if there is nothing and it is only read.
    pub(in crate::server) key: *mut raw::RedisModuleKey,
    pub(in crate::server) mode: c_int,
    pub(in crate::server) now: u64,
}

impl<'a> Call<'a> {
    /// Opens a key for reading that leaves no trace.
    ///
    /// # Errors
    /// It is of another type than a sorted set.
    pub fn look_at_set<'k>(&'k mut self, name: &'k Argument<'k>) -> Result<Scores<'k>, Refusal> {
        self.scores(name, UNSEEN)
    }

    #[inline(always)]
    pub(in crate::server) fn scores<'k>(
        &self,
        name: &'k Argument<'k>,
        mode: c_int,
    ) -> Result<Scores<'k>, Refusal> {
        let mut scores = Scores {
            ctx: self.ctx,
            name,
            key: ptr::null_mut(),
            mode,
            now: self.now(),
        };
        scores.open();
        // SAFETY: the key is open, or null, of which the server says that it is empty.
        match unsafe { api!(RedisModule_KeyType(scores.key)) } as isize {
            raw::REDISMODULE_KEYTYPE_EMPTY | raw::REDISMODULE_KEYTYPE_ZSET => Ok(scores),
            _ => Err(Refusal::WrongType),
        }
    }
}

impl Scores<'_> {
    #[inline(always)]
    pub(in crate::server) fn open(&mut self) {
        // SAFETY: ctx and name belong to the call in progress.
        self.key =
            unsafe { api!(RedisModule_OpenKey(self.ctx, self.name.string, self.mode)) }.cast();
    }

    pub(in crate::server) fn close(&mut self) {
        if !self.key.is_null() {
            // SAFETY: opened by `open`, and not used after this.
            unsafe { api!(RedisModule_CloseKey(self.key)) };
            self.key = ptr::null_mut();
        }
    }

    /// Members of the set; 0 if there is none.
    #[inline(always)]
    pub fn len(&self) -> usize {
        if self.key.is_null() {
            return 0;
        }
        // SAFETY: the key is open.
        unsafe { api!(RedisModule_ValueLength(self.key)) }
    }

    /// Whether the key has expired as of the call, though the server still has it: as a replica
    /// does until its master removes it.
    pub fn has_expired(&self) -> bool {
        // SAFETY: the key is open and holds something.
        self.len() > 0 && unsafe { expiry::has_passed(self.key, self.now) }
    }

    /// When the key expires, in milliseconds since 1970; `None` if never, or if there is none.
    pub fn expires_at(&self) -> Option<i64> {
        if self.key.is_null() {
            return None;
        }
        // SAFETY: the key is open.
        unsafe { expiry::get(self.key) }
    }

    /// A member's score.
    #[inline(always)]
    pub fn score(&self, member: &Argument<'_>) -> Option<f64> {
        if self.key.is_null() {
            return None;
        }
        let mut score = 0.0;
        // SAFETY: the key is open, and empty or a sorted set; the string is alive.
        let status = unsafe { api!(RedisModule_ZsetScore(self.key, member.string, &mut score)) };
        (status == OK).then_some(score)
    }

    /// How many members have a score up to this.
    pub fn count_up_to(&mut self, score: i64) -> usize {
        match self.walk(f64::NEG_INFINITY, score as f64, MAX_STEPS) {
            Some(steps) => steps,
            None => match self.ask_count(score) {
                Some(count) => count,
                // The server has no such command (rename-command?).
                None => self
                    .walk(f64::NEG_INFINITY, score as f64, usize::MAX)
                    .unwrap_or(usize::MAX),
            },
        }
    }

    /// Whether a member has a score above this.
    ///
    /// Looks from the greatest on: in a short set, which the server keeps as a list, that is the
    /// nearer end.
    #[inline(always)]
    pub fn has_above(&mut self, score: f64) -> bool {
        self.start_from_last(score, Bound::Excluded)
    }

    /// The greatest score.
    pub fn last(&mut self) -> Option<f64> {
        self.start_from_last(f64::NEG_INFINITY, Bound::Included)
            .then(|| self.current())
            .flatten()
            .map(|(_, score)| score)
    }

    /// Goes to the last with at least that score; `false` if there is none.
    #[inline(always)]
    fn start_from_last(&mut self, least: f64, bound: Bound) -> bool {
        if self.key.is_null() {
            return false;
        }
        // SAFETY: as in `start`.
        unsafe {
            let (key, most, bound) = (self.key, f64::INFINITY, bound as c_int);
            let begun = api!(RedisModule_ZsetLastInScoreRange(key, least, most, bound, 0)) == OK;
            begun && api!(RedisModule_ZsetRangeEndReached(key)) == 0
        }
    }

    /// The `n`-th score, from 1 on, above `score`, of which is known how many members have it or
    /// less.
    pub fn nth_above(&mut self, score: f64, below: usize, n: usize) -> Option<f64> {
        if n > MAX_STEPS {
            if let Some(found) = self.ask_score(below.saturating_add(n).saturating_sub(1)) {
                return Some(found);
            }
        }
        let mut there = self.start(score, f64::INFINITY, Bound::Excluded);
        for _ in 1..n {
            there = there && self.next();
        }
        there
            .then(|| self.current())
            .flatten()
            .map(|(_, score)| score)
    }

    /// Shows members with a score above `score`, lowest first, `most` of them at most.
    pub fn each_above(&mut self, score: f64, most: usize, mut show: impl FnMut(&[u8], f64)) {
        let mut there = self.start(score, f64::INFINITY, Bound::Excluded);
        for _ in 0..most {
            let Some((member, score)) = there.then(|| self.current()).flatten() else {
                return;
            };
            show(member.name().bytes(), score);
            there = self.next();
        }
    }

    /// Steps through all with a score from `least` to `greatest`, and counts them; `None` if there
    /// are more than `most`.
    fn walk(&mut self, least: f64, greatest: f64, most: usize) -> Option<usize> {
        if !self.start(least, greatest, Bound::Included) {
            return Some(0);
        }
        let mut count: usize = 1;
        while self.next() {
            if count >= most {
                return None;
            }
            count = count.saturating_add(1);
        }
        Some(count)
    }

    /// Goes to the first with a score in that range; `false` if there is none.
    #[inline(always)]
    pub(in crate::server) fn start(&mut self, least: f64, greatest: f64, bound: Bound) -> bool {
        if self.key.is_null() {
            return false;
        }
        // SAFETY: the key is open. Whether it holds a sorted set the first tells, and only then the
        // second is asked.
        unsafe {
            let (key, bound) = (self.key, bound as c_int);
            let begun = api!(RedisModule_ZsetFirstInScoreRange(
                key, least, greatest, bound, 0
            )) == OK;
            begun && api!(RedisModule_ZsetRangeEndReached(key)) == 0
        }
    }

    /// One further; `false` if there is none.
    pub(in crate::server) fn next(&mut self) -> bool {
        // SAFETY: the key is open and holds a sorted set, in which a range was begun.
        unsafe { api!(RedisModule_ZsetRangeNext(self.key)) != 0 }
    }

    /// Where the walk is.
    pub(in crate::server) fn current(&mut self) -> Option<(Member, f64)> {
        let mut score = 0.0;
        // SAFETY: the key is open and holds a sorted set, in which a range was begun. The string
        // is ours.
        unsafe {
            let string = api!(RedisModule_ZsetRangeCurrentElement(self.key, &mut score));
            Member::own(self.ctx, string).map(|member| (member, score))
        }
    }
}

/// Whether a range has its lowest score.
#[derive(Clone, Copy)]
pub(in crate::server) enum Bound {
    Included = 0,
    Excluded = 1,
}

impl Drop for Scores<'_> {
    fn drop(&mut self) {
        self.close();
    }
}
