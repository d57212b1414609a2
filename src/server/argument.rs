//! An argument of a call or of the module's load.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::raw::c_int;

use redis_module::raw;

use super::api::api;

/// An argument of a call: any bytes.
#[repr(transparent)]
pub struct Argument<'a> {
    pub(super) string: *mut raw::RedisModuleString,
    lifetime: PhantomData<&'a ()>,
}

impl<'a> Argument<'a> {
    /// # Safety
    /// `argv` must hold `argc` strings that live and stay unchanged for `'a`.
    pub(super) unsafe fn list(
        argv: *mut *mut raw::RedisModuleString,
        argc: c_int,
    ) -> &'a [Argument<'a>] {
        match usize::try_from(argc) {
            // SAFETY: guaranteed by the caller; an Argument is one pointer (repr(transparent)).
            Ok(argc) if argc > 0 => unsafe { std::slice::from_raw_parts(argv.cast(), argc) },
            _ => &[],
        }
    }

    /// # Safety
    /// The string must live and stay unchanged for `'a`.
    pub(super) unsafe fn new(string: *mut raw::RedisModuleString) -> Self {
        Self {
            string,
            lifetime: PhantomData,
        }
    }

    /// Returns the bytes as they were sent.
    pub fn bytes(&self) -> &'a [u8] {
        let mut len = 0;
        // SAFETY: the server keeps the strings of a call alive and unchanged until the command
        // returns, which `'a` does not outlive; StringPtrLen gives their start and length.
        unsafe {
            let start = api!(RedisModule_StringPtrLen(self.string, &mut len));
            std::slice::from_raw_parts(start.cast(), len)
        }
    }

    /// Returns whether the argument is `word`, in any case.
    pub(super) fn is(&self, word: &CStr) -> bool {
        self.bytes().eq_ignore_ascii_case(word.to_bytes())
    }
}

/// A key's name together with its bytes, so that the server is asked for them once.
#[derive(Clone, Copy)]
pub struct KeyName<'a> {
    /// The argument.
    pub argument: &'a Argument<'a>,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl<'a> KeyName<'a> {
    /// Reads the name from an argument.
    #[inline(always)]
    pub fn of(argument: &'a Argument<'a>) -> Self {
        Self {
            argument,
            bytes: argument.bytes(),
        }
    }
}
