//! A bucket's key: an ordinary string of 16 bytes, read and written in place.

use std::os::raw::c_int;

use redis_module::raw;

use super::{api, call::Argument};
use crate::bucket::Bucket;
use crate::error::Error;

const READ_WRITE: c_int = (raw::REDISMODULE_READ | raw::REDISMODULE_WRITE) as c_int;

/// An open key that holds a string or nothing. Closed when dropped.
pub struct Key<'a> {
    ctx: *mut raw::RedisModuleCtx,
    name: &'a Argument<'a>,
    key: *mut raw::RedisModuleKey,
    exists: bool,
}

impl<'a> Key<'a> {
    pub(super) fn open(
        ctx: *mut raw::RedisModuleCtx,
        name: &'a Argument<'a>,
    ) -> Result<Self, Error<'a>> {
        // SAFETY: ctx and name belong to the call in progress; opening for writing never gives
        // NULL, and NULL is what KeyType and CloseKey take for an empty key anyway.
        let (key, kind) = unsafe {
            let key = api!(RedisModule_OpenKey(ctx, name.string, READ_WRITE));
            (key, api!(RedisModule_KeyType(key)) as isize)
        };
        let key = Self {
            ctx,
            name,
            key,
            exists: kind != raw::REDISMODULE_KEYTYPE_EMPTY,
        };
        if key.exists && kind != raw::REDISMODULE_KEYTYPE_STRING {
            return Err(Error::WrongType);
        }
        Ok(key)
    }

    /// The bucket that is stored here, if any.
    ///
    /// # Errors
    /// The string is no bucket.
    pub fn bucket(&mut self) -> Result<Option<Bucket>, Error<'a>> {
        if !self.exists {
            return Ok(None);
        }
        // Asked first because reading in place unpacks a string that the server keeps as a
        // number, and a key that is not ours must stay as it is.
        // SAFETY: the key is open.
        if unsafe { api!(RedisModule_ValueLength(self.key)) } != Bucket::SIZE {
            return Err(Error::NotABucket);
        }
        Bucket::from_bytes(self.value()?)
            .map(Some)
            .ok_or(Error::NotABucket)
    }

    /// Writes the bucket, to expire at `expire_ms` (since 1970), and replicates that.
    ///
    /// # Errors
    /// A new key where the server's memory is used up, or the server refuses the write.
    pub fn store(&mut self, bucket: Bucket, expire_ms: i64) -> Result<(), Error<'a>> {
        if !self.exists {
            self.create()?;
        }
        let bytes = bucket.to_bytes();
        self.value()?.copy_from_slice(&bytes);
        // SAFETY: the key is open for writing and not empty; ctx and name belong to the call in
        // progress; the variadic arguments are those of the format: string object, buffer with
        // its length, C string, long long.
        unsafe {
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

    fn create(&mut self) -> Result<(), Error<'a>> {
        // SAFETY: ctx is that of the call in progress.
        let flags = unsafe { api!(RedisModule_GetContextFlags(self.ctx)) } as u32;
        let full = flags & raw::REDISMODULE_CTX_FLAGS_OOM != 0;
        let evicts = flags & raw::REDISMODULE_CTX_FLAGS_EVICT != 0;
        if full && !evicts {
            return Err(Error::OutOfMemory);
        }
        // SAFETY: the key is open for writing and empty, so this makes a string of zeros.
        let status = unsafe { api!(RedisModule_StringTruncate(self.key, Bucket::SIZE)) };
        if status as isize != raw::REDISMODULE_OK {
            return Err(Error::WriteFailed);
        }
        self.exists = true;
        Ok(())
    }

    /// The stored 16 bytes.
    fn value(&mut self) -> Result<&mut [u8; Bucket::SIZE], Error<'a>> {
        let mut len = 0;
        // SAFETY: the key is open for writing and holds a string, whose start and length
        // StringDMA gives; the bytes are ours to change until the next call for this key, which
        // the exclusive borrow rules out.
        let bytes = unsafe {
            let start = api!(RedisModule_StringDMA(self.key, &mut len, READ_WRITE));
            if start.is_null() {
                return Err(Error::NotABucket);
            }
            std::slice::from_raw_parts_mut(start.cast::<u8>(), len)
        };
        bytes.try_into().map_err(|_| Error::NotABucket)
    }
}

impl Drop for Key<'_> {
    fn drop(&mut self) {
        // SAFETY: opened in `open` and closed only here.
        unsafe { api!(RedisModule_CloseKey(self.key)) };
    }
}
