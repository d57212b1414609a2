//! The functions of the module that the server calls outside a command.

use std::os::raw::c_void;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use redis_module::raw;

use super::api::api;
use super::call::Call;

/// The module's callbacks outside its commands. A client is identified by the number under which it
/// was [blocked](Call::block).
pub struct Hooks {
    /// Replies to a client that was [unblocked](Call::unblock). Must not write to any key.
    pub answer: fn(&mut Call<'_>, u64),
    /// Replies at once to a client that CLIENT UNBLOCK ends. Must not write to any key.
    pub interrupt: fn(&mut Call<'_>, u64),
    /// A client is gone without a reply of the module. Must not write to any key.
    pub lost: fn(&mut Call<'_>, u64),
    /// The [timer](Call::wake_in) runs.
    pub tick: fn(&mut Call<'_>),
    /// The server has emptied or swapped databases.
    pub swept: fn(&mut Call<'_>),
}

static HOOKS: AtomicPtr<Hooks> = AtomicPtr::new(ptr::null_mut());

static NONE: Hooks = Hooks {
    answer: |_, _| (),
    interrupt: |_, _| (),
    lost: |_, _| (),
    tick: |_| (),
    swept: |_| (),
};

/// Returns the module's functions.
pub(super) fn hooks() -> &'static Hooks {
    // SAFETY: null, or the address of a static that is never changed.
    unsafe { HOOKS.load(Ordering::Relaxed).as_ref() }.unwrap_or(&NONE)
}

/// Subscribes to the events that concern them.
///
/// # Safety
/// `ctx` must be that of the module's load in progress.
pub(super) unsafe fn watch(ctx: *mut raw::RedisModuleCtx, hooks: &'static Hooks) {
    HOOKS.store(ptr::from_ref(hooks).cast_mut(), Ordering::Relaxed);
    for id in [
        raw::REDISMODULE_EVENT_FLUSHDB,
        raw::REDISMODULE_EVENT_SWAPDB,
    ] {
        let event = raw::RedisModuleEvent { id, dataver: 1 };
        // SAFETY: ctx is the load's. Without the event, keys are found to be gone a little later.
        unsafe {
            api!(RedisModule_SubscribeToServerEvent(
                ctx,
                event,
                Some(on_sweep)
            ))
        };
    }
}

unsafe extern "C" fn on_sweep(
    ctx: *mut raw::RedisModuleCtx,
    _event: raw::RedisModuleEvent,
    _subevent: u64,
    _data: *mut c_void,
) {
    // SAFETY: the server calls this with a context.
    (hooks().swept)(&mut unsafe { Call::of_server(ctx) });
}
