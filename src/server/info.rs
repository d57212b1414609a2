//! The module's section of `INFO`.

use std::ffi::CStr;
use std::os::raw::c_int;

use redis_module::raw;

use super::api::api;
use super::load::module;
use super::OK;

/// The module's section of `INFO`, being written.
pub struct InfoSection(*mut raw::RedisModuleInfoCtx);

impl InfoSection {
    /// A line with a number.
    pub fn number(&self, name: &CStr, value: u64) {
        // SAFETY: the server's request is in progress, and it copies the name.
        unsafe {
            api!(RedisModule_InfoAddFieldULongLong(
                self.0,
                name.as_ptr(),
                value
            ))
        };
    }

    /// A line with a text.
    pub fn text(&self, name: &CStr, value: &CStr) {
        // SAFETY: the server's request is in progress, and it copies both.
        unsafe {
            api!(RedisModule_InfoAddFieldCString(
                self.0,
                name.as_ptr(),
                value.as_ptr()
            ))
        };
    }
}

/// Makes the section a part of `INFO`.
///
/// # Safety
/// `ctx` must be that of the module's load in progress.
pub(super) unsafe fn register(ctx: *mut raw::RedisModuleCtx) {
    // SAFETY: ctx is the load's.
    unsafe { api!(RedisModule_RegisterInfoFunc(ctx, Some(write))) };
}

unsafe extern "C" fn write(ctx: *mut raw::RedisModuleInfoCtx, _for_crash_report: c_int) {
    let Some(module) = module() else {
        return;
    };
    // SAFETY: ctx is that of the request in progress; without a name of its own the section has
    // the module's.
    let wanted = unsafe { api!(RedisModule_InfoAddSection(ctx, c"".as_ptr())) };
    if wanted == OK {
        let section = InfoSection(ctx);
        section.text(c"version", module.version);
        (module.info)(&section);
    }
}
