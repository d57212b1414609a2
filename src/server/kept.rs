//! Keys that a call keeps open between reading and writing them.
//!
//! An open key refers to the key's value. The value must not be freed or moved meanwhile, except
//! through that same key. A call's keys may be open together because
//!
//! - their names differ, and each is opened once: whatever the call does through one of them
//!   (write, expire, remove) concerns its own value. Opening a key for writing may expire it, and
//!   removes no other key;
//! - the server runs no other command and no timer before the call returns: eviction, active
//!   expiry, defragmentation and the end of a script's time all wait for it. A table that grows or
//!   rehashes moves its entries, not the values. The commands that this module calls by name read
//!   one key, which is closed meanwhile, or none;
//! - no other module hears of the events that the call causes, such as the expiry of a key that is
//!   opened, and removes other keys: see [`super::other_modules`]. Otherwise one key is open at a time.

use std::cell::Cell;
use std::os::raw::c_int;
use std::ptr;

use redis_module::raw;
use redis_rl_limits::keys::distinct::repeated;

use super::api::api;
use super::argument::Argument;
use super::other_modules;

pub(super) const READ_WRITE: c_int = (raw::REDISMODULE_READ | raw::REDISMODULE_WRITE) as c_int;

/// A key that is open for reading and writing, or none.
#[derive(Clone, Copy)]
pub(super) struct Handle {
    /// Null if there is none.
    pub(super) key: *mut raw::RedisModuleKey,
    /// The string's bytes; null if there is no string, if it was not read, or once the expiry was
    /// set: on servers that store the expiry with the value, that may move the value.
    pub(super) start: *mut u8,
    /// The string's length; 0 if there is no string, or it was not read.
    pub(super) len: usize,
    /// The key's expiry as the server returned it; `None` if it was not asked yet.
    pub(super) expiry: Option<Option<i64>>,
}

impl Handle {
    /// A key about whose value nothing is known yet.
    pub(super) const fn unread(key: *mut raw::RedisModuleKey) -> Self {
        Self {
            key,
            start: ptr::null_mut(),
            len: 0,
            expiry: None,
        }
    }
}

/// The keys of a call that stay open once they were opened, until the call ends.
pub(super) struct Kept<'a> {
    /// The arguments that name them: every `step`-th one.
    names: &'a [Argument<'a>],
    step: usize,
    /// A place for each of the keys; none at all if each key is closed after its use.
    places: Vec<Cell<Handle>>,
}

impl<'a> Kept<'a> {
    /// Creates a record of the keys that every `step`-th one of `names` names.
    ///
    /// # Errors
    /// A key is given twice.
    ///
    /// # Safety
    /// `ctx` must be that of the call in progress, which must not have opened a key.
    #[inline(always)]
    pub(super) unsafe fn of(
        ctx: *mut raw::RedisModuleCtx,
        seed: u64,
        names: &'a [Argument<'a>],
        step: usize,
    ) -> Result<Self, &'a [u8]> {
        let keys = names.iter().step_by(step);
        if let Some(key) = repeated(seed, keys.clone().map(Argument::bytes)) {
            return Err(key);
        }
        let mut places = Vec::new();
        // SAFETY: guaranteed by the caller.
        if unsafe { other_modules::receive_no_events(ctx) } {
            places.reserve_exact(keys.len());
            places.extend(keys.map(|_| Cell::new(Handle::unread(ptr::null_mut()))));
        }
        Ok(Self {
            names,
            step,
            places,
        })
    }
}

impl Kept<'_> {
    /// Creates a record of no keys.
    #[inline(always)]
    pub(super) fn none() -> Self {
        Self {
            names: &[],
            step: 1,
            places: Vec::new(),
        }
    }

    /// Returns the place of the key, if it stays open.
    #[inline(always)]
    fn place(&self, name: &Argument<'_>) -> Option<&Cell<Handle>> {
        if self.places.is_empty() {
            return None;
        }
        let first = self.names.as_ptr() as usize;
        let bytes = (ptr::from_ref(name) as usize).wrapping_sub(first);
        let at = bytes.checked_div(size_of::<Argument<'_>>())?;
        match at.checked_rem(self.step) {
            Some(0) => self.places.get(at.checked_div(self.step)?),
            _ => None,
        }
    }

    /// Opens a key for reading and writing, or returns the one that stayed open.
    ///
    /// # Safety
    /// `ctx` must be that of the call in progress, `name` one of its strings, and the key must not
    /// be in use.
    #[inline(always)]
    pub(super) unsafe fn open(&self, ctx: *mut raw::RedisModuleCtx, name: &Argument<'_>) -> Handle {
        match self
            .place(name)
            .map(|place| place.replace(Handle::unread(ptr::null_mut())))
        {
            Some(open) if !open.key.is_null() => return open,
            Some(_) => {}
            // It could be one of the keys that are open.
            None => self.close_all(),
        }
        // SAFETY: guaranteed by the caller.
        Handle::unread(unsafe { api!(RedisModule_OpenKey(ctx, name.string, READ_WRITE)) }.cast())
    }

    /// Closes a key, unless it stays open.
    ///
    /// # Safety
    /// [`open`](Self::open) must have returned the key for this name, and it must not be used
    /// after this.
    #[inline(always)]
    pub(super) unsafe fn close(&self, name: &Argument<'_>, open: Handle) {
        match self.place(name) {
            Some(place) => place.set(open),
            // SAFETY: guaranteed by the caller.
            None => unsafe { api!(RedisModule_CloseKey(open.key)) },
        }
    }

    /// Closes all keys that are not in use. Must come before anything that may remove a key in
    /// another way than through an open one.
    #[inline(always)]
    pub(super) fn close_all(&self) {
        for place in &self.places {
            let Handle { key, .. } = place.replace(Handle::unread(ptr::null_mut()));
            if !key.is_null() {
                // SAFETY: opened by `open`, and taken out of its place, so not used after this.
                unsafe { api!(RedisModule_CloseKey(key)) };
            }
        }
    }
}

impl Drop for Kept<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.close_all();
    }
}
