//! The options that the module declares at load.

use std::os::raw::c_int;

use redis_module::raw;

/// Valkey 9 uses atomic slot migration only if every module declares support for it. This module
/// stores only built-in types, so no further handling is needed. The crate's header lacks the
/// constant.
const HANDLES_ATOMIC_SLOT_MIGRATION: c_int = 1 << 5;

/// Returns the module's options.
pub(super) fn options() -> c_int {
    // SAFETY: a function pointer that the load has filled in; the function has no preconditions.
    let known = unsafe { raw::RedisModule_GetModuleOptionsAll.map_or(0, |known| known()) };
    // Without the first option, opening a key for writing would count as changing it, even if the
    // call is denied. The second lets a replica load its master's data while it serves its own
    // (diskless, `swapdb`). The server does so only if every module declares support; this module
    // keeps no state of either data set.
    raw::REDISMODULE_OPTION_NO_IMPLICIT_SIGNAL_MODIFIED as c_int
        | raw::REDISMODULE_OPTIONS_HANDLE_REPL_ASYNC_LOAD as c_int
        | HANDLES_ATOMIC_SLOT_MIGRATION & known
}
