//! When a key expires, in milliseconds since 1970.
//!
//! Redis 6.2 knows only the time that is left by its own clock; what is written here says how
//! that comes to the same, to the millisecond, since replicas are told the time itself.

use std::os::raw::c_longlong;

use redis_module::raw;

use super::api;

/// Sets when the key expires.
///
/// # Safety
/// `key` must be open for writing and hold something.
pub(super) unsafe fn set(key: *mut raw::RedisModuleKey, expire_ms: c_longlong) {
    // SAFETY: the caller's promise; a function pointer that the load has filled in.
    unsafe {
        if let Some(set) = raw::RedisModule_SetAbsExpire {
            set(key, expire_ms);
            return;
        }
        loop {
            let now_ms = api!(RedisModule_Milliseconds());
            // Below 0 would mean never.
            api!(RedisModule_SetExpire(
                key,
                expire_ms.saturating_sub(now_ms).max(0)
            ));
            // The server counted from its clock as it stood in between.
            if api!(RedisModule_Milliseconds()) == now_ms {
                return;
            }
        }
    }
}

/// Whether the key has expired at `now`, in nanoseconds since 1970.
///
/// # Safety
/// `key` must be open and hold something.
pub(super) unsafe fn has_passed(key: *mut raw::RedisModuleKey, now: u64) -> bool {
    // SAFETY: the caller's promise; a function pointer that the load has filled in.
    unsafe {
        match raw::RedisModule_GetAbsExpire {
            // Negative means never.
            Some(get) => u64::try_from(get(key)).is_ok_and(|at| at < now / 1_000_000),
            // A bucket is full no later than in the millisecond in which it expires.
            None => api!(RedisModule_GetExpire(key)) == 0,
        }
    }
}
