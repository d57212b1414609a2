//! The server's log.

use std::ffi::CStr;
use std::fmt::Display;

use redis_module::raw;

use super::text::Text;

/// The server's log, while the module is loaded.
#[derive(Clone, Copy)]
pub(super) struct Log(*mut raw::RedisModuleCtx);

impl Log {
    /// # Safety
    /// `ctx` must be that of the module's load in progress, which this value must not outlive.
    pub(super) unsafe fn new(ctx: *mut raw::RedisModuleCtx) -> Self {
        Self(ctx)
    }

    /// Writes a line that an operator should see.
    pub(super) fn notice(self, line: impl Display) {
        self.write(c"notice", line);
    }

    /// Writes a line about something that does not work.
    pub(super) fn warning(self, line: impl Display) {
        self.write(c"warning", line);
    }

    fn write(self, level: &CStr, line: impl Display) {
        let line = Text::of(line);
        // SAFETY: ctx is the load's; a function pointer that the load has filled in, or none yet.
        // The one variadic argument is the format's text, which the server copies.
        unsafe {
            if let Some(log) = raw::RedisModule_Log {
                let line = line.c_str().as_ptr();
                log(self.0, level.as_ptr(), c"%s".as_ptr(), line);
            }
        }
    }
}
