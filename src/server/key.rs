//! A key that holds an ordinary string, read and written in place.

use std::ops::RangeInclusive;
use std::os::raw::c_int;
use std::ptr;

use redis_module::raw;

use super::{api, call::Argument};
use crate::error::Error;

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
    /// How to open its bytes: for reading, or for writing too.
    mode: c_int,
    /// Whether it holds a string.
    exists: bool,
    /// The string's bytes and their number, once read.
    start: *mut u8,
    len: usize,
}

impl<'a> Key<'a> {
    pub(super) fn open(
        ctx: *mut raw::RedisModuleCtx,
        name: &'a Argument<'a>,
    ) -> Result<Self, Error<'a>> {
        Self::with_mode(ctx, name, READ_WRITE)
    }

    pub(super) fn peek(
        ctx: *mut raw::RedisModuleCtx,
        name: &'a Argument<'a>,
        now: u64,
    ) -> Result<Self, Error<'a>> {
        let mut key = Self::with_mode(ctx, name, UNSEEN)?;
        // SAFETY: GetAbsExpire takes an open key, and the NULL of an empty one.
        let expire_ms = unsafe { api!(RedisModule_GetAbsExpire(key.key)) };
        // Negative means never, as does the time that is too large.
        if u64::try_from(expire_ms).is_ok_and(|at| at < now / 1_000_000) {
            key.exists = false;
        }
        Ok(key)
    }

    fn with_mode(
        ctx: *mut raw::RedisModuleCtx,
        name: &'a Argument<'a>,
        mode: c_int,
    ) -> Result<Self, Error<'a>> {
        // SAFETY: ctx and name belong to the call in progress; KeyType and CloseKey take the
        // NULL that opening an empty key for reading gives.
        let (key, kind) = unsafe {
            let key = api!(RedisModule_OpenKey(ctx, name.string, mode));
            (key, api!(RedisModule_KeyType(key)) as isize)
        };
        let key = Self {
            ctx,
            name,
            key,
            mode: mode & READ_WRITE,
            exists: kind != raw::REDISMODULE_KEYTYPE_EMPTY,
            start: ptr::null_mut(),
            len: 0,
        };
        if key.exists && kind != raw::REDISMODULE_KEYTYPE_STRING {
            return Err(Error::WrongType);
        }
        Ok(key)
    }

    /// What is stored here, if anything.
    ///
    /// # Errors
    /// The string has a length that is not accepted.
    pub fn read(&mut self, lengths: RangeInclusive<usize>) -> Result<Option<&[u8]>, Error<'a>> {
        if !self.exists {
            return Ok(None);
        }
        // Asked first because reading in place unpacks a string that the server keeps as a
        // number, and a key that is not ours must stay as it is.
        // SAFETY: the key is open and not empty.
        if !lengths.contains(&unsafe { api!(RedisModule_ValueLength(self.key)) }) {
            return Err(Error::NotABucket);
        }
        self.locate()?;
        // SAFETY: `locate` found `len` bytes at `start`, which nothing changes while the key is
        // borrowed.
        Ok(Some(unsafe {
            std::slice::from_raw_parts(self.start, self.len)
        }))
    }

    /// Writes `bytes`, to expire at `expire_ms` (since 1970), and replicates that.
    ///
    /// # Errors
    /// A new key where the server's memory is used up, or the server refuses the write.
    pub fn write(&mut self, bytes: [u8; SIZE], expire_ms: i64) -> Result<(), Error<'a>> {
        self.check_writable()?;
        if self.len != SIZE {
            self.resize()?;
        }
        // SAFETY: the key is open for writing, and `start` is where its string has 16 bytes:
        // `read` or `resize` found them in this call, and nobody else has written since. ctx and
        // name belong to the call in progress; the variadic arguments are those of the format:
        // string object, buffer with its length, C string, long long.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.start, SIZE);
            api!(RedisModule_SetAbsExpire(self.key, expire_ms));
            api!(RedisModule_SignalModifiedKey(self.ctx, self.name.string));
            api!(RedisModule_Replicate(
                self.ctx,
                c"SET".as_ptr(),
                c"sbcl".as_ptr(),
                self.name.string,
                bytes.as_ptr(),
                bytes.len(),
                c"PXAT".as_ptr(),
                expire_ms,
            ));
        }
        Ok(())
    }

    /// Removes the key, and replicates that.
    ///
    /// # Errors
    /// The server refuses the write.
    pub fn remove(&mut self) -> Result<(), Error<'a>> {
        // SAFETY: the key is open for writing; ctx and name belong to the call in progress; the
        // one variadic argument is the format's string object.
        unsafe {
            if api!(RedisModule_DeleteKey(self.key)) as isize != raw::REDISMODULE_OK {
                return Err(Error::WriteFailed);
            }
            api!(RedisModule_SignalModifiedKey(self.ctx, self.name.string));
            api!(RedisModule_Replicate(
                self.ctx,
                c"DEL".as_ptr(),
                c"s".as_ptr(),
                self.name.string
            ));
        }
        (self.exists, self.start, self.len) = (false, ptr::null_mut(), 0);
        Ok(())
    }

    /// Makes sure that a write finds memory.
    ///
    /// # Errors
    /// The key would be new, and the server's memory is used up.
    pub fn check_writable(&self) -> Result<(), Error<'a>> {
        if self.exists {
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

    /// Makes the string 16 bytes long.
    fn resize(&mut self) -> Result<(), Error<'a>> {
        // SAFETY: the key is open for writing, and empty or a string.
        let status = unsafe { api!(RedisModule_StringTruncate(self.key, SIZE)) };
        if status as isize != raw::REDISMODULE_OK {
            return Err(Error::WriteFailed);
        }
        self.exists = true;
        self.locate()?;
        if self.len == SIZE {
            Ok(())
        } else {
            Err(Error::WriteFailed)
        }
    }

    /// Finds the string's bytes.
    fn locate(&mut self) -> Result<(), Error<'a>> {
        // SAFETY: the key is open and holds a string.
        self.start =
            unsafe { api!(RedisModule_StringDMA(self.key, &mut self.len, self.mode)) }.cast();
        if self.start.is_null() {
            self.len = 0;
            return Err(Error::NotABucket);
        }
        Ok(())
    }
}

impl Drop for Key<'_> {
    fn drop(&mut self) {
        // SAFETY: opened in `with_mode` and closed only here.
        unsafe { api!(RedisModule_CloseKey(self.key)) };
    }
}
