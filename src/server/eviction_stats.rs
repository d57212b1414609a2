//! What the server notes of a key's use, so that a look can leave no trace.

use std::os::raw::{c_int, c_longlong};

use redis_module::raw;

use super::api::api;

/// Leaves no trace: no time of last use, no event of a miss and, where the server can (7.2), no
/// removal of a key that has expired. Servers ignore what they do not know.
pub(super) const UNSEEN: c_int = (raw::REDISMODULE_READ
    | raw::REDISMODULE_OPEN_KEY_NOTOUCH
    | raw::REDISMODULE_OPEN_KEY_NONOTIFY
    | raw::REDISMODULE_OPEN_KEY_NOEXPIRE) as c_int;

/// What the server notes of a key's use: idle time or frequency, by its eviction policy.
pub(super) struct Usage {
    idle_ms: c_longlong,
    frequency: c_longlong,
}

impl Usage {
    /// # Safety
    /// `key` must be open and hold something.
    pub(super) unsafe fn of(key: *mut raw::RedisModuleKey) -> Self {
        let mut usage = Self {
            idle_ms: -1,
            frequency: -1,
        };
        // SAFETY: the caller's promise.
        unsafe {
            api!(RedisModule_GetLRU(key, &mut usage.idle_ms));
            api!(RedisModule_GetLFU(key, &mut usage.frequency));
        }
        usage
    }

    /// Whether it was used so lately that one more use leaves no mark.
    pub(super) fn is_recent(&self) -> bool {
        self.idle_ms <= 0 && self.frequency < 0
    }

    /// Puts back what the server noted.
    ///
    /// # Safety
    /// As for [`of`](Self::of).
    pub(super) unsafe fn restore(&self, key: *mut raw::RedisModuleKey) {
        // SAFETY: the caller's promise.
        unsafe {
            if self.idle_ms > 0 {
                set_idle(key, self.idle_ms);
            }
            if self.frequency >= 0 {
                api!(RedisModule_SetLFU(key, self.frequency));
            }
        }
    }
}

/// Sets since when a key is idle.
///
/// Valkey 9.1 makes more of it by orders of magnitude. So what it took is looked at, and if that is
/// wrong the key counts as just used: evicted later than it might be, rather than before others.
///
/// # Safety
/// `key` must be open and hold something.
unsafe fn set_idle(key: *mut raw::RedisModuleKey, idle_ms: c_longlong) {
    // SAFETY: the caller's promise.
    unsafe {
        api!(RedisModule_SetLRU(key, idle_ms));
        let mut taken = -1;
        api!(RedisModule_GetLRU(key, &mut taken));
        if taken > idle_ms.saturating_mul(2) {
            api!(RedisModule_SetLRU(key, 0));
        }
    }
}
