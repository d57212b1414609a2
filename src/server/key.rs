//! A key that holds an ordinary string, read and written in place.

use std::os::raw::c_int;
use std::ptr;

use redis_module::raw;

use super::api::api;
use super::argument::Argument;
use super::call::Call;
use super::refusal::Refusal;
use super::{expiry, memory, replication};

const READ_WRITE: c_int = (raw::REDISMODULE_READ | raw::REDISMODULE_WRITE) as c_int;

/// An open key that holds a string or nothing. Closed when dropped.
///
/// Opening a key may expire it, and other modules may react to that event by removing any other
/// key. Only one key is open at a time, therefore: it borrows the call.
pub struct Key<'k> {
    ctx: *mut raw::RedisModuleCtx,
    name: &'k Argument<'k>,
    key: *mut raw::RedisModuleKey,
    now: u64,
    /// The string's bytes; null if there is no string, if it was not read, or once the expiry was
    /// set: on servers that store the expiry with the value, that may move the value.
    start: *mut u8,
    /// The string's length; 0 if there is no string, or it was not read.
    len: usize,
    /// The key's expiry as the server returned it; `None` if it was not asked yet.
    expiry: Option<Option<i64>>,
}

impl<'a> Call<'a> {
    /// Opens a key for reading and writing.
    #[inline(always)]
    pub fn open<'k>(&'k mut self, name: &'k Argument<'k>) -> Key<'k> {
        Key {
            ctx: self.ctx,
            name,
            // SAFETY: ctx and name belong to the call in progress.
            key: unsafe { api!(RedisModule_OpenKey(self.ctx, name.string, READ_WRITE)) }.cast(),
            now: self.now(),
            start: ptr::null_mut(),
            len: 0,
            expiry: None,
        }
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
            let len = api!(RedisModule_ValueLength(self.key));
            if len > 0 && accepted(len) {
                self.locate();
            }
        }
        if self.start.is_null() {
            return self.check_empty().map(|()| None);
        }
        // SAFETY: `locate` found `len` bytes at `start`, which nothing changes while the key is
        // borrowed.
        Ok(Some(unsafe {
            std::slice::from_raw_parts(self.start, self.len)
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
        self.start = unsafe { api!(RedisModule_StringDMA(self.key, &mut len, READ_WRITE)) }.cast();
        self.len = len;
    }

    fn check_empty(&self) -> Result<(), Refusal> {
        // SAFETY: the key is open.
        match unsafe { api!(RedisModule_KeyType(self.key)) } as isize {
            raw::REDISMODULE_KEYTYPE_EMPTY => Ok(()),
            raw::REDISMODULE_KEYTYPE_STRING => Err(Refusal::OtherLength),
            _ => Err(Refusal::WrongType),
        }
    }

    /// Returns whether [`read`](Self::read) found a string, or one was written.
    #[inline(always)]
    pub fn exists(&self) -> bool {
        self.len > 0
    }

    /// Returns the length of the string that [`read`](Self::read) found; 0 if there is none.
    pub fn len(&self) -> usize {
        self.len
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
            if !self.start.is_null() {
                let bytes = std::slice::from_raw_parts(self.start, self.len);
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
        let ask = || unsafe { expiry::get(self.key, self.now) };
        *self.expiry.get_or_insert_with(ask)
    }

    /// Returns whether the key has expired at the time of the call. The server, which uses one time
    /// for a whole transaction or script, may still have it.
    #[inline(always)]
    pub fn has_expired(&mut self) -> bool {
        let now_ms = expiry::millis(self.now);
        self.expires_at().is_some_and(|at| at < now_ms)
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
        if self.start.is_null() || self.len != bytes.len() {
            self.resize(bytes.len())?;
        }
        // SAFETY: `start` points to that many bytes of the string: `locate` found them since the
        // expiry was last set, and nothing else that could move them is called while the key is
        // borrowed. ctx and name belong to the call in progress.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.start, bytes.len());
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
        self.start = ptr::null_mut();
        self.expiry = Some(Some(expire_ms));
        // SAFETY: guaranteed by the caller; the key is open for writing. ctx and name belong to the
        // call in progress.
        unsafe {
            expiry::set(self.key, expire_ms);
            api!(RedisModule_SignalModifiedKey(self.ctx, self.name.string));
        }
    }

    /// Removes the key and replicates that.
    ///
    /// # Errors
    /// The server refuses the write.
    pub fn remove(&mut self) -> Result<(), Refusal> {
        (self.start, self.len, self.expiry) = (ptr::null_mut(), 0, None);
        // SAFETY: the key is open for writing; ctx and name belong to the call in progress.
        unsafe {
            if api!(RedisModule_DeleteKey(self.key)) as isize != raw::REDISMODULE_OK {
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
        let status = unsafe { api!(RedisModule_StringTruncate(self.key, len)) };
        if status as isize != raw::REDISMODULE_OK {
            return Err(Refusal::WriteFailed);
        }
        // SAFETY: the key holds a string now.
        unsafe { self.locate() };
        match self.len == len && !self.start.is_null() {
            true => Ok(()),
            false => Err(Refusal::WriteFailed),
        }
    }
}

impl Drop for Key<'_> {
    fn drop(&mut self) {
        // SAFETY: opened by `open` and closed only here.
        unsafe { api!(RedisModule_CloseKey(self.key)) };
    }
}
