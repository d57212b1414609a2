//! The changes of one call to a hash, replicated as HDEL, HSET, PEXPIREAT or DEL.

use redis_module::raw;

use crate::server::api::api;
use crate::server::argument::Argument;
use crate::server::member::Member;
use crate::server::replication::{self, Expiry};
use crate::server::replication_needed::is_unread;

/// The changes.
#[derive(Default)]
pub(super) struct Changes {
    cleared: bool,
    /// Fields that were removed.
    removed: Vec<Member>,
    /// Fields that were set, each followed by its value.
    set: Vec<*mut raw::RedisModuleString>,
    /// The strings of `set` that this module owns.
    owned: Vec<Member>,
    /// The key's new expiry, if it was changed.
    pub(super) expiry: Option<Expiry>,
}

impl Changes {
    /// Records that the key was removed.
    pub(super) fn cleared(&mut self) {
        self.cleared = true;
    }

    /// Records that a field was removed.
    pub(super) fn removed(&mut self, field: Member) {
        self.removed.push(field);
    }

    /// Records that a field was set. Its string must live until the changes are replicated.
    pub(super) fn set(&mut self, field: *mut raw::RedisModuleString, value: Member) {
        self.set.push(field);
        self.set.push(value.name().string);
        self.owned.push(value);
    }

    /// Records that a field was set whose string this module owns.
    pub(super) fn set_owned(&mut self, field: Member, value: Member) {
        self.set(field.name().string, value);
        self.owned.push(field);
    }

    /// Returns whether there are no changes.
    pub(super) fn is_empty(&self) -> bool {
        !self.cleared && self.removed.is_empty() && self.set.is_empty() && self.expiry.is_none()
    }

    /// Replicates them.
    ///
    /// # Safety
    /// `ctx` must be that of the call in progress, `name` one of its arguments, and the fields
    /// that were set alive.
    pub(super) unsafe fn replicate(&self, ctx: *mut raw::RedisModuleCtx, name: &Argument<'_>) {
        // SAFETY: the caller's promise; strings of ours live as long as this.
        unsafe {
            if is_unread(ctx) {
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
