//! A key that holds a sorted set, written through the module API.

use std::ops::{Deref, DerefMut};
use std::os::raw::c_int;

use redis_module::raw;

use super::changes::{self, SetChanges};
use super::read::{Bound, Scores};
use crate::server::api::{api, OK};
use crate::server::argument::Argument;
use crate::server::call::Call;
use crate::server::kept::READ_WRITE;
use crate::server::member::Member;
use crate::server::refusal::Refusal;
use crate::server::replication::Expiry;
use crate::server::{expiry, memory};

/// The result of raising a member's score.
pub enum Raised {
    /// The member was added.
    Added,
    /// The member existed, and its score is now at least the given one.
    WasThere,
}

/// An open key that holds a sorted set or nothing, for reading and writing. When it is dropped, it
/// is closed and its changes are replicated.
pub struct SortedSet<'k> {
    scores: Scores<'k>,
    changes: SetChanges,
    /// Members that the changes refer to.
    removed: Vec<Member>,
}

impl<'a> Call<'a> {
    /// Opens a key for reading and writing.
    ///
    /// # Errors
    /// It is of another type than a sorted set.
    #[inline(always)]
    pub fn open_set<'k>(&'k mut self, name: &'k Argument<'k>) -> Result<SortedSet<'k>, Refusal> {
        // SAFETY: ctx is that of the call in progress.
        let changes = unsafe { SetChanges::new(self.ctx, self.is_command) };
        let scores = self.scores(name, READ_WRITE)?;
        Ok(SortedSet {
            changes,
            scores,
            removed: Vec::new(),
        })
    }
}

impl<'k> SortedSet<'k> {
    /// Checks that there is memory for a new member.
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

    /// Returns whether anything was changed.
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

    /// Writes a score under the given flags and returns the resulting flags.
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

    /// Removes a member, if it exists.
    #[inline(always)]
    pub fn remove(&mut self, member: &Argument<'k>) {
        self.take_out(member.string);
    }

    /// Removes at most `most` members with a score ≤ `score`, lowest first, skipping `stays`.
    /// Returns the number removed.
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
        // SAFETY: the key is open for writing; the string lives until the changes are replicated:
        // the call's own for `'k`, others in `removed`.
        unsafe {
            let status = api!(RedisModule_ZsetRem(self.scores.key, member, &mut deleted));
            if status == OK && deleted != 0 {
                self.changes.removed(member);
            }
        }
    }

    /// Removes the key. A large value is freed in the background.
    pub fn clear(&mut self) {
        // SAFETY: the key is open for writing.
        unsafe { api!(RedisModule_UnlinkKey(self.scores.key)) };
        self.changes.cleared();
    }

    /// Sets the key's expiry in milliseconds since 1970; `None` removes it.
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
        if self.changes.needs_expiry() {
            self.changes.expiry = self.scores.expires_at().map(Expiry::At);
        }
        // SAFETY: ctx and name belong to the call in progress, and the strings of the changes are
        // alive, as in `take_out`.
        unsafe {
            api!(RedisModule_SignalModifiedKey(ctx, name.string));
            changes::replicate(ctx, name, &self.changes);
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
