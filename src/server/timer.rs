//! The module's one timer.
//!
//! The server's timers follow the wall clock. After a step back they would be late by as much, so
//! the server's cron event checks the timer, several times a second.

use std::ffi::c_void;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis_module::raw;

use super::api::{api, OK};
use super::call::Call;
use super::clock;
use super::hooks::hooks;

/// How much later than it should a timer may be due before it is set again, in milliseconds.
const TOLERANCE_MS: u64 = 20;

#[derive(Clone, Copy)]
struct Armed {
    id: raw::RedisModuleTimerID,
    /// When it is due, by the monotonic clock.
    due_ms: u64,
}

static TIMER: Mutex<Option<Armed>> = Mutex::new(None);

/// Returns the timer. The lock must not be held while the server is called.
fn timer() -> MutexGuard<'static, Option<Armed>> {
    TIMER.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Call<'_> {
    /// Returns the milliseconds of a clock that never steps back.
    pub fn monotonic_ms(&self) -> u64 {
        clock::monotonic_ms()
    }

    /// Makes the module's timer run in `ms` milliseconds at the latest.
    pub fn wake_in(&self, ms: u64) {
        let due_ms = self.monotonic_ms().saturating_add(ms);
        let armed = *timer();
        if armed.is_some_and(|armed| armed.due_ms <= due_ms) {
            return;
        }
        // SAFETY: ctx is that of the call in progress.
        unsafe {
            stop(self.ctx);
            start(self.ctx, due_ms, ms);
        }
    }

    /// Stops the module's timer: the server refuses to unload a module with one.
    pub fn sleep(&self) {
        // SAFETY: ctx is that of the call in progress.
        unsafe { stop(self.ctx) };
    }
}

/// # Safety
/// `ctx` must be that of a call in progress.
unsafe fn start(ctx: *mut raw::RedisModuleCtx, due_ms: u64, ms: u64) {
    let period = i64::try_from(ms).unwrap_or(i64::MAX);
    // SAFETY: guaranteed by the caller; the callback is the library's, which is not unloaded while
    // the timer is armed.
    let id = unsafe {
        api!(RedisModule_CreateTimer(
            ctx,
            period,
            Some(on_time),
            ptr::null_mut()
        ))
    };
    *timer() = Some(Armed { id, due_ms });
}

/// # Safety
/// `ctx` must be that of a call in progress.
pub(super) unsafe fn stop(ctx: *mut raw::RedisModuleCtx) {
    let armed = timer().take();
    if let Some(armed) = armed {
        // SAFETY: guaranteed by the caller; the timer has not run yet.
        unsafe { api!(RedisModule_StopTimer(ctx, armed.id, ptr::null_mut())) };
    }
}

/// Sets the timer again if a step of the wall clock has moved it.
///
/// # Safety
/// `ctx` must be that of an event.
pub(super) unsafe fn correct(ctx: *mut raw::RedisModuleCtx) {
    let Some(armed) = *timer() else {
        return;
    };
    let left_ms = armed.due_ms.saturating_sub(clock::monotonic_ms());
    let mut remaining = 0;
    // SAFETY: guaranteed by the caller; the timer has not run yet.
    unsafe {
        let data = ptr::null_mut();
        let status = api!(RedisModule_GetTimerInfo(
            ctx,
            armed.id,
            &mut remaining,
            data
        ));
        if status == OK && remaining > left_ms.saturating_add(TOLERANCE_MS) {
            stop(ctx);
            start(ctx, armed.due_ms, left_ms);
        }
    }
}

unsafe extern "C" fn on_time(ctx: *mut raw::RedisModuleCtx, _data: *mut c_void) {
    *timer() = None;
    // SAFETY: the server calls this with the context of a timer.
    (hooks().tick)(&mut unsafe { Call::of_server(ctx) });
}
