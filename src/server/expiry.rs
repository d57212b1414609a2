//! When a key expires, in milliseconds since 1970.
//!
//! Redis 6.2 knows only the time that is left by its own clock; what is written here says how
//! that comes to the same, to the millisecond, since replicas are told the time itself.

use std::os::raw::c_longlong;

use redis_module::raw;

use super::api::api;

/// What 6.2 gives as the time that is left where there is no expiry.
const NO_EXPIRE: c_longlong = raw::REDISMODULE_NO_EXPIRE as c_longlong;

/// Sets when the key expires.
///
/// # Safety
/// `key` must be open for writing and hold something.
#[inline(always)]
pub(super) unsafe fn set(key: *mut raw::RedisModuleKey, expire_ms: c_longlong) {
    // SAFETY: the caller's promise; a function pointer that the load has filled in.
    unsafe {
        match raw::RedisModule_SetAbsExpire {
            Some(set) => {
                set(key, expire_ms);
            }
            None => set_by_time_left(key, expire_ms),
        }
    }
}

/// How often it is tried to see the same millisecond before and after. A key of megabytes takes
/// longer than one to be looked up, so it may never be seen; then the expiry is later by as long as
/// that takes.
const TRIES: u32 = 3;

/// # Safety
/// As for [`set`].
#[cold]
unsafe fn set_by_time_left(key: *mut raw::RedisModuleKey, expire_ms: c_longlong) {
    for _ in 0..TRIES {
        // SAFETY: the caller's promise.
        unsafe {
            let now_ms = api!(RedisModule_Milliseconds());
            // Below 0 would mean never.
            let left = expire_ms.saturating_sub(now_ms).max(0);
            api!(RedisModule_SetExpire(key, left));
            // The server counted from its clock as it stood in between.
            if api!(RedisModule_Milliseconds()) == now_ms {
                return;
            }
        }
    }
}

/// Lets the key never expire.
///
/// # Safety
/// As for [`set`].
pub(super) unsafe fn remove(key: *mut raw::RedisModuleKey) {
    // SAFETY: the caller's promise.
    unsafe { api!(RedisModule_SetExpire(key, NO_EXPIRE)) };
}

/// When the key expires; `None` if never. Of a key that has expired already, 6.2 says only that: then
/// it is 0.
///
/// # Safety
/// `key` must be open.
#[inline(always)]
pub(super) unsafe fn get(key: *mut raw::RedisModuleKey) -> Option<c_longlong> {
    // SAFETY: the caller's promise; a function pointer that the load has filled in.
    unsafe {
        match raw::RedisModule_GetAbsExpire {
            // Negative means never.
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
        // SAFETY: the caller's promise.
        unsafe {
            let before_ms = api!(RedisModule_Milliseconds());
            let left = api!(RedisModule_GetExpire(key));
            if left == NO_EXPIRE {
                return None;
            }
            if left == 0 {
                return Some(0);
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

/// Whether the key has expired at `now`, in nanoseconds since 1970.
///
/// # Safety
/// `key` must be open and hold something.
pub(super) unsafe fn has_passed(key: *mut raw::RedisModuleKey, now: u64) -> bool {
    let now_ms = c_longlong::try_from(now / 1_000_000).unwrap_or(c_longlong::MAX);
    // SAFETY: the caller's promise.
    unsafe { get(key) }.is_some_and(|at| at < now_ms)
}
