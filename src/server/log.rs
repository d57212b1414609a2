//! The server's log.

use std::ffi::CStr;

use redis_module::raw;

pub(super) const NOTICE: &CStr = c"notice";
pub(super) const WARNING: &CStr = c"warning";

/// Writes a line. `format` must contain exactly one `%s`, which `text` replaces.
pub(super) fn log(ctx: *mut raw::RedisModuleCtx, level: &CStr, format: &'static CStr, text: &CStr) {
    debug_assert_eq!(format.to_bytes().iter().filter(|&&b| b == b'%').count(), 1);
    // SAFETY: ctx is the load's; every server has Log; the format holds one %s.
    unsafe {
        if let Some(log) = raw::RedisModule_Log {
            log(ctx, level.as_ptr(), format.as_ptr(), text.as_ptr());
        }
    }
}
