//! Checks for the memory of a new key.

use std::ffi::CStr;
use std::os::raw::c_int;
use std::sync::atomic::{AtomicU8, Ordering};

use redis_module::raw;

use super::api::{api, OK};
use super::text::Text;

/// The server has not reported a tick yet: nothing is remembered.
const NO_TICKS: u8 = 0;
/// Not known since the last tick.
const UNKNOWN: u8 = 1;
/// Since the last tick there was a key to evict.
const CAN_EVICT: u8 = 2;

static EVICTION: AtomicU8 = AtomicU8::new(NO_TICKS);

/// Discards the cached answer, at each tick of the server's timer (ten per second).
pub(super) fn tick() {
    EVICTION.store(UNKNOWN, Ordering::Relaxed);
}

/// Returns whether the server would refuse a `SET` of a new key because memory is used up.
///
/// # Safety
/// `ctx` must be that of the call in progress.
pub(super) unsafe fn is_used_up(ctx: *mut raw::RedisModuleCtx) -> bool {
    // SAFETY: guaranteed by the caller.
    let flags = unsafe { api!(RedisModule_GetContextFlags(ctx)) } as u32;
    let full = flags & raw::REDISMODULE_CTX_FLAGS_OOM != 0;
    let evicts = flags & raw::REDISMODULE_CTX_FLAGS_EVICT != 0;
    // SAFETY: guaranteed by the caller.
    full && !(evicts && unsafe { could_evict(ctx) })
}

/// Returns whether there was a key to evict since the last tick.
///
/// Only a yes is remembered. A stale yes writes a key although memory has just run out, as a `SET` in
/// the same pipeline would; a stale no would refuse what a `SET` is granted.
///
/// # Safety
/// `ctx` must be that of the call in progress.
unsafe fn could_evict(ctx: *mut raw::RedisModuleCtx) -> bool {
    let known = EVICTION.load(Ordering::Relaxed);
    if known == CAN_EVICT {
        return true;
    }
    // SAFETY: guaranteed by the caller.
    let can = unsafe { can_evict(ctx) };
    if can && known == UNKNOWN {
        EVICTION.store(CAN_EVICT, Ordering::Relaxed);
    }
    can
}

/// Returns whether there is a key that the eviction policy may remove.
///
/// The server evicts before it runs a command. Above the limit it then either has no such key
/// left, and refuses a `SET`, or ran out of time, and accepts it. It does not expose that decision to
/// modules, but it does expose the number of keys, without the command INFO, which may be renamed.
///
/// # Safety
/// `ctx` must be that of the call in progress.
#[cold]
unsafe fn can_evict(ctx: *mut raw::RedisModuleCtx) -> bool {
    // SAFETY: guaranteed by the caller. The client's database is the same afterwards.
    unsafe {
        let volatile = |policy: &[u8]| policy.starts_with(b"volatile");
        let volatile_only = with_info(ctx, c"memory", |memory| {
            field(memory, c"maxmemory_policy", volatile)
        });
        // Once for all databases: the server writes a line for each.
        with_info(ctx, c"keyspace", |keyspace| {
            let selected = api!(RedisModule_GetSelectedDb(ctx));
            let mut database: c_int = 0;
            let mut can = false;
            while !can && api!(RedisModule_SelectDb(ctx, database)) == OK {
                can = api!(RedisModule_DbSize(ctx)) > 0
                    && (!volatile_only || has_expiring_key(keyspace, database));
                database = database.saturating_add(1);
            }
            api!(RedisModule_SelectDb(ctx, selected));
            can
        })
    }
}

/// Returns whether a database has a key with an expiry.
///
/// # Safety
/// `keyspace` must be that section of INFO.
unsafe fn has_expiring_key(keyspace: *mut raw::RedisModuleServerInfoData, database: c_int) -> bool {
    const COUNT: &[u8] = b"expires=";
    // `keys=1,expires=0,…`
    let is_some = |part: &[u8]| matches!(part.strip_prefix(COUNT), Some([b'1'..=b'9', ..]));
    let name = Text::of(format_args!("db{database}"));
    // SAFETY: guaranteed by the caller.
    unsafe {
        field(keyspace, name.c_str(), |counts| {
            counts.split(|&byte| byte == b',').any(is_some)
        })
    }
}

/// Returns what `look` makes of a section of INFO.
///
/// # Safety
/// `ctx` must be that of the call in progress.
unsafe fn with_info(
    ctx: *mut raw::RedisModuleCtx,
    section: &CStr,
    look: impl FnOnce(*mut raw::RedisModuleServerInfoData) -> bool,
) -> bool {
    // SAFETY: guaranteed by the caller. The information is freed after it was looked at.
    unsafe {
        let info = api!(RedisModule_GetServerInfo(ctx, section.as_ptr()));
        let found = look(info);
        api!(RedisModule_FreeServerInfo(ctx, info));
        found
    }
}

/// Returns what `look` makes of a field; `false` if there is no such field.
///
/// # Safety
/// `info` must be a section of INFO that is not freed yet.
unsafe fn field(
    info: *mut raw::RedisModuleServerInfoData,
    name: &CStr,
    look: impl FnOnce(&[u8]) -> bool,
) -> bool {
    // SAFETY: guaranteed by the caller. The text lives until the information is freed.
    unsafe {
        let text = api!(RedisModule_ServerInfoGetFieldC(info, name.as_ptr()));
        !text.is_null() && look(CStr::from_ptr(text).to_bytes())
    }
}
