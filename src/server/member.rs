//! Server strings that are not arguments of a call: members of a set, and names that never change.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use redis_module::raw;

use super::api::api;
use super::argument::Argument;
use super::call::Call;

/// A string that this module owns. Freed when dropped.
pub(super) struct Member {
    ctx: *mut raw::RedisModuleCtx,
    string: *mut raw::RedisModuleString,
}

impl Member {
    /// Takes ownership of a string; `None` if it is null.
    ///
    /// # Safety
    /// `ctx` must be that of the call in progress, which this value must not outlive, and the
    /// string must be ours to free.
    pub(super) unsafe fn own(
        ctx: *mut raw::RedisModuleCtx,
        string: *mut raw::RedisModuleString,
    ) -> Option<Self> {
        // Built only then: dropping one frees its string.
        (!string.is_null()).then(|| Self { ctx, string })
    }

    /// Returns the string as an argument.
    pub(super) fn name(&self) -> Argument<'_> {
        // SAFETY: the string lives and stays unchanged until this value is dropped.
        unsafe { Argument::new(self.string) }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // SAFETY: the string is ours, and there is no other reference to it.
        unsafe { api!(RedisModule_FreeString(self.ctx, self.string)) };
    }
}

/// Strings that the module creates during a call, such as the tokens of blocked clients. Freed when
/// dropped.
pub struct Names(Cell<Vec<Member>>);

impl Call<'_> {
    /// Returns an empty list of strings.
    pub fn names(&self) -> Names {
        // SAFETY: this is a call in progress.
        unsafe { Names::new() }
    }
}

impl Names {
    /// Creates an empty list.
    ///
    /// # Safety
    /// A call must be in progress, which the list must not outlive.
    pub(super) unsafe fn new() -> Self {
        Self(Cell::default())
    }

    /// Returns these bytes as an argument.
    pub fn argument(&self, bytes: &[u8]) -> Argument<'_> {
        let null = ptr::null_mut();
        let start = bytes.as_ptr().cast();
        // SAFETY: a call is in progress, so the load has filled in the API. The server copies the
        // bytes. A string that is created without a call's ctx lives until it is freed, which is
        // when this value is dropped: it only grows until then.
        unsafe {
            let string = api!(RedisModule_CreateString(null, start, bytes.len()));
            let mut members = self.0.take();
            members.extend(Member::own(null, string));
            self.0.set(members);
            Argument::new(string)
        }
    }
}

/// A name that is the same in every call. Its server string is created on first use and freed when
/// the module is unloaded.
pub struct Name {
    text: &'static [u8],
    string: AtomicPtr<raw::RedisModuleString>,
}

impl Name {
    /// Creates a name from these bytes.
    pub const fn new(text: &'static [u8]) -> Self {
        Self {
            text,
            string: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Returns the name as an argument.
    ///
    /// # Safety
    /// A call must be in progress, which `'a` must not outlive.
    #[inline(always)]
    pub(super) unsafe fn argument<'a>(&self) -> Argument<'a> {
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
        // SAFETY: it lives and stays as it is until the module is unloaded, which is after the call.
        unsafe { Argument::new(string) }
    }

    /// Frees the server string.
    ///
    /// # Safety
    /// No call may be in progress.
    pub(super) unsafe fn free(&self) {
        let string = self.string.swap(ptr::null_mut(), Ordering::Relaxed);
        if !string.is_null() {
            // SAFETY: created by `argument`; the calls that it was lent to have ended.
            unsafe { api!(RedisModule_FreeString(ptr::null_mut(), string)) };
        }
    }
}
