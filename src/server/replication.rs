//! What replicas and the AOF are told.
//!
//! That is the effect of a call: an ordinary `SET` or `DEL`, or a sorted set's `ZADD` and its like,
//! which the server wraps into a transaction if they are several. Building it costs a third of a take,
//! so where nobody can read it the call is only marked for replication as it came: that counts as
//! a change for `save` points, and the server drops it.
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

use std::ffi::CStr;
use std::os::raw::{c_int, c_longlong, c_void};
use std::sync::atomic::{AtomicU8, Ordering};

use redis_module::raw;

use super::api::api;
use super::argument::Argument;

const UNKNOWN: u8 = 0;
const READ: u8 = 1;
const UNREAD: u8 = 2;

static READERS: AtomicU8 = AtomicU8::new(READ);

/// The commands that effects are made of, but for those of sorted sets.
pub(super) const COMMANDS: &[&CStr] = &[c"SET", c"DEL"];

/// The commands that the effects on sorted sets are made of, beside those.
pub const SET_COMMANDS: &[&CStr] = &[c"ZADD", c"ZREM", c"PEXPIREAT", c"PERSIST"];

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
        let status = api!(RedisModule_Replicate(
            ctx,
            c"SET".as_ptr(),
            c"sbcl".as_ptr(),
            name.string,
            value.as_ptr(),
            value.len(),
            c"PXAT".as_ptr(),
            expire_ms,
        ));
        or_verbatim(ctx, status);
    }
}

/// Replicates that `name` was removed.
///
/// # Safety
/// As for [`set`].
pub(super) unsafe fn remove(ctx: *mut raw::RedisModuleCtx, name: &Argument<'_>) {
    // SAFETY: the caller's promise; the one variadic argument is the format's string object.
    unsafe {
        let status = api!(RedisModule_Replicate(
            ctx,
            c"DEL".as_ptr(),
            c"s".as_ptr(),
            name.string
        ));
        or_verbatim(ctx, status);
    }
}

/// The server refuses what it has no command for, which the load has ruled out. Were it to refuse
/// all the same, the call itself is replicated: charged on another clock rather than lost.
///
/// # Safety
/// `ctx` must be that of the call in progress.
unsafe fn or_verbatim(ctx: *mut raw::RedisModuleCtx, status: c_int) {
    if status as isize != raw::REDISMODULE_OK {
        // SAFETY: the caller's promise.
        unsafe { api!(RedisModule_ReplicateVerbatim(ctx)) };
    }
}

/// What a call has changed of a sorted set.
pub(super) struct SetChanges {
    /// Nobody reads what they are, only that there are some.
    unread: bool,
    any: bool,
    cleared: bool,
    removed: Vec<*mut raw::RedisModuleString>,
    added: Vec<(*mut raw::RedisModuleString, i64)>,
    /// When the key expires from now on, if that was changed.
    pub(super) expiry: Option<Expiry>,
}

/// When a key expires.
pub(super) enum Expiry {
    /// In milliseconds since 1970.
    At(i64),
    Never,
}

impl SetChanges {
    /// None yet.
    ///
    /// # Safety
    /// `ctx` must be that of the call in progress.
    pub(super) unsafe fn new(ctx: *mut raw::RedisModuleCtx) -> Self {
        Self {
            // SAFETY: the caller's promise.
            unread: unsafe { is_unread(ctx) },
            any: false,
            cleared: false,
            removed: Vec::new(),
            added: Vec::new(),
            expiry: None,
        }
    }

    /// The key was removed.
    pub(super) fn cleared(&mut self) {
        self.any = true;
        self.cleared = true;
    }

    /// A member was taken out. The string must live until the changes are replicated.
    pub(super) fn removed(&mut self, member: *mut raw::RedisModuleString) {
        self.any = true;
        if !self.unread {
            self.removed.push(member);
        }
    }

    /// A member has this score. Its string must live until the changes are replicated.
    pub(super) fn added(&mut self, member: &Argument<'_>, score: i64) {
        self.any = true;
        if !self.unread {
            self.added.push((member.string, score));
        }
    }

    /// Whether there are none.
    pub(super) fn is_none(&self) -> bool {
        !self.any && self.expiry.is_none()
    }
}

/// Replicates what has changed of the sorted set at `name`: what was taken out, what was added,
/// when the key expires.
///
/// # Safety
/// As for [`set`]; the strings of the changes must be alive.
pub(super) unsafe fn set_changes(
    ctx: *mut raw::RedisModuleCtx,
    name: &Argument<'_>,
    changes: &SetChanges,
) {
    // SAFETY: the caller's promise; the variadic arguments are those of the formats: string
    // object, vector of string objects with its length, long long.
    unsafe {
        if changes.unread {
            api!(RedisModule_ReplicateVerbatim(ctx));
            return;
        }
        if changes.cleared {
            return remove(ctx, name);
        }
        if !changes.removed.is_empty() {
            let (start, len) = (changes.removed.as_ptr(), changes.removed.len());
            let (zrem, format) = (c"ZREM".as_ptr(), c"sv".as_ptr());
            let status = api!(RedisModule_Replicate(
                ctx,
                zrem,
                format,
                name.string,
                start,
                len
            ));
            or_verbatim(ctx, status);
        }
        if !changes.added.is_empty() {
            add(ctx, name, &changes.added);
        }
        let status = match changes.expiry {
            Some(Expiry::At(at)) => {
                let (pexpireat, format) = (c"PEXPIREAT".as_ptr(), c"sl".as_ptr());
                api!(RedisModule_Replicate(
                    ctx,
                    pexpireat,
                    format,
                    name.string,
                    at
                ))
            }
            Some(Expiry::Never) => {
                let (persist, format) = (c"PERSIST".as_ptr(), c"s".as_ptr());
                api!(RedisModule_Replicate(ctx, persist, format, name.string))
            }
            None => return,
        };
        or_verbatim(ctx, status);
    }
}

/// Replicates members with their scores.
///
/// # Safety
/// As for [`set_changes`].
unsafe fn add(
    ctx: *mut raw::RedisModuleCtx,
    name: &Argument<'_>,
    added: &[(*mut raw::RedisModuleString, i64)],
) {
    let null = std::ptr::null_mut();
    let mut words = Vec::with_capacity(added.len().saturating_mul(2));
    // SAFETY: the caller's promise; the format is that of the arguments. What is made here is freed
    // here, when the server has its own copy.
    unsafe {
        for &(member, score) in added {
            words.push(api!(RedisModule_CreateStringFromLongLong(null, score)));
            words.push(member);
        }
        let (zadd, format) = (c"ZADD".as_ptr(), c"sv".as_ptr());
        let (start, len) = (words.as_ptr(), words.len());
        let status = api!(RedisModule_Replicate(
            ctx,
            zadd,
            format,
            name.string,
            start,
            len
        ));
        for &score in words.iter().step_by(2) {
            api!(RedisModule_FreeString(null, score));
        }
        or_verbatim(ctx, status);
    }
}

/// The first of these commands that this server does not have under its name.
///
/// # Safety
/// `ctx` must be that of the module's load in progress.
pub(super) unsafe fn missing_command(
    ctx: *mut raw::RedisModuleCtx,
    commands: &[&'static CStr],
) -> Option<&'static CStr> {
    commands.iter().copied().find(|command| {
        // SAFETY: ctx is the load's. A call without arguments never runs: it has the wrong arity
        // (EINVAL), or there is no such command (ENOENT).
        unsafe {
            let reply = api!(RedisModule_Call(ctx, command.as_ptr(), c"".as_ptr()));
            let error = std::io::Error::last_os_error().raw_os_error();
            if reply.is_null() {
                return error == Some(libc::ENOENT);
            }
            api!(RedisModule_FreeCallReply(reply));
            false
        }
    })
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
