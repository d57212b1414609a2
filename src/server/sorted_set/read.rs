//! A key that holds a sorted set, read through the module API.

use std::os::raw::c_int;
use std::ptr;

use redis_module::raw;

use crate::server::api::{api, OK};
use crate::server::argument::Argument;
use crate::server::call::Call;
use crate::server::eviction_stats::UNSEEN;
use crate::server::expiry;
use crate::server::kept::{Handle, Kept, READ_WRITE};
use crate::server::member::{Member, Name, Names};
use crate::server::refusal::Refusal;

/// An open key that holds a sorted set or nothing, to be read. Closed when dropped.
///
/// It borrows the call, as a [`Key`](crate::server::Key) does.
pub struct Scores<'k> {
    pub(in crate::server) ctx: *mut raw::RedisModuleCtx,
    pub(in crate::server) name: &'k Argument<'k>,
    /// Null if the key does not exist and is only read.
    pub(in crate::server) key: *mut raw::RedisModuleKey,
    kept: &'k Kept<'k>,
    pub(in crate::server) mode: c_int,
    pub(in crate::server) now: u64,
}

impl<'a> Call<'a> {
    /// Opens a key for reading without side effects.
    ///
    /// # Errors
    /// It is of another type than a sorted set.
    pub fn look_at_set<'k>(&'k mut self, name: &'k Argument<'k>) -> Result<Scores<'k>, Refusal> {
        self.kept.close_all();
        self.scores(name, UNSEEN)
    }

    #[inline(always)]
    pub(in crate::server) fn scores<'k>(
        &'k mut self,
        name: &'k Argument<'k>,
        mode: c_int,
    ) -> Result<Scores<'k>, Refusal> {
        let mut scores = Scores {
            ctx: self.ctx,
            name,
            key: ptr::null_mut(),
            kept: &self.kept,
            mode,
            now: self.now(),
        };
        match mode == READ_WRITE {
            // SAFETY: ctx and name belong to the call in progress, which a key in use would borrow.
            true => scores.key = unsafe { self.kept.open(self.ctx, name) }.key,
            false => scores.open(),
        }
        // SAFETY: the key is open, or null, which the server reports as empty.
        match unsafe { api!(RedisModule_KeyType(scores.key)) } as isize {
            raw::REDISMODULE_KEYTYPE_EMPTY | raw::REDISMODULE_KEYTYPE_ZSET => Ok(scores),
            _ => Err(Refusal::WrongType),
        }
    }
}

impl<'k> Scores<'k> {
    /// Returns the database of the key.
    pub fn db(&self) -> i32 {
        // SAFETY: ctx is that of the call in progress.
        unsafe { api!(RedisModule_GetSelectedDb(self.ctx)) }
    }

    /// Returns the name of the key.
    pub fn key(&self) -> &[u8] {
        self.name.bytes()
    }

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

    /// Returns the number of members; 0 if the key does not exist.
    #[inline(always)]
    pub fn len(&self) -> usize {
        if self.key.is_null() {
            return 0;
        }
        // SAFETY: the key is open.
        unsafe { api!(RedisModule_ValueLength(self.key)) }
    }

    /// Returns whether the key has expired at the time of the call. The server may still have it: a
    /// replica keeps it until its master removes it.
    pub fn has_expired(&self) -> bool {
        // SAFETY: the key is open and holds something.
        self.len() > 0 && unsafe { expiry::has_passed(self.key, self.now) }
    }

    /// Returns the key's expiry in milliseconds since 1970, or `None` if it has none or does not
    /// exist.
    pub fn expires_at(&self) -> Option<i64> {
        if self.key.is_null() {
            return None;
        }
        // SAFETY: the key is open.
        unsafe { expiry::get(self.key) }
    }

    /// Returns an empty list of strings.
    pub fn names(&self) -> Names {
        // SAFETY: a call is in progress, whose ctx this has.
        unsafe { Names::new() }
    }

    /// Returns a name as a member.
    #[inline(always)]
    pub fn name(&self, name: &'static Name) -> Argument<'k> {
        // SAFETY: the call in progress, whose ctx this has, outlives `'k`.
        unsafe { name.argument() }
    }

    /// Returns a member's score.
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

    /// Returns whether a member has a score above `score`.
    ///
    /// It starts from the greatest: in a short set, which the server keeps as a list, that end is
    /// nearer.
    #[inline(always)]
    pub fn has_above(&mut self, score: f64) -> bool {
        self.start_from_last(score, Bound::Excluded)
    }

    /// Returns the greatest score.
    pub fn last(&mut self) -> Option<f64> {
        self.start_from_last(f64::NEG_INFINITY, Bound::Included)
            .then(|| self.current())
            .flatten()
            .map(|(_, score)| score)
    }

    /// Moves to the last member with a score of at least `least`. Returns `false` if there is none.
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

    /// Calls `show` for the members with a score above `score`, lowest first, at most `most` of
    /// them.
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

    /// Counts the members with a score from `least` to `greatest` by walking; `None` if there are
    /// more than `most`.
    pub(in crate::server) fn walk(
        &mut self,
        least: f64,
        greatest: f64,
        most: usize,
    ) -> Option<usize> {
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

    /// Moves to the first member with a score in the range. Returns `false` if there is none.
    #[inline(always)]
    pub(in crate::server) fn start(&mut self, least: f64, greatest: f64, bound: Bound) -> bool {
        if self.key.is_null() {
            return false;
        }
        // SAFETY: the key is open. The first function reports whether it holds a sorted set, and
        // only then the second is called.
        unsafe {
            let (key, bound) = (self.key, bound as c_int);
            let begun = api!(RedisModule_ZsetFirstInScoreRange(
                key, least, greatest, bound, 0
            )) == OK;
            begun && api!(RedisModule_ZsetRangeEndReached(key)) == 0
        }
    }

    /// Moves to the next member. Returns `false` if there is none.
    pub(in crate::server) fn next(&mut self) -> bool {
        // SAFETY: the key is open and holds a sorted set, and a range was begun.
        unsafe { api!(RedisModule_ZsetRangeNext(self.key)) != 0 }
    }

    /// Returns the member at which the walk is, with its score.
    pub(in crate::server) fn current(&mut self) -> Option<(Member, f64)> {
        let mut score = 0.0;
        // SAFETY: the key is open and holds a sorted set, and a range was begun. The string is
        // ours.
        unsafe {
            let string = api!(RedisModule_ZsetRangeCurrentElement(self.key, &mut score));
            Member::own(self.ctx, string).map(|member| (member, score))
        }
    }
}

/// Whether a range includes its lowest score.
#[derive(Clone, Copy)]
pub(in crate::server) enum Bound {
    Included = 0,
    Excluded = 1,
}

impl Drop for Scores<'_> {
    fn drop(&mut self) {
        if self.mode != READ_WRITE || self.key.is_null() {
            return self.close();
        }
        // SAFETY: opened by `scores`, or again by `open`, and not used after this.
        unsafe { self.kept.close(self.name, Handle::unread(self.key)) };
    }
}
