//! Clients that a command has blocked until the module answers them.
//!
//! The server's own timeout is not used: on Redis 6.2 and 7.0 a timeout due in the event-loop turn
//! of the unblocking leaves the client without an answer. For the same reason a client is unblocked
//! from a timer, never from the command that decided its answer: a CLIENT UNBLOCK or CLIENT KILL in
//! the same transaction then still finds a blocked client.
//!
//! Each handle of the server is passed to `RM_UnblockClient` exactly once: by
//! [`unblock`](Call::unblock), or when the server has given up the client. Otherwise the module
//! could never be unloaded.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::os::raw::c_int;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis_module::raw;

use super::api::{api, OK};
use super::call::Call;
use super::hooks::hooks;

type Handle = *mut raw::RedisModuleBlockedClient;

/// The blocked clients, by the number that the module gave them and by the server's handle.
#[derive(Default)]
struct Blocked {
    by_number: BTreeMap<u64, Client>,
    by_handle: BTreeMap<usize, u64>,
}

#[derive(Clone, Copy)]
struct Client {
    /// The server's handle, as an address.
    handle: usize,
    /// Whether the handle was passed to `RM_UnblockClient`.
    is_unblocked: bool,
}

static BLOCKED: Mutex<Option<Blocked>> = Mutex::new(None);

/// Returns the blocked clients. The lock must not be held while the server is called.
fn blocked() -> MutexGuard<'static, Option<Blocked>> {
    BLOCKED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Frees the memory of all clients. None is blocked when the module is unloaded.
pub(super) fn free() {
    *blocked() = None;
}

fn add(number: u64, handle: Handle) {
    let mut blocked = blocked();
    let blocked = blocked.get_or_insert_with(Blocked::default);
    let handle = handle as usize;
    let is_unblocked = false;
    blocked.by_handle.insert(handle, number);
    blocked.by_number.insert(
        number,
        Client {
            handle,
            is_unblocked,
        },
    );
}

/// Forgets and returns the client of a handle, with its number.
fn remove(handle: Handle) -> Option<(u64, Client)> {
    let mut guard = blocked();
    let blocked = guard.as_mut()?;
    let number = blocked.by_handle.remove(&(handle as usize))?;
    let client = blocked.by_number.remove(&number)?;
    Some((number, client))
}

/// Marks a client as unblocked. Returns its handle if it was not.
fn mark(number: u64) -> Option<Handle> {
    let mut guard = blocked();
    let client = guard.as_mut()?.by_number.get_mut(&number)?;
    let before = std::mem::replace(&mut client.is_unblocked, true);
    (!before).then_some(client.handle as Handle)
}

impl Call<'_> {
    /// Returns whether this call's client may be blocked.
    pub fn may_block(&self) -> bool {
        const NOT: u32 = raw::REDISMODULE_CTX_FLAGS_MULTI
            | raw::REDISMODULE_CTX_FLAGS_LUA
            | raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING
            | raw::REDISMODULE_CTX_FLAGS_SLAVE
            | raw::REDISMODULE_CTX_FLAGS_REPLICATED
            | raw::REDISMODULE_CTX_FLAGS_LOADING;
        self.flags() & NOT == 0
    }

    /// Blocks this call's client, which the module knows by `number` (not 0) from now on. The call
    /// must not reply.
    pub fn block(&self, number: u64) {
        // SAFETY: ctx is that of the call in progress, whose client may be blocked; the callbacks
        // are the library's, which is not unloaded while a client is blocked.
        unsafe {
            let handle = api!(RedisModule_BlockClient(
                self.ctx,
                Some(on_reply),
                Some(on_timeout),
                Some(on_free),
                0
            ));
            api!(RedisModule_SetDisconnectCallback(
                handle,
                Some(on_disconnect)
            ));
            add(number, handle);
        }
    }

    /// Lets the server ask for a client's answer. To be called from a timer.
    pub fn unblock(&self, number: u64) {
        if let Some(handle) = mark(number) {
            // SAFETY: the handle is that of a blocked client, and was not passed before. The data
            // is only a number.
            unsafe {
                api!(RedisModule_UnblockClient(
                    handle,
                    number as usize as *mut c_void
                ))
            };
        }
    }
}

/// Replies to an unblocked client, when the server asks for it.
unsafe extern "C" fn on_reply(
    ctx: *mut raw::RedisModuleCtx,
    _argv: *mut *mut raw::RedisModuleString,
    _argc: c_int,
) -> c_int {
    // SAFETY: the server calls this with the context of a client that was blocked.
    unsafe {
        let handle = api!(RedisModule_GetBlockedClientHandle(ctx));
        if let Some((number, _)) = remove(handle) {
            (hooks().answer)(&mut Call::of_server(ctx), number);
        }
    }
    OK
}

/// Replies to a client that is still blocked, after CLIENT UNBLOCK.
unsafe extern "C" fn on_timeout(
    ctx: *mut raw::RedisModuleCtx,
    _argv: *mut *mut raw::RedisModuleString,
    _argc: c_int,
) -> c_int {
    // SAFETY: as above; the handle was not passed before.
    unsafe {
        let handle = api!(RedisModule_GetBlockedClientHandle(ctx));
        if let Some((number, client)) = remove(handle) {
            (hooks().interrupt)(&mut Call::of_server(ctx), number);
            if !client.is_unblocked {
                api!(RedisModule_UnblockClient(handle, ptr::null_mut()));
            }
        }
    }
    OK
}

/// Handles a client that is gone, or that the server has answered with an error.
unsafe extern "C" fn on_disconnect(ctx: *mut raw::RedisModuleCtx, handle: Handle) {
    // SAFETY: the server calls this with a context and the handle of a blocked client.
    unsafe {
        if let Some((number, client)) = remove(handle) {
            (hooks().lost)(&mut Call::of_server(ctx), number);
            if !client.is_unblocked {
                api!(RedisModule_UnblockClient(handle, ptr::null_mut()));
            }
        }
    }
}

/// Frees an unblocked client. If the server has not asked for its reply, the client was already
/// gone.
unsafe extern "C" fn on_free(ctx: *mut raw::RedisModuleCtx, data: *mut c_void) {
    let number = data as usize as u64;
    let handle = blocked().as_ref().and_then(|blocked| {
        let client = blocked.by_number.get(&number)?;
        Some(client.handle)
    });
    if let Some((number, _)) = handle.and_then(|handle| remove(handle as Handle)) {
        // SAFETY: the server calls this with a context.
        (hooks().lost)(&mut unsafe { Call::of_server(ctx) }, number);
    }
}
