//! The stream of changes that replicas and the AOF follow.
//!
//! What is replicated is the effect of a call, an ordinary `SET` or `DEL`. Building it costs a
//! third of a take, so where it is certain that nobody can need the stream the call is only
//! marked for replication as it came: that counts as a change for `save` points and, were the
//! certainty wrong, would charge the take on the replica's clock instead of losing it.
//!
//! The certainty: the stream has a reader only if the AOF is on or the server keeps a replication
//! backlog. The backlog is there from the first replica's arrival on, and a replica reads the
//! stream from the fork on whose snapshot it began with; the AOF, turned on, begins with a fork
//! as well; a server that is or was a replica, or restarted as one's master, has a backlog from
//! the outset. So each reader begins at a fork or a change of role, both of which the server tells
//! of before the next command runs, and then it is asked afresh. In a cluster slots migrate too,
//! so there the stream always counts as read.

use std::os::raw::{c_int, c_longlong, c_void};
use std::sync::atomic::{AtomicU8, Ordering};

use redis_module::raw;

use super::{api, call::Argument};

const UNKNOWN: u8 = 0;
const READ: u8 = 1;
const UNREAD: u8 = 2;

static READERS: AtomicU8 = AtomicU8::new(READ);

/// Asks the server to tell of what may bring readers.
///
/// # Safety
/// `ctx` must be that of the module's load in progress.
pub(super) unsafe fn watch(ctx: *mut raw::RedisModuleCtx) {
    let watched = [
        raw::REDISMODULE_EVENT_FORK_CHILD,
        raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED,
    ]
    .into_iter()
    .all(|id| {
        let event = raw::RedisModuleEvent { id, dataver: 1 };
        // SAFETY: ctx is the load's.
        let status = unsafe { api!(RedisModule_SubscribeToServerEvent(ctx, event, Some(forget))) };
        status as isize == raw::REDISMODULE_OK
    });
    READERS.store(if watched { UNKNOWN } else { READ }, Ordering::Relaxed);
}

unsafe extern "C" fn forget(
    _ctx: *mut raw::RedisModuleCtx,
    _event: raw::RedisModuleEvent,
    _subevent: u64,
    _data: *mut c_void,
) {
    READERS.store(UNKNOWN, Ordering::Relaxed);
}

/// Replicates that `name` was set to `value`, to expire at `expire_ms` (since 1970).
///
/// # Safety
/// `ctx` must be that of the call in progress, and `name` one of its arguments.
pub(super) unsafe fn set(
    ctx: *mut raw::RedisModuleCtx,
    name: &Argument<'_>,
    value: &[u8],
    expire_ms: c_longlong,
) {
    // SAFETY: the caller's promise; the variadic arguments are those of the format: string
    // object, buffer with its length, C string, long long.
    unsafe {
        if is_unread(ctx) {
            api!(RedisModule_ReplicateVerbatim(ctx));
            return;
        }
        api!(RedisModule_Replicate(
            ctx,
            c"SET".as_ptr(),
            c"sbcl".as_ptr(),
            name.string,
            value.as_ptr(),
            value.len(),
            c"PXAT".as_ptr(),
            expire_ms,
        ));
    }
}

/// Replicates that `name` was removed.
///
/// # Safety
/// As for [`set`].
pub(super) unsafe fn remove(ctx: *mut raw::RedisModuleCtx, name: &Argument<'_>) {
    // SAFETY: the caller's promise; the one variadic argument is the format's string object.
    unsafe {
        api!(RedisModule_Replicate(
            ctx,
            c"DEL".as_ptr(),
            c"s".as_ptr(),
            name.string
        ));
    }
}

/// # Safety
/// `ctx` must be that of the call in progress.
unsafe fn is_unread(ctx: *mut raw::RedisModuleCtx) -> bool {
    match READERS.load(Ordering::Relaxed) {
        UNREAD => true,
        READ => false,
        _ => {
            // SAFETY: the caller's promise.
            let unread = unsafe { has_no_readers(ctx) };
            READERS.store(if unread { UNREAD } else { READ }, Ordering::Relaxed);
            unread
        }
    }
}

/// # Safety
/// `ctx` must be that of the call in progress.
unsafe fn has_no_readers(ctx: *mut raw::RedisModuleCtx) -> bool {
    const READERS: u32 = raw::REDISMODULE_CTX_FLAGS_AOF
        | raw::REDISMODULE_CTX_FLAGS_SLAVE
        | raw::REDISMODULE_CTX_FLAGS_CLUSTER;
    // SAFETY: ctx is that of the call in progress; the information is freed where it was had.
    unsafe {
        if api!(RedisModule_GetContextFlags(ctx)) as u32 & READERS != 0 {
            return false;
        }
        let info = api!(RedisModule_GetServerInfo(ctx, c"replication".as_ptr()));
        let mut error: c_int = 0;
        let field = c"repl_backlog_active".as_ptr();
        let backlog = api!(RedisModule_ServerInfoGetFieldUnsigned(
            info, field, &mut error
        ));
        api!(RedisModule_FreeServerInfo(ctx, info));
        error as isize == raw::REDISMODULE_OK && backlog == 0
    }
}
