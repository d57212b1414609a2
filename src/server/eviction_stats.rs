//! The server's record of a key's use, so that a peek can leave it unchanged.

use std::os::raw::{c_int, c_longlong};

use redis_module::raw;

use super::api::api;

/// Opens a key without side effects: it leaves the time of last use, sends no event for a miss and,
/// from 7.2 on, does not remove an expired key. Servers ignore flags that they do not know.
pub(super) const UNSEEN: c_int = (raw::REDISMODULE_READ
    | raw::REDISMODULE_OPEN_KEY_NOTOUCH
    | raw::REDISMODULE_OPEN_KEY_NONOTIFY
    | raw::REDISMODULE_OPEN_KEY_NOEXPIRE) as c_int;

/// The server's record of a key's use: idle time or frequency, depending on its eviction policy.
pub(super) struct EvictionStats {
    idle_ms: c_longlong,
    frequency: c_longlong,
}

impl EvictionStats {
    /// # Safety
    /// `key` must be open and hold something.
    pub(super) unsafe fn of(key: *mut raw::RedisModuleKey) -> Self {
        let mut usage = Self {
            idle_ms: -1,
            frequency: -1,
        };
        // SAFETY: guaranteed by the caller.
        unsafe {
            api!(RedisModule_GetLRU(key, &mut usage.idle_ms));
            api!(RedisModule_GetLFU(key, &mut usage.frequency));
        }
        usage
    }

    /// Returns whether the key was used so recently that another use changes nothing.
    pub(super) fn is_recent(&self) -> bool {
        self.idle_ms <= 0 && self.frequency < 0
    }

    /// Restores the record.
    ///
    /// # Safety
    /// As for [`of`](Self::of).
    pub(super) unsafe fn restore(&self, key: *mut raw::RedisModuleKey) {
        // SAFETY: guaranteed by the caller.
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

/// Sets the idle time of a key.
///
/// Valkey 9.1 stores a value that is too large by orders of magnitude. Read it back and, if it is
/// wrong, mark the key as just used: it is then evicted later than necessary, rather than before
/// others.
///
/// # Safety
/// `key` must be open and hold something.
unsafe fn set_idle(key: *mut raw::RedisModuleKey, idle_ms: c_longlong) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        api!(RedisModule_SetLRU(key, idle_ms));
        let mut taken = -1;
        api!(RedisModule_GetLRU(key, &mut taken));
        if taken > idle_ms.saturating_mul(2) {
            api!(RedisModule_SetLRU(key, 0));
        }
    }
}
