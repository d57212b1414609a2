//! Finds out whether another module could receive the events of a call.
//!
//! A module that subscribed to events (of keys or of the server) is called in the midst of a call
//! that causes one, and may remove any key. No function returns the subscribers, but the server
//! lists its modules. The list is asked for by the first call that needs it, and again after the
//! server has reported that a module was loaded or unloaded, which is before the next command
//! runs.
//!
//! Two modules that servers contain are known to subscribe to nothing: the vector sets of Redis 8
//! and the Lua engine of Valkey 9.1.
//!
//! A module that is being loaded may have subscribed before the server lists it. The only commands
//! that run meanwhile are those that it calls itself. A call therefore also counts as heard if its
//! client may not block, as in the calls of modules, scripts and transactions, or is not one that
//! the server lists. Valkey 9.1 lists the clients of modules, so one case is not recognised there:
//! a module that calls while it is being loaded, lets that call block, and removes keys of the call.

use std::os::raw::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering};

use redis_module::raw;

use super::api::{api, OK};

/// Must be found out.
const UNKNOWN: u8 = 0;
const ABSENT: u8 = 1;
const PRESENT: u8 = 2;

static OTHERS: AtomicU8 = AtomicU8::new(PRESENT);

/// The modules that servers contain: name and path.
const BUILT_IN: [(&[u8], &[u8]); 2] = [(b"vectorset", b""), (b"lua", b"lua")];

/// Subscribes to changes of the modules.
///
/// # Safety
/// `ctx` must be that of the module's load in progress.
pub(super) unsafe fn watch(ctx: *mut raw::RedisModuleCtx) {
    let event = raw::RedisModuleEvent {
        id: raw::REDISMODULE_EVENT_MODULE_CHANGE,
        dataver: 1,
    };
    // SAFETY: ctx is the load's.
    let status = unsafe { api!(RedisModule_SubscribeToServerEvent(ctx, event, Some(forget))) };
    let is_watched = status == OK;
    OTHERS.store(
        if is_watched { UNKNOWN } else { PRESENT },
        Ordering::Relaxed,
    );
}

unsafe extern "C" fn forget(
    _ctx: *mut raw::RedisModuleCtx,
    _event: raw::RedisModuleEvent,
    _subevent: u64,
    _data: *mut c_void,
) {
    OTHERS.store(UNKNOWN, Ordering::Relaxed);
}

/// Returns whether no other module receives the events of a call.
///
/// # Safety
/// `ctx` must be that of the call in progress, which must not have opened a key.
pub(super) unsafe fn receive_no_events(ctx: *mut raw::RedisModuleCtx) -> bool {
    const NOT: u32 = raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING
        | raw::REDISMODULE_CTX_FLAGS_LUA
        | raw::REDISMODULE_CTX_FLAGS_MULTI;
    // SAFETY: guaranteed by the caller; without a place for the answer, the server only looks the
    // client up.
    let is_clients_own = unsafe {
        let client = api!(RedisModule_GetClientId(ctx));
        api!(RedisModule_GetContextFlags(ctx)) as u32 & NOT == 0
            && api!(RedisModule_GetClientInfoById(ptr::null_mut(), client)) == OK
    };
    is_clients_own
        && match OTHERS.load(Ordering::Relaxed) {
            // SAFETY: guaranteed by the caller.
            UNKNOWN => unsafe { ask(ctx) },
            known => known == ABSENT,
        }
}

/// # Safety
/// As for [`receive_no_events`].
#[cold]
unsafe fn ask(ctx: *mut raw::RedisModuleCtx) -> bool {
    // SAFETY: guaranteed by the caller.
    let are_absent = unsafe { count(ctx) } == Some(1);
    let known = if are_absent { ABSENT } else { PRESENT };
    OTHERS.store(known, Ordering::Relaxed);
    are_absent
}

/// Returns the number of modules that the server does not contain itself, this one included;
/// `None` if the server does not list its modules (`rename-command`).
///
/// # Safety
/// As for [`receive_no_events`].
unsafe fn count(ctx: *mut raw::RedisModuleCtx) -> Option<usize> {
    // SAFETY: guaranteed by the caller; `c` stands for a C string. The elements are used before the
    // reply is freed.
    unsafe {
        let (module, list) = (c"MODULE".as_ptr(), c"LIST".as_ptr());
        let reply = api!(RedisModule_Call(ctx, module, c"c".as_ptr(), list));
        if reply.is_null() {
            return None;
        }
        let modules = (0..).map_while(|at| element(reply, at));
        let found = modules.filter(|&module| !is_built_in(module)).count();
        api!(RedisModule_FreeCallReply(reply));
        Some(found)
    }
}

/// Returns whether the server contains a module of its list.
///
/// # Safety
/// `module` must be an element of a reply that is not freed yet.
unsafe fn is_built_in(module: *mut raw::RedisModuleCallReply) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let (name, path) = (value(module, b"name"), value(module, b"path"));
        BUILT_IN
            .iter()
            .any(|&(built_in, at)| name == Some(built_in) && path == Some(at))
    }
}

/// Returns the text that follows `name` in an array of names and values.
///
/// # Safety
/// `array` must be a reply that is not freed during `'a`.
unsafe fn value<'a>(array: *mut raw::RedisModuleCallReply, name: &[u8]) -> Option<&'a [u8]> {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut elements = (0..).map_while(|at| element(array, at));
        elements.find(|&element| text(element) == Some(name))?;
        text(elements.next()?)
    }
}

/// Returns an element of an array; `None` beyond its end, or if the reply is not an array.
///
/// # Safety
/// `array` must be a reply that is not freed yet.
unsafe fn element(
    array: *mut raw::RedisModuleCallReply,
    at: usize,
) -> Option<*mut raw::RedisModuleCallReply> {
    // SAFETY: guaranteed by the caller.
    let element = unsafe { api!(RedisModule_CallReplyArrayElement(array, at)) };
    (!element.is_null()).then_some(element)
}

/// Returns the text of a reply; `None` if it is not a text.
///
/// # Safety
/// `reply` must not be freed during `'a`.
unsafe fn text<'a>(reply: *mut raw::RedisModuleCallReply) -> Option<&'a [u8]> {
    let mut len = 0;
    // SAFETY: guaranteed by the caller; the text has this length.
    unsafe {
        let start = api!(RedisModule_CallReplyStringPtr(reply, &mut len));
        (!start.is_null()).then(|| std::slice::from_raw_parts(start.cast(), len))
    }
}
