//! A key that holds an ordinary string, read and written in place.

use std::ptr;

use redis_module::raw;

use super::api::api;
use super::argument::Argument;
use super::call::Call;
use super::kept::{Handle, Kept, READ_WRITE};
use super::refusal::Refusal;
use super::{expiry, memory, replication};

/// An open key that holds a string or nothing. Closed when dropped.
///
/// It borrows the call, so only one key is in use at a time. Another may be open for a later use:
/// see [`kept`](super::kept).
pub struct Key<'k> {
    ctx: *mut raw::RedisModuleCtx,
    name: &'k Argument<'k>,
    open: Handle,
    kept: &'k Kept<'k>,
    now: u64,
}

impl<'a> Call<'a> {
    /// Opens a key for reading and writing.
    #[inline(always)]
    pub fn open<'k>(&'k mut self, name: &'k Argument<'k>) -> Key<'k> {
        // SAFETY: ctx and name belong to the call in progress, which a key in use would borrow.
        let open = unsafe { self.kept.open(self.ctx, name) };
        Key {
            ctx: self.ctx,
            name,
            open,
            kept: &self.kept,
            now: self.now(),
        }
    }
}

impl<'a> Call<'a> {
    /// Lets the keys that every `step`-th one of `names` names stay open from their first use until the
    /// call ends, if that is [safe](super::kept). Must come before their first use.
    ///
    /// # Errors
    /// A key is given twice.
    #[inline(always)]
    pub fn keep_open(&mut self, names: &'a [Argument<'a>], step: usize) -> Result<(), &'a [u8]> {
        self.kept.close_all();
        // SAFETY: ctx is that of the call in progress.
        self.kept = unsafe { Kept::of(self.ctx, self.seed(), names, step) }?;
        Ok(())
    }
}

impl Call<'_> {
    /// Checks that there is memory for a new key.
    ///
    /// # Errors
    /// The server's memory is used up.
    pub fn check_memory(&self) -> Result<(), Refusal> {
        // SAFETY: ctx is that of the call in progress.
        match unsafe { memory::is_used_up(self.ctx) } {
            true => Err(Refusal::OutOfMemory),
            false => Ok(()),
        }
    }

    /// Returns a number that clients cannot know, from the library's address and the time of the
    /// call.
    pub fn seed(&self) -> u64 {
        (memory::is_used_up as *const () as u64) ^ self.now()
    }
}

impl Key<'_> {
    /// Returns the stored string, or `None` if the key does not exist.
    ///
    /// # Errors
    /// It is of another type than a string, or of a length that is not accepted.
    #[inline(always)]
    pub fn read(&mut self, accepted: impl Fn(usize) -> bool) -> Result<Option<&[u8]>, Refusal> {
        // SAFETY: the key is open, and holds something if its length is not 0. The length is asked
        // first because reading in place unpacks a string that the server keeps packed, and a key
        // that is not ours should stay as it is.
        unsafe {
            let len = api!(RedisModule_ValueLength(self.open.key));
            match len > 0 && accepted(len) {
                true => self.locate(),
                false => self.open.start = ptr::null_mut(),
            }
        }
        if self.open.start.is_null() {
            return self.check_empty().map(|()| None);
        }
        // SAFETY: `locate` found `len` bytes at `start`, which nothing changes while the key is
        // borrowed.
        Ok(Some(unsafe {
            std::slice::from_raw_parts(self.open.start, self.open.len)
        }))
    }

    /// Locates the string's bytes, if the key holds a string.
    ///
    /// # Safety
    /// The key must hold something.
    unsafe fn locate(&mut self) {
        let mut len = 0;
        // SAFETY: the key is open for reading and writing. StringDMA returns NULL if the key does
        // not hold a string.
        self.open.start =
            unsafe { api!(RedisModule_StringDMA(self.open.key, &mut len, READ_WRITE)) }.cast();
        self.open.len = len;
    }

    fn check_empty(&self) -> Result<(), Refusal> {
        // SAFETY: the key is open.
        match unsafe { api!(RedisModule_KeyType(self.open.key)) } as isize {
            raw::REDISMODULE_KEYTYPE_EMPTY => Ok(()),
            raw::REDISMODULE_KEYTYPE_STRING => Err(Refusal::OtherLength),
            _ => Err(Refusal::WrongType),
        }
    }

    /// Returns whether [`read`](Self::read) found a string, or one was written.
    #[inline(always)]
    pub fn exists(&self) -> bool {
        self.open.len > 0
    }

    /// Returns whether the string was read, in this use of the key or in an earlier one of the call.
    #[inline(always)]
    pub fn is_read(&self) -> bool {
        !self.open.start.is_null()
    }

    /// Returns the length of the string that [`read`](Self::read) found; 0 if there is none.
    pub fn len(&self) -> usize {
        self.open.len
    }

    /// Extends the key's expiry by `slack` beyond `at_ms` (milliseconds since 1970) if it would expire
    /// earlier than that, and replicates the change.
    #[inline(always)]
    pub fn keep_until(&mut self, at_ms: i64, slack: impl Fn() -> i64) {
        if self.exists() && self.expires_at().is_some_and(|at| at < at_ms) {
            self.extend(at_ms.saturating_add(slack()));
        }
    }

    #[cold]
    fn extend(&mut self, at_ms: i64) {
        // SAFETY: the key holds a string of `len` bytes. Those that `locate` finds do not move
        // before the expiry is set, which is when the last use of the slice is over. ctx and name
        // belong to the call in progress.
        unsafe {
            self.locate();
            if !self.open.start.is_null() {
                let bytes = std::slice::from_raw_parts(self.open.start, self.open.len);
                replication::set(self.ctx, self.name, bytes, at_ms);
                self.expire_at(at_ms);
            }
        }
    }

    /// Returns the key's expiry in milliseconds since 1970, or `None` if it has none or does not
    /// exist.
    #[inline(always)]
    pub fn expires_at(&mut self) -> Option<i64> {
        // SAFETY: the key is open.
        let ask = || unsafe { expiry::get(self.open.key) };
        *self.open.expiry.get_or_insert_with(ask)
    }

    /// Returns whether the key has expired at the time of the call. The server, which uses one time
    /// for a whole transaction or script, may still have it.
    ///
    /// Redis 6.2 does not return an expiry that has passed, and it may have passed since the call
    /// began. A value that `lasts` at the time of the call then decides.
    #[inline(always)]
    pub fn has_expired(&mut self, lasts: impl FnOnce() -> bool) -> bool {
        let now_ms = expiry::millis(self.now);
        match self.expires_at() {
            Some(expiry::HAS_PASSED) => !lasts(),
            at => at.is_some_and(|at| at < now_ms),
        }
    }

    /// Writes `bytes` and replicates that. The key keeps its expiry if that is at `at_ms` (milliseconds
    /// since 1970) or at most `slack` later, and otherwise expires that much later. The caller must
    /// have called [`check_memory`](Self::check_memory).
    ///
    /// # Errors
    /// The server refuses the write.
    #[inline(always)]
    pub fn write(
        &mut self,
        bytes: &[u8],
        at_ms: i64,
        slack: impl Fn() -> i64,
    ) -> Result<(), Refusal> {
        let latest = at_ms.saturating_add(slack());
        let stays = |at| at_ms <= at && at <= latest;
        let keeps_expiry = self.exists() && self.expires_at().is_some_and(stays);
        if self.open.start.is_null() || self.open.len != bytes.len() {
            self.resize(bytes.len())?;
        }
        // SAFETY: `start` points to that many bytes of the string: `locate` found them since the
        // expiry was last set, and nothing else that could move them is called while the key is
        // borrowed. ctx and name belong to the call in progress.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.open.start, bytes.len());
            if keeps_expiry {
                api!(RedisModule_SignalModifiedKey(self.ctx, self.name.string));
                replication::set_value(self.ctx, self.name, bytes);
            } else {
                self.expire_at(latest);
                replication::set(self.ctx, self.name, bytes, latest);
            }
        }
        Ok(())
    }

    /// Sets the expiry and signals the key as modified.
    ///
    /// # Safety
    /// The key must hold a string.
    #[inline(always)]
    unsafe fn expire_at(&mut self, expire_ms: i64) {
        self.open.start = ptr::null_mut();
        self.open.expiry = Some(Some(expire_ms));
        // SAFETY: guaranteed by the caller; the key is open for writing. ctx and name belong to the
        // call in progress.
        unsafe {
            expiry::set(self.open.key, expire_ms);
            api!(RedisModule_SignalModifiedKey(self.ctx, self.name.string));
        }
    }

    /// Removes the key and replicates that.
    ///
    /// # Errors
    /// The server refuses the write.
    pub fn remove(&mut self) -> Result<(), Refusal> {
        (self.open.start, self.open.len, self.open.expiry) = (ptr::null_mut(), 0, None);
        // SAFETY: the key is open for writing; ctx and name belong to the call in progress.
        unsafe {
            if api!(RedisModule_DeleteKey(self.open.key)) as isize != raw::REDISMODULE_OK {
                return Err(Refusal::WriteFailed);
            }
            api!(RedisModule_SignalModifiedKey(self.ctx, self.name.string));
            replication::remove(self.ctx, self.name);
        }
        Ok(())
    }

    /// Checks that there is memory for a write. A key that exists can always be written.
    ///
    /// # Errors
    /// The key would be new, and the server's memory is used up.
    #[inline(always)]
    pub fn check_memory(&self) -> Result<(), Refusal> {
        // SAFETY: ctx is that of the call in progress.
        if !self.exists() && unsafe { memory::is_used_up(self.ctx) } {
            return Err(Refusal::OutOfMemory);
        }
        Ok(())
    }

    /// Sets the length of the string, creating it if necessary.
    fn resize(&mut self, len: usize) -> Result<(), Refusal> {
        // SAFETY: the key is open for writing, and empty or a string.
        let status = unsafe { api!(RedisModule_StringTruncate(self.open.key, len)) };
        if status as isize != raw::REDISMODULE_OK {
            return Err(Refusal::WriteFailed);
        }
        // SAFETY: the key holds a string now.
        unsafe { self.locate() };
        match self.open.len == len && !self.open.start.is_null() {
            true => Ok(()),
            false => Err(Refusal::WriteFailed),
        }
    }
}

impl Drop for Key<'_> {
    fn drop(&mut self) {
        // SAFETY: opened by `open` and closed only here.
        unsafe { self.kept.close(self.name, self.open) };
    }
}
