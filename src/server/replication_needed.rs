//! Decides whether anybody can read replicated effects.
//!
//! Building the effect of a call costs a third of a take. If there is no reader, the call is only
//! flagged for verbatim replication: that counts as a change for `save` points, and the server
//! discards it.
//!
//! A reader is the AOF, or a replica, for which the server keeps a backlog. Neither begins to read
//! at an arbitrary moment. It begins with a copy of the data, and from then on needs every change
//! as an effect. The server must therefore be asked again, at the latest, by the first change after
//! a copy was made. A copy is made
//!
//! - by a fork: BGSAVE, a full sync of a replica, an AOF that is turned on or rewritten;
//! - without a fork, by SAVE, whose file contains the replication ID and offset, so that a node
//!   started from it continues from there;
//! - by another server, whose replica this one was until its role changed;
//! - by loading the files at startup, during which the AOF counts as off.
//!
//! The server reports each of these events before the next command runs, and the state is then read
//! again. In a cluster slots migrate too, so changes there always count as read.
//!
//! In one remaining case no copy is made: somebody who read the ID and the offset from INFO
//! requests the changes since then (`PSYNC` by hand), after a first replica has attached and before
//! the server forks for it. The server reports no event for it. The cached answer is therefore also
//! discarded at each tick of the server's timer (ten per second), which limits that case, and any
//! that this argument has missed, to a tenth of a second.

use std::os::raw::{c_int, c_void};
use std::sync::atomic::{AtomicU8, Ordering};

use redis_module::raw;

use super::api::api;
use super::{memory, timer};

const UNKNOWN: u8 = 0;
const READ: u8 = 1;
const UNREAD: u8 = 2;
const READ_BY_AOF: u8 = 3;

/// The readers of replicated effects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    /// There are none.
    None,
    /// Only the server's own AOF, which a server executes from its beginning, and during which it
    /// neither evicts nor expires keys.
    Aof,
    /// Perhaps others, which may lack a key: a replica that evicts for itself, or one on which a client
    /// writes.
    Any,
}

static READERS: AtomicU8 = AtomicU8::new(READ);

/// Subscribes to the events that may bring readers.
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
    ctx: *mut raw::RedisModuleCtx,
    event: raw::RedisModuleEvent,
    _subevent: u64,
    _data: *mut c_void,
) {
    if event.id == raw::REDISMODULE_EVENT_CRON_LOOP {
        // The server keeps one callback per event and module.
        memory::tick();
        // SAFETY: ctx is that of the event.
        unsafe { timer::correct(ctx) };
    }
    READERS.store(UNKNOWN, Ordering::Relaxed);
}

/// # Safety
/// `ctx` must be that of the call in progress.
pub(super) unsafe fn is_unread(ctx: *mut raw::RedisModuleCtx) -> bool {
    // SAFETY: guaranteed by the caller.
    (unsafe { readers(ctx) }) == Readers::None
}

/// Returns the readers, from the cached answer if there is one.
///
/// # Safety
/// `ctx` must be that of the call in progress.
pub(super) unsafe fn readers(ctx: *mut raw::RedisModuleCtx) -> Readers {
    match READERS.load(Ordering::Relaxed) {
        UNREAD => Readers::None,
        READ_BY_AOF => Readers::Aof,
        READ => Readers::Any,
        _ => {
            // SAFETY: guaranteed by the caller.
            let found = unsafe { find_readers(ctx) };
            let known = match found {
                Readers::None => UNREAD,
                Readers::Aof => READ_BY_AOF,
                Readers::Any => READ,
            };
            READERS.store(known, Ordering::Relaxed);
            found
        }
    }
}

/// # Safety
/// `ctx` must be that of the call in progress.
unsafe fn find_readers(ctx: *mut raw::RedisModuleCtx) -> Readers {
    const OTHERS: u32 = raw::REDISMODULE_CTX_FLAGS_SLAVE | raw::REDISMODULE_CTX_FLAGS_CLUSTER;
    // SAFETY: ctx is that of the call in progress; the information is freed in the context that returned it.
    unsafe {
        let flags = api!(RedisModule_GetContextFlags(ctx)) as u32;
        if flags & OTHERS != 0 {
            return Readers::Any;
        }
        let info = api!(RedisModule_GetServerInfo(ctx, c"replication".as_ptr()));
        let mut error: c_int = 0;
        let field = c"repl_backlog_active".as_ptr();
        let backlog = api!(RedisModule_ServerInfoGetFieldUnsigned(
            info, field, &mut error
        ));
        api!(RedisModule_FreeServerInfo(ctx, info));
        let is_alone = error as isize == raw::REDISMODULE_OK && backlog == 0;
        match is_alone {
            false => Readers::Any,
            true if flags & raw::REDISMODULE_CTX_FLAGS_AOF != 0 => Readers::Aof,
            true => Readers::None,
        }
    }
}
