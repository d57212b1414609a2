//! The changes of one call to a hash, replicated as HDEL, HSET, PEXPIREAT or DEL.

use redis_module::raw;

use crate::server::api::api;
use crate::server::argument::Argument;
use crate::server::member::Member;
use crate::server::replication::{self, Expiry};
use crate::server::replication_needed::is_unread;

/// The changes. If nobody reads effects, only that there are some.
pub(super) struct Changes {
    is_unread: bool,
    is_empty: bool,
    cleared: bool,
    /// Fields that were removed.
    removed: Vec<Member>,
    /// Fields that were set, each followed by its value.
    set: Vec<*mut raw::RedisModuleString>,
    /// The strings of `set` that this module owns.
    owned: Vec<Member>,
    /// The key's new expiry, if it was changed.
    expiry: Option<Expiry>,
}

impl Changes {
    /// Creates an empty list.
    ///
    /// # Safety
    /// `ctx` must be that of the call in progress.
    pub(super) unsafe fn new(ctx: *mut raw::RedisModuleCtx) -> Self {
        Self {
            // SAFETY: guaranteed by the caller.
            is_unread: unsafe { is_unread(ctx) },
            is_empty: true,
            cleared: false,
            removed: Vec::new(),
            set: Vec::new(),
            owned: Vec::new(),
            expiry: None,
        }
    }

    /// Records that the key was removed.
    pub(super) fn cleared(&mut self) {
        (self.is_empty, self.cleared) = (false, true);
    }

    /// Records that a field was removed.
    pub(super) fn removed(&mut self, field: Member) {
        self.is_empty = false;
        if !self.is_unread {
            self.removed.push(field);
        }
    }

    /// Records that a field was set. Its string must live until the changes are replicated.
    pub(super) fn set(&mut self, field: *mut raw::RedisModuleString, value: Member) {
        self.is_empty = false;
        if !self.is_unread {
            self.set.push(field);
            self.set.push(value.name().string);
            self.owned.push(value);
        }
    }

    /// Records that a field was set whose string this module owns.
    pub(super) fn set_owned(&mut self, field: Member, value: Member) {
        self.set(field.name().string, value);
        self.owned.push(field);
    }

    /// Records the key's new expiry.
    pub(super) fn expires(&mut self, at_ms: i64) {
        (self.is_empty, self.expiry) = (false, Some(Expiry::At(at_ms)));
    }

    /// Returns whether there are no changes.
    pub(super) fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Replicates them.
    ///
    /// # Safety
    /// `ctx` must be that of the call in progress, `name` one of its arguments, and the fields
    /// that were set alive.
    pub(super) unsafe fn replicate(&self, ctx: *mut raw::RedisModuleCtx, name: &Argument<'_>) {
        // SAFETY: the caller's promise; strings of ours live as long as this.
        unsafe {
            if self.is_unread {
                api!(RedisModule_ReplicateVerbatim(ctx));
                return;
            }
            if self.cleared {
                return replication::remove(ctx, name);
            }
            if !self.removed.is_empty() {
                let fields = self.removed.iter().map(|field| field.name().string);
                let fields: Vec<_> = fields.collect();
                replication::effect(ctx, c"HDEL", name, &fields);
            }
            if !self.set.is_empty() {
                replication::effect(ctx, c"HSET", name, &self.set);
            }
            if let Some(expiry) = &self.expiry {
                replication::expire(ctx, name, expiry);
            }
        }
    }
}
