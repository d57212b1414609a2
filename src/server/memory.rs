//! Checks for the memory of a new key.

use std::ffi::CStr;

use redis_module::raw;

use super::api::api;

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
    full && !(evicts && unsafe { can_evict(ctx) })
}

/// Returns whether there is a key that the eviction policy may remove.
///
/// The server evicts before it runs a command. Above the limit it then either has no such key left,
/// and refuses a `SET`, or ran out of time, and accepts it. It does not expose that decision to
/// modules, but it does expose the number of keys.
///
/// # Safety
/// `ctx` must be that of the call in progress.
unsafe fn can_evict(ctx: *mut raw::RedisModuleCtx) -> bool {
    const VOLATILE: &[u8] = b"maxmemory_policy:volatile";
    let is_volatile = |info: &[u8]| info.windows(VOLATILE.len()).any(|part| part == VOLATILE);
    // SAFETY: guaranteed by the caller.
    let volatile_only = unsafe { info(ctx, c"memory", is_volatile) };
    // `db0:keys=1,expires=0,…`
    let count: &[u8] = if volatile_only { b"expires=" } else { b"keys=" };
    let is_some = |part: &[u8]| matches!(part.strip_prefix(count), Some([b'1'..=b'9']));
    let counts = |info: &[u8]| info.windows(count.len().saturating_add(1)).any(is_some);
    // SAFETY: guaranteed by the caller.
    unsafe { info(ctx, c"keyspace", counts) }
}

/// What `look` finds in a section of INFO; `false` if the server does not tell.
///
/// # Safety
/// `ctx` must be that of the call in progress.
unsafe fn info(
    ctx: *mut raw::RedisModuleCtx,
    section: &CStr,
    look: impl FnOnce(&[u8]) -> bool,
) -> bool {
    // SAFETY: guaranteed by the caller; `c` stands for one C string. The reply's bytes live until it
    // is freed, which is after they were looked at.
    unsafe {
        let (info, section) = (c"INFO".as_ptr(), section.as_ptr());
        let reply = api!(RedisModule_Call(ctx, info, c"c".as_ptr(), section));
        if reply.is_null() {
            return false;
        }
        let mut len = 0;
        let start = api!(RedisModule_CallReplyStringPtr(reply, &mut len));
        let found = !start.is_null() && look(std::slice::from_raw_parts(start.cast(), len));
        api!(RedisModule_FreeCallReply(reply));
        found
    }
}
