//! A key that holds a sorted set, read and written through the module API.
//!
//! The API has no count and no rank by score. What is near either end is walked to, a step at a
//! time; what is further off the server's own commands find in O(log n).

use std::ops::{Deref, DerefMut};
use std::os::raw::c_int;
use std::ptr;

use redis_module::raw;

use super::api::api;
use super::argument::Argument;
use super::call::Call;
use super::member::Member;
use super::refusal::Refusal;
use super::replication::{self, Expiry, SetChanges};
use super::usage::{Usage, UNSEEN};
use super::{expiry, memory, OK};

const READ_WRITE: c_int = (raw::REDISMODULE_READ | raw::REDISMODULE_WRITE) as c_int;

/// So many steps cost less than a command of the server's.
const MAX_STEPS: usize = 64;

/// An open key that holds a sorted set or nothing, to be read. Closed when dropped.
///
/// Only one key is open at a time, as with [`Key`](super::Key).
pub struct Scores<'k> {
    ctx: *mut raw::RedisModuleCtx,
    name: &'k Argument<'k>,
    /// Null if there is nothing and it is only read.
    key: *mut raw::RedisModuleKey,
    mode: c_int,
    now: u64,
}

/// What raising a member's score came to.
pub enum Raised {
    /// There was no such member.
    Added,
    /// There was, and now its score is at least that.
    WasThere,
}

/// An open key that holds a sorted set or nothing, to be read and written. Replicates what was
/// changed when it is closed, which is when it is dropped.
pub struct SortedSet<'k> {
    scores: Scores<'k>,
    changes: SetChanges,
    /// Names that the changes hold.
    removed: Vec<Member>,
}

impl<'a> Call<'a> {
    /// Opens a key for reading and writing.
    ///
    /// # Errors
    /// It is of another type than a sorted set.
    #[inline(always)]
    pub fn open_set<'k>(&'k mut self, name: &'k Argument<'k>) -> Result<SortedSet<'k>, Refusal> {
        let scores = self.scores(name, READ_WRITE)?;
        Ok(SortedSet {
            // SAFETY: ctx is that of the call in progress.
            changes: unsafe { SetChanges::new(self.ctx) },
            scores,
            removed: Vec::new(),
        })
    }

    /// Opens a key for reading that leaves no trace.
    ///
    /// # Errors
    /// It is of another type than a sorted set.
    pub fn look_at_set<'k>(&'k mut self, name: &'k Argument<'k>) -> Result<Scores<'k>, Refusal> {
        self.scores(name, UNSEEN)
    }

    #[inline(always)]
    fn scores<'k>(&self, name: &'k Argument<'k>, mode: c_int) -> Result<Scores<'k>, Refusal> {
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
    fn open(&mut self) {
        // SAFETY: ctx and name belong to the call in progress.
        self.key =
            unsafe { api!(RedisModule_OpenKey(self.ctx, self.name.string, self.mode)) }.cast();
    }

    fn close(&mut self) {
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
    fn start(&mut self, least: f64, greatest: f64, bound: Bound) -> bool {
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
    fn next(&mut self) -> bool {
        // SAFETY: the key is open and holds a sorted set, in which a range was begun.
        unsafe { api!(RedisModule_ZsetRangeNext(self.key)) != 0 }
    }

    /// Where the walk is.
    fn current(&mut self) -> Option<(Member, f64)> {
        let mut score = 0.0;
        // SAFETY: the key is open and holds a sorted set, in which a range was begun. The string
        // is ours.
        unsafe {
            let string = api!(RedisModule_ZsetRangeCurrentElement(self.key, &mut score));
            Member::own(self.ctx, string).map(|member| (member, score))
        }
    }

    /// How many have a score up to this, by the server's command.
    fn ask_count(&mut self, score: i64) -> Option<usize> {
        // SAFETY: ctx and name belong to the call in progress; the format is that of the
        // arguments: string object, C string, integer. The key is closed.
        self.ask(|scores| unsafe {
            let reply = api!(RedisModule_Call(
                scores.ctx,
                c"ZCOUNT".as_ptr(),
                c"scl".as_ptr(),
                scores.name.string,
                c"-inf".as_ptr(),
                score
            ));
            if reply.is_null() {
                return None;
            }
            let count = api!(RedisModule_CallReplyInteger(reply));
            api!(RedisModule_FreeCallReply(reply));
            usize::try_from(count).ok()
        })
    }

    /// The score at a rank, from 0 on: the server's command tells the member.
    fn ask_score(&mut self, rank: usize) -> Option<f64> {
        let rank = i64::try_from(rank).ok()?;
        // SAFETY: as above, with two integers. The string that is made of the reply is ours.
        let member = self.ask(|scores| unsafe {
            let (zrange, format) = (c"ZRANGE".as_ptr(), c"sll".as_ptr());
            let name = scores.name.string;
            let reply = api!(RedisModule_Call(
                scores.ctx, zrange, format, name, rank, rank
            ));
            if reply.is_null() {
                return None;
            }
            let element = api!(RedisModule_CallReplyArrayElement(reply, 0));
            let string = match element.is_null() {
                true => ptr::null_mut(),
                false => api!(RedisModule_CreateStringFromCallReply(element)),
            };
            api!(RedisModule_FreeCallReply(reply));
            Member::own(scores.ctx, string)
        })?;
        self.score(&member.name())
    }

    /// Closes the key while a command of the server's is asked, which may expire it. A look
    /// leaves the key's time of last use as it was.
    fn ask<T>(&mut self, ask: impl FnOnce(&Self) -> Option<T>) -> Option<T> {
        // SAFETY: the key is open, and holds something: it was found too long to walk through.
        let usage = (self.mode == UNSEEN).then(|| unsafe { Usage::of(self.key) });
        self.close();
        let answer = ask(self);
        self.open();
        if let Some(usage) = usage.filter(|_| !self.key.is_null()) {
            // SAFETY: the key is open.
            unsafe { usage.restore(self.key) };
        }
        answer
    }
}

/// Whether a range has its lowest score.
#[derive(Clone, Copy)]
enum Bound {
    Included = 0,
    Excluded = 1,
}

impl Drop for Scores<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<'k> SortedSet<'k> {
    /// Makes sure that a new member finds memory.
    ///
    /// # Errors
    /// The server's memory is used up.
    #[inline(always)]
    pub fn check_memory(&self) -> Result<(), Refusal> {
        // SAFETY: ctx is that of the call in progress.
        match unsafe { memory::is_used_up(self.scores.ctx) } {
            true => Err(Refusal::OutOfMemory),
            false => Ok(()),
        }
    }

    /// Whether anything was changed.
    pub fn is_changed(&self) -> bool {
        !self.changes.is_none()
    }

    /// Sets a member's score.
    ///
    /// # Errors
    /// The server refuses the write.
    #[inline(always)]
    pub fn add(&mut self, member: &Argument<'k>, score: i64) -> Result<(), Refusal> {
        self.write(member, score, 0).map(drop)
    }

    /// Adds a member, or raises its score if it has a lower one.
    ///
    /// # Errors
    /// The server refuses the write.
    #[inline(always)]
    pub fn raise(&mut self, member: &Argument<'k>, score: i64) -> Result<Raised, Refusal> {
        let flags = self.write(member, score, raw::REDISMODULE_ZADD_GT)?;
        Ok(match flags & raw::REDISMODULE_ZADD_ADDED {
            0 => Raised::WasThere,
            _ => Raised::Added,
        })
    }

    /// Writes as the flags say; what came of it comes back.
    #[inline(always)]
    fn write(&mut self, member: &Argument<'k>, score: i64, flags: u32) -> Result<u32, Refusal> {
        let mut flags = flags as c_int;
        // SAFETY: the key is open for writing, and empty or a sorted set; the string is alive.
        let status = unsafe {
            let (key, score) = (self.scores.key, score as f64);
            api!(RedisModule_ZsetAdd(key, score, member.string, &mut flags))
        };
        if status != OK {
            return Err(Refusal::WriteFailed);
        }
        let flags = flags as u32;
        if flags & raw::REDISMODULE_ZADD_NOP == 0 {
            self.changes.added(member, score);
        }
        Ok(flags)
    }

    /// Takes a member out, if it is there.
    #[inline(always)]
    pub fn remove(&mut self, member: &Argument<'k>) {
        self.take_out(member.string);
    }

    /// Takes out members with a score up to this, lowest first, but for one that is to stay: so
    /// many at most. Tells how many it were.
    #[cold]
    pub fn trim(&mut self, score: f64, stays: &[u8], most: usize) -> usize {
        let mut members = Vec::with_capacity(most);
        let mut there = self.start(f64::NEG_INFINITY, score, Bound::Included);
        while let Some((member, _)) = there.then(|| self.current()).flatten() {
            if member.name().bytes() != stays {
                members.push(member);
            }
            there = members.len() < most && self.next();
        }
        for member in &members {
            self.take_out(member.name().string);
        }
        let trimmed = members.len();
        self.removed.append(&mut members);
        trimmed
    }

    fn take_out(&mut self, member: *mut raw::RedisModuleString) {
        let mut deleted: c_int = 0;
        // SAFETY: the key is open for writing; the string is alive, and stays so until the changes
        // are replicated: the call's own for `'k`, others in `removed`.
        unsafe {
            let status = api!(RedisModule_ZsetRem(self.scores.key, member, &mut deleted));
            if status == OK && deleted != 0 {
                self.changes.removed(member);
            }
        }
    }

    /// Removes the key. What it held is freed in the background if it was much.
    pub fn clear(&mut self) {
        // SAFETY: the key is open for writing.
        unsafe { api!(RedisModule_UnlinkKey(self.scores.key)) };
        self.changes.cleared();
    }

    /// Lets the key expire then, in milliseconds since 1970; `None`: never.
    #[inline(always)]
    pub fn expire_at(&mut self, at: Option<i64>) {
        // SAFETY: the key is open for writing and holds something.
        unsafe {
            match at {
                Some(at) => expiry::set(self.scores.key, at),
                None => expiry::remove(self.scores.key),
            }
        }
        self.changes.expiry = Some(at.map_or(Expiry::Never, Expiry::At));
    }
}

impl Drop for SortedSet<'_> {
    fn drop(&mut self) {
        let Scores { ctx, name, .. } = self.scores;
        if self.changes.is_none() {
            return;
        }
        // SAFETY: ctx and name belong to the call in progress, and the strings of the changes are
        // alive, as in `take_out`.
        unsafe {
            api!(RedisModule_SignalModifiedKey(ctx, name.string));
            replication::set_changes(ctx, name, &self.changes);
        }
    }
}

impl<'k> Deref for SortedSet<'k> {
    type Target = Scores<'k>;

    fn deref(&self) -> &Scores<'k> {
        &self.scores
    }
}

impl DerefMut for SortedSet<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.scores
    }
}
