//! Reads and sets the expiry of a key, in milliseconds since 1970.
//!
//! The API of Redis 6.2 has only the time left by the server's own clock. This file converts it to
//! the absolute time exactly, because replicas receive the absolute time.

use std::os::raw::c_longlong;

use redis_module::raw;

use super::api::api;

/// The time left that 6.2 returns for a key without an expiry.
const NO_EXPIRE: c_longlong = raw::REDISMODULE_NO_EXPIRE as c_longlong;

/// Sets the expiry of the key.
///
/// # Safety
/// `key` must be open for writing and hold something.
#[inline(always)]
pub(super) unsafe fn set(key: *mut raw::RedisModuleKey, expire_ms: c_longlong) {
    // SAFETY: guaranteed by the caller; a function pointer that the load has filled in.
    unsafe {
        match raw::RedisModule_SetAbsExpire {
            Some(set) => {
                set(key, expire_ms);
            }
            None => set_by_time_left(key, expire_ms),
        }
    }
}

/// Maximum attempts to set the expiry within one millisecond of the server's clock. Looking up a
/// key of several megabytes takes longer than that, so every attempt may fail; the expiry is then
/// late by the duration of the lookup.
const TRIES: u32 = 3;

/// # Safety
/// As for [`set`].
#[cold]
unsafe fn set_by_time_left(key: *mut raw::RedisModuleKey, expire_ms: c_longlong) {
    for _ in 0..TRIES {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let now_ms = api!(RedisModule_Milliseconds());
            // A negative value would mean no expiry.
            let left = expire_ms.saturating_sub(now_ms).max(0);
            api!(RedisModule_SetExpire(key, left));
            // The server added the time left to its clock as read in between.
            if api!(RedisModule_Milliseconds()) == now_ms {
                return;
            }
        }
    }
}

/// Removes the expiry of the key.
///
/// # Safety
/// As for [`set`].
pub(super) unsafe fn remove(key: *mut raw::RedisModuleKey) {
    // SAFETY: guaranteed by the caller.
    unsafe { api!(RedisModule_SetExpire(key, NO_EXPIRE)) };
}

/// The expiry that [`get`] returns where the server does not return one that has passed.
pub(super) const HAS_PASSED: c_longlong = 0;

/// Returns the expiry of the key, or `None` if it has none. On 6.2 it is [`HAS_PASSED`] if it has
/// passed, or passes in this millisecond.
///
/// # Safety
/// `key` must be open.
#[inline(always)]
pub(super) unsafe fn get(key: *mut raw::RedisModuleKey) -> Option<c_longlong> {
    // SAFETY: guaranteed by the caller; a function pointer that the load has filled in.
    unsafe {
        match raw::RedisModule_GetAbsExpire {
            // A negative value means no expiry.
            Some(get) => Some(get(key)).filter(|&at| at >= 0),
            None => get_by_time_left(key),
        }
    }
}

/// # Safety
/// As for [`get`].
#[cold]
unsafe fn get_by_time_left(key: *mut raw::RedisModuleKey) -> Option<c_longlong> {
    let mut at = 0;
    for _ in 0..TRIES {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let before_ms = api!(RedisModule_Milliseconds());
            let left = api!(RedisModule_GetExpire(key));
            if left == NO_EXPIRE {
                return None;
            }
            if left == 0 {
                return Some(HAS_PASSED);
            }
            let now_ms = api!(RedisModule_Milliseconds());
            at = now_ms.saturating_add(left);
            if before_ms == now_ms {
                break;
            }
        }
    }
    Some(at)
}

/// Returns whether the key has expired at `now`, in nanoseconds since 1970.
///
/// # Safety
/// `key` must be open and hold something.
pub(super) unsafe fn has_passed(key: *mut raw::RedisModuleKey, now: u64) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe { get(key) }.is_some_and(|at| at < millis(now))
}

/// Converts nanoseconds since 1970 to milliseconds.
#[inline(always)]
pub(super) fn millis(now: u64) -> c_longlong {
    c_longlong::try_from(now / 1_000_000).unwrap_or(c_longlong::MAX)
}
