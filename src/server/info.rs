//! The module's section of `INFO`.

use std::ffi::CStr;
use std::os::raw::c_int;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use redis_module::raw;

use super::api::{api, OK};

/// The module's section of `INFO`, being written.
pub struct InfoSection(*mut raw::RedisModuleInfoCtx);

impl InfoSection {
    /// Writes a line with a number.
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

    /// Writes a line with a text.
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

/// The content of the module's section of `INFO`.
pub struct Section {
    /// The module's version, such as `1.2.3`.
    pub version: &'static CStr,
    /// Writes the lines after the version.
    pub write: fn(&InfoSection),
}

/// The section, for the callback, which receives no arguments of ours.
static SECTION: AtomicPtr<Section> = AtomicPtr::new(ptr::null_mut());

/// Adds the section to `INFO`.
///
/// # Safety
/// `ctx` must be that of the module's load in progress.
pub(super) unsafe fn register(ctx: *mut raw::RedisModuleCtx, section: &'static Section) {
    SECTION.store(ptr::from_ref(section).cast_mut(), Ordering::Relaxed);
    // SAFETY: ctx is the load's.
    unsafe { api!(RedisModule_RegisterInfoFunc(ctx, Some(write))) };
}

unsafe extern "C" fn write(ctx: *mut raw::RedisModuleInfoCtx, _for_crash_report: c_int) {
    // SAFETY: null, or the static that `register` stored, which never changes.
    let Some(section) = (unsafe { SECTION.load(Ordering::Relaxed).as_ref() }) else {
        return;
    };
    // SAFETY: ctx is that of the request in progress; without a name of its own the section has
    // the module's.
    let wanted = unsafe { api!(RedisModule_InfoAddSection(ctx, c"".as_ptr())) };
    if wanted == OK {
        let lines = InfoSection(ctx);
        lines.text(c"version", section.version);
        (section.write)(&lines);
    }
}
