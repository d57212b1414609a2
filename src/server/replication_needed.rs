//! Whether anybody can read what is replicated.
//!
//! Building the effect of a call costs a third of a take, so where nobody can read it the call is
//! only marked for replication as it came: that counts as a change for `save` points, and the
//! server drops it.
//!
//! Who can read it: the AOF, or a replica, for which the server keeps a backlog. Neither begins to
//! read at just any moment. It begins with a copy of the data, and from then on needs every change
//! as an effect: so what matters is that the server is asked anew, at the latest, by the first
//! change after a copy was made. A copy is made
//!
//! - by a fork: BGSAVE, a replica's full sync, an AOF that is turned on or rewritten;
//! - without one, by SAVE, whose file holds the replication ID and offset, so that a node started
//!   from it continues there;
//! - by another server, whose replica this one was until its role changed;
//! - by loading the files at a start, while which the AOF counts as off.
//!
//! The server tells of each of these before the next command runs, and then it is asked afresh. In
//! a cluster slots migrate too, so there changes always count as read.
//!
//! One case is left, in which no copy is made: somebody who read the ID and the offset from INFO
//! asks for the changes since (`PSYNC` by hand), after a first replica has attached and before the
//! server forks for it. The server tells of nothing then. So what it answered is forgotten at each
//! tick of its timer too (ten a second), which bounds that case to a tenth of a second, and with
//! it any that this argument has missed.

use std::os::raw::{c_int, c_void};
use std::sync::atomic::{AtomicU8, Ordering};

use redis_module::raw;

use super::api::api;

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
        raw::REDISMODULE_EVENT_PERSISTENCE,
        raw::REDISMODULE_EVENT_LOADING,
        raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED,
        raw::REDISMODULE_EVENT_REPLICA_CHANGE,
        raw::REDISMODULE_EVENT_CRON_LOOP,
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

/// # Safety
/// `ctx` must be that of the call in progress.
pub(super) unsafe fn is_unread(ctx: *mut raw::RedisModuleCtx) -> bool {
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
