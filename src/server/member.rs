//! Strings that are no arguments of a call: members of a set, and names that never change.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use redis_module::raw;

use super::api::api;
use super::argument::Argument;

/// A string that is ours. Freed when dropped.
pub(super) struct Member {
    ctx: *mut raw::RedisModuleCtx,
    string: *mut raw::RedisModuleString,
}

impl Member {
    /// `None` if there is no string.
    ///
    /// # Safety
    /// `ctx` must be that of the call in progress, which this must not outlive, and the string
    /// ours to free.
    pub(super) unsafe fn own(
        ctx: *mut raw::RedisModuleCtx,
        string: *mut raw::RedisModuleString,
    ) -> Option<Self> {
        (!string.is_null()).then_some(Self { ctx, string })
    }

    /// The string, as an argument.
    pub(super) fn name(&self) -> Argument<'_> {
        // SAFETY: the string lives and stays as it is until this is dropped.
        unsafe { Argument::new(self.string) }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // SAFETY: the string is ours, and nobody has it any more.
        unsafe { api!(RedisModule_FreeString(self.ctx, self.string)) };
    }
}

/// A name that is the same in every call. The server's form of it is made when it is first asked
/// for, and freed when the module is unloaded.
pub struct Name {
    text: &'static [u8],
    string: AtomicPtr<raw::RedisModuleString>,
}

impl Name {
    /// One of these bytes.
    pub const fn new(text: &'static [u8]) -> Self {
        Self {
            text,
            string: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The name, as an argument.
    #[inline(always)]
    pub fn argument(&'static self) -> Argument<'static> {
        let mut string = self.string.load(Ordering::Relaxed);
        if string.is_null() {
            let start = self.text.as_ptr().cast();
            // SAFETY: the server copies the bytes. A string that is made without a call's ctx
            // lives until it is freed.
            string = unsafe {
                api!(RedisModule_CreateString(
                    ptr::null_mut(),
                    start,
                    self.text.len()
                ))
            };
            self.string.store(string, Ordering::Relaxed);
        }
        // SAFETY: it lives and stays as it is until the module is unloaded, which no argument
        // outlives: they are held no longer than a call.
        unsafe { Argument::new(string) }
    }

    /// Frees the server's form.
    ///
    /// # Safety
    /// No call may be in progress.
    pub(super) unsafe fn free(&self) {
        let string = self.string.swap(ptr::null_mut(), Ordering::Relaxed);
        if !string.is_null() {
            // SAFETY: made by `argument`; what it was lent to has ended.
            unsafe { api!(RedisModule_FreeString(ptr::null_mut(), string)) };
        }
    }
}
