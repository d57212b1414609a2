//! The changes of one call to a sorted set, replicated as ZREM, ZADD, PEXPIREAT, PERSIST or DEL.

use redis_module::raw;

use crate::server::api::api;
use crate::server::argument::Argument;
use crate::server::replication::{effect, expire, remove, Expiry};
use crate::server::replication_needed::{readers, Readers};

/// The changes of one call to a sorted set.
pub(super) struct SetChanges {
    readers: Readers,
    any: bool,
    cleared: bool,
    removed: Vec<*mut raw::RedisModuleString>,
    added: Vec<(*mut raw::RedisModuleString, i64)>,
    /// The key's new expiry, if it was changed.
    pub(super) expiry: Option<Expiry>,
}

impl SetChanges {
    /// Creates an empty record of changes.
    ///
    /// # Safety
    /// `ctx` must be that of the call in progress.
    pub(super) unsafe fn new(ctx: *mut raw::RedisModuleCtx, is_command: bool) -> Self {
        // SAFETY: guaranteed by the caller.
        let readers = match unsafe { readers(ctx) } {
            // Outside a command there is none that could be flagged instead of its effects.
            Readers::None if !is_command => Readers::Any,
            readers => readers,
        };
        Self {
            readers,
            any: false,
            cleared: false,
            removed: Vec::new(),
            added: Vec::new(),
            expiry: None,
        }
    }

    /// Records that the key was removed.
    pub(super) fn cleared(&mut self) {
        self.any = true;
        self.cleared = true;
    }

    /// Records that a member was removed. The string must live until the changes are replicated.
    pub(super) fn removed(&mut self, member: *mut raw::RedisModuleString) {
        self.any = true;
        if self.readers != Readers::None {
            self.removed.push(member);
        }
    }

    /// Records that a member has this score. Its string must live until the changes are replicated.
    pub(super) fn added(&mut self, member: &Argument<'_>, score: i64) {
        self.any = true;
        if self.readers != Readers::None {
            self.added.push((member.string, score));
        }
    }

    /// Returns whether the key's expiry must be replicated although it has not changed: `ZADD` would
    /// create a key without an expiry for a reader that lacks the key.
    pub(super) fn needs_expiry(&self) -> bool {
        self.readers == Readers::Any && self.expiry.is_none() && !self.added.is_empty()
    }

    /// Returns whether there are no changes.
    pub(super) fn is_none(&self) -> bool {
        !self.any && self.expiry.is_none()
    }
}

/// Replicates the changes of the sorted set at `name`: removed members, added members, expiry.
///
/// # Safety
/// As for [`effect`]; the strings of the changes must be alive.
pub(super) unsafe fn replicate(
    ctx: *mut raw::RedisModuleCtx,
    name: &Argument<'_>,
    changes: &SetChanges,
) {
    // SAFETY: guaranteed by the caller; the variadic arguments are those of the formats: string
    // object, vector of string objects with its length, long long.
    unsafe {
        if changes.readers == Readers::None {
            api!(RedisModule_ReplicateVerbatim(ctx));
            return;
        }
        if changes.cleared {
            return remove(ctx, name);
        }
        if !changes.removed.is_empty() {
            effect(ctx, c"ZREM", name, &changes.removed);
        }
        if !changes.added.is_empty() {
            add(ctx, name, &changes.added);
        }
        if let Some(expiry) = &changes.expiry {
            expire(ctx, name, expiry);
        }
    }
}

/// Replicates members with their scores.
///
/// # Safety
/// As for [`replicate`].
unsafe fn add(
    ctx: *mut raw::RedisModuleCtx,
    name: &Argument<'_>,
    added: &[(*mut raw::RedisModuleString, i64)],
) {
    let null = std::ptr::null_mut();
    let mut words = Vec::with_capacity(added.len().saturating_mul(2));
    // SAFETY: guaranteed by the caller; the format matches the arguments. Strings created here are
    // freed here, after the server has made its own copy.
    unsafe {
        for &(member, score) in added {
            words.push(api!(RedisModule_CreateStringFromLongLong(null, score)));
            words.push(member);
        }
        effect(ctx, c"ZADD", name, &words);
        for &score in words.iter().step_by(2) {
            api!(RedisModule_FreeString(null, score));
        }
    }
}
