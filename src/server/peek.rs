//! Reads a key without side effects.

use std::ffi::CStr;

use redis_module::raw;

use super::api::api;
use super::argument::Argument;
use super::call::Call;
use super::eviction_stats::{EvictionStats, UNSEEN};
use super::expiry;
use super::refusal::Refusal;

/// The server commands that [`Call::peek`] calls by name.
pub const PEEK_COMMANDS: &[&CStr] = &[c"GET"];

/// The longest string that is looked at.
pub const MAX_LEN: usize = 160;

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A string.
    String,
    /// A sorted set.
    SortedSet,
    /// A hash.
    Hash,
    /// Any other type.
    Other,
}

/// The outside of a key's value.
#[derive(Clone, Copy, Debug)]
pub struct Outline {
    /// The value's type.
    pub kind: Type,
    /// Bytes of a string, members or fields of anything else.
    pub len: usize,
    /// The key's expiry in milliseconds since 1970; `None` if it has none.
    pub expires_at: Option<i64>,
}

/// A copy of a short string.
pub struct Copied {
    bytes: [u8; MAX_LEN],
    len: usize,
}

impl Copied {
    /// Returns the string.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Call<'_> {
    /// Returns the string that a key holds at the time of the call, or `None`.
    ///
    /// It is a copy made by `GET`. Reading in place unpacks a string that the server keeps packed
    /// (after a load, or on a replica), which takes memory and changes its time of last use.
    ///
    /// # Errors
    /// It is of another type than a string, or of a length that is not accepted, or cannot be read.
    pub fn peek(
        &mut self,
        name: &Argument<'_>,
        accepted: impl Fn(usize) -> bool,
    ) -> Result<Option<Copied>, Refusal> {
        self.kept.close_all();
        let Some(usage) = self.look_at(name, accepted)? else {
            return Ok(None);
        };
        let copy = self.get(name);
        if !usage.is_recent() {
            self.restore(name, &usage);
        }
        copy
    }

    /// Returns the type, length and expiry of a key's value, or `None` if there is no key.
    pub fn outline(&mut self, name: &Argument<'_>) -> Option<Outline> {
        self.kept.close_all();
        // SAFETY: ctx and name belong to the call in progress. The key holds something, and is
        // closed before anything else is done with it.
        unsafe {
            let key = api!(RedisModule_OpenKey(self.ctx, name.string, UNSEEN));
            let key: *mut raw::RedisModuleKey = key.cast();
            if key.is_null() {
                return None;
            }
            let outline = (!expiry::has_passed(key, self.now())).then(|| Outline {
                kind: match api!(RedisModule_KeyType(key)) as isize {
                    raw::REDISMODULE_KEYTYPE_STRING => Type::String,
                    raw::REDISMODULE_KEYTYPE_ZSET => Type::SortedSet,
                    raw::REDISMODULE_KEYTYPE_HASH => Type::Hash,
                    _ => Type::Other,
                },
                len: api!(RedisModule_ValueLength(key)),
                expires_at: expiry::get(key),
            });
            api!(RedisModule_CloseKey(key));
            outline
        }
    }

    /// Returns the usage record of such a string, or `None` if there is none.
    fn look_at(
        &mut self,
        name: &Argument<'_>,
        accepted: impl Fn(usize) -> bool,
    ) -> Result<Option<EvictionStats>, Refusal> {
        // SAFETY: ctx and name belong to the call in progress. The key is closed before anything
        // else is done with it.
        unsafe {
            let key = api!(RedisModule_OpenKey(self.ctx, name.string, UNSEEN));
            let key: *mut raw::RedisModuleKey = key.cast();
            if key.is_null() {
                return Ok(None);
            }
            let found = self.look_at_open(key, accepted);
            api!(RedisModule_CloseKey(key));
            found
        }
    }

    /// # Safety
    /// `key` must be open and hold something.
    unsafe fn look_at_open(
        &self,
        key: *mut raw::RedisModuleKey,
        accepted: impl Fn(usize) -> bool,
    ) -> Result<Option<EvictionStats>, Refusal> {
        // SAFETY: guaranteed by the caller.
        unsafe {
            if expiry::has_passed(key, self.now()) {
                return Ok(None);
            }
            if api!(RedisModule_KeyType(key)) as isize != raw::REDISMODULE_KEYTYPE_STRING {
                return Err(Refusal::WrongType);
            }
            if !accepted(api!(RedisModule_ValueLength(key))) {
                return Err(Refusal::OtherLength);
            }
            Ok(Some(EvictionStats::of(key)))
        }
    }

    /// Calls the server's `GET`. A missing command must not be mistaken for a missing key.
    fn get(&mut self, name: &Argument<'_>) -> Result<Option<Copied>, Refusal> {
        // SAFETY: ctx and name belong to the call in progress; `s` stands for one string object.
        // The reply is freed after it was copied.
        unsafe {
            let get = c"GET".as_ptr();
            let reply = api!(RedisModule_Call(self.ctx, get, c"s".as_ptr(), name.string));
            if reply.is_null() {
                return Err(Refusal::ReadFailed);
            }
            let copy = copy_of(reply);
            api!(RedisModule_FreeCallReply(reply));
            copy
        }
    }

    /// Restores the usage record, which `GET` has changed.
    fn restore(&mut self, name: &Argument<'_>, usage: &EvictionStats) {
        // SAFETY: ctx and name belong to the call in progress; the key is closed again at once.
        unsafe {
            let key = api!(RedisModule_OpenKey(self.ctx, name.string, UNSEEN));
            let key: *mut raw::RedisModuleKey = key.cast();
            if key.is_null() {
                return;
            }
            usage.restore(key);
            api!(RedisModule_CloseKey(key));
        }
    }
}

/// Returns a copy of a string reply; `None` for the null reply of a key that has just expired.
///
/// # Safety
/// `reply` must be that of a call that has returned.
unsafe fn copy_of(reply: *mut raw::RedisModuleCallReply) -> Result<Option<Copied>, Refusal> {
    // SAFETY: guaranteed by the caller. The bytes live as long as the reply, and fit the copy.
    unsafe {
        match api!(RedisModule_CallReplyType(reply)) as isize {
            raw::REDISMODULE_REPLY_STRING => {}
            raw::REDISMODULE_REPLY_NULL => return Ok(None),
            _ => return Err(Refusal::ReadFailed),
        }
        let mut len = 0;
        let start = api!(RedisModule_CallReplyStringPtr(reply, &mut len));
        let mut bytes = [0; MAX_LEN];
        if start.is_null() || len > MAX_LEN {
            return Err(Refusal::ReadFailed);
        }
        std::ptr::copy_nonoverlapping(start.cast(), bytes.as_mut_ptr(), len);
        Ok(Some(Copied { bytes, len }))
    }
}
