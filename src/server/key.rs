//! A key that holds an ordinary string, read and written in place.

use std::ops::RangeInclusive;
use std::os::raw::c_int;
use std::ptr;

use redis_module::raw;

use super::{api, call::Argument, expiry, stream};
use redis_rl_limits::error::Error;

const READ: c_int = raw::REDISMODULE_READ as c_int;
const READ_WRITE: c_int = (raw::REDISMODULE_READ | raw::REDISMODULE_WRITE) as c_int;
/// Leaves no trace: no time of last use, no event of a miss and, where the server can (7.2), no
/// removal of a key that has expired. Servers ignore what they do not know.
const UNSEEN: c_int = READ
    | (raw::REDISMODULE_OPEN_KEY_NOTOUCH
        | raw::REDISMODULE_OPEN_KEY_NONOTIFY
        | raw::REDISMODULE_OPEN_KEY_NOEXPIRE) as c_int;

/// Bytes of what is written.
const SIZE: usize = 16;

/// An open key that holds a string or nothing. Closed when dropped.
pub struct Key<'a> {
    ctx: *mut raw::RedisModuleCtx,
    name: &'a Argument<'a>,
    key: *mut raw::RedisModuleKey,
    /// The string's bytes; null where there is nothing.
    start: *mut u8,
    len: usize,
}

impl<'a> Key<'a> {
    /// Opens a key for reading and writing.
    pub(super) fn open(
        ctx: *mut raw::RedisModuleCtx,
        name: &'a Argument<'a>,
        lengths: RangeInclusive<usize>,
    ) -> Result<Self, Error<'a>> {
        let mut key = Self::with_mode(ctx, name, READ_WRITE);
        key.locate(lengths, READ_WRITE)?;
        Ok(key)
    }

    /// Opens a key for reading, as it stands at `now`.
    pub(super) fn peek(
        ctx: *mut raw::RedisModuleCtx,
        name: &'a Argument<'a>,
        lengths: RangeInclusive<usize>,
        now: u64,
    ) -> Result<Self, Error<'a>> {
        let mut key = Self::with_mode(ctx, name, UNSEEN);
        if key.key.is_null() {
            return Ok(key);
        }
        // SAFETY: the key is open, and not NULL.
        if !unsafe { expiry::has_passed(key.key, now) } {
            key.locate(lengths, READ)?;
        }
        Ok(key)
    }

    fn with_mode(ctx: *mut raw::RedisModuleCtx, name: &'a Argument<'a>, mode: c_int) -> Self {
        Self {
            ctx,
            name,
            // SAFETY: ctx and name belong to the call in progress. NULL, which opening an empty
            // key for reading gives, is what all functions that read take for an empty key.
            key: unsafe { api!(RedisModule_OpenKey(ctx, name.string, mode)) }.cast(),
            start: ptr::null_mut(),
            len: 0,
        }
    }

    /// Finds the string's bytes.
    fn locate(&mut self, lengths: RangeInclusive<usize>, mode: c_int) -> Result<(), Error<'a>> {
        // SAFETY: the key is open. The length is asked first because reading in place unpacks a
        // string that the server keeps as a number, and a key that is not ours should stay as it
        // is. (One of just as many digits is unpacked all the same; it reads as before.)
        unsafe {
            if lengths.contains(&api!(RedisModule_ValueLength(self.key))) {
                let mut len = 0;
                self.start = api!(RedisModule_StringDMA(self.key, &mut len, mode)).cast();
                self.len = len;
            }
        }
        if self.start.is_null() {
            self.check_empty()
        } else {
            Ok(())
        }
    }

    /// What is stored here, if anything.
    pub fn value(&self) -> Option<&[u8]> {
        if self.start.is_null() {
            return None;
        }
        // SAFETY: `locate` found `len` bytes at `start`, which nothing changes while the key is
        // borrowed.
        Some(unsafe { std::slice::from_raw_parts(self.start, self.len) })
    }

    /// That nothing is stored here.
    fn check_empty(&self) -> Result<(), Error<'a>> {
        // SAFETY: the key is open.
        match unsafe { api!(RedisModule_KeyType(self.key)) } as isize {
            raw::REDISMODULE_KEYTYPE_EMPTY => Ok(()),
            raw::REDISMODULE_KEYTYPE_STRING => Err(Error::NotABucket),
            _ => Err(Error::WrongType),
        }
    }

    /// Writes `bytes`, to expire at `expire_ms` (since 1970), and replicates that. Whether there is
    /// memory for it [`check_writable`](Self::check_writable) tells.
    ///
    /// # Errors
    /// The server refuses the write.
    pub fn write(&mut self, bytes: [u8; SIZE], expire_ms: i64) -> Result<(), Error<'a>> {
        if self.len != SIZE {
            self.resize()?;
        }
        // SAFETY: the key is open for writing, and `start` is where its string has 16 bytes:
        // `locate` or `resize` found them in this call. Since then at most other keys have been
        // written, and what those need is not taken from this string: opened for writing, it has
        // a buffer of its own. ctx and name belong to the call in progress.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.start, SIZE);
            expiry::set(self.key, expire_ms);
            api!(RedisModule_SignalModifiedKey(self.ctx, self.name.string));
            stream::set(self.ctx, self.name, &bytes, expire_ms);
        }
        Ok(())
    }

    /// Removes the key, and replicates that.
    ///
    /// # Errors
    /// The server refuses the write.
    pub fn remove(&mut self) -> Result<(), Error<'a>> {
        (self.start, self.len) = (ptr::null_mut(), 0);
        // SAFETY: the key is open for writing; ctx and name belong to the call in progress.
        unsafe {
            if api!(RedisModule_DeleteKey(self.key)) as isize != raw::REDISMODULE_OK {
                return Err(Error::WriteFailed);
            }
            api!(RedisModule_SignalModifiedKey(self.ctx, self.name.string));
            stream::remove(self.ctx, self.name);
        }
        Ok(())
    }

    /// Makes sure that a write finds memory.
    ///
    /// # Errors
    /// The key would be new, and the server's memory is used up.
    pub fn check_writable(&self) -> Result<(), Error<'a>> {
        if !self.start.is_null() {
            return Ok(());
        }
        // SAFETY: ctx is that of the call in progress.
        let flags = unsafe { api!(RedisModule_GetContextFlags(self.ctx)) } as u32;
        let full = flags & raw::REDISMODULE_CTX_FLAGS_OOM != 0;
        let evicts = flags & raw::REDISMODULE_CTX_FLAGS_EVICT != 0;
        if full && !evicts {
            return Err(Error::OutOfMemory);
        }
        Ok(())
    }

    /// Closes the key, so that others may have it.
    pub fn close(self) {}

    /// Makes the string 16 bytes long, or makes one.
    fn resize(&mut self) -> Result<(), Error<'a>> {
        // SAFETY: the key is open for writing, and empty or a string.
        let status = unsafe { api!(RedisModule_StringTruncate(self.key, SIZE)) };
        if status as isize != raw::REDISMODULE_OK {
            return Err(Error::WriteFailed);
        }
        self.locate(SIZE..=SIZE, READ_WRITE)
    }
}

impl Drop for Key<'_> {
    fn drop(&mut self) {
        // SAFETY: opened in `with_mode` and closed only here.
        unsafe { api!(RedisModule_CloseKey(self.key)) };
    }
}
