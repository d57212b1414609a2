//! One call of a command: its arguments, its clock, its reply.

use std::fmt::Write;
use std::marker::PhantomData;
use std::os::raw::{c_char, c_int, c_long};
use std::time::{SystemTime, UNIX_EPOCH};

use redis_module::raw;

use super::{api, key::Key};
use crate::bucket::Reply;
use crate::error::Error;

/// A call in progress. Lives as long as the server waits for the command to return.
pub struct Call<'a> {
    pub(super) ctx: *mut raw::RedisModuleCtx,
    arguments: &'a [Argument<'a>],
}

/// An argument of a call: any bytes.
#[repr(transparent)]
pub struct Argument<'a> {
    pub(super) string: *mut raw::RedisModuleString,
    lifetime: PhantomData<&'a ()>,
}

impl<'a> Argument<'a> {
    /// The bytes as they were sent.
    pub fn bytes(&self) -> &'a [u8] {
        let mut len = 0;
        // SAFETY: the server keeps the strings of a call alive and unchanged until the command
        // returns, which `'a` does not outlive; StringPtrLen gives their start and length.
        unsafe {
            let start = api!(RedisModule_StringPtrLen(self.string, &mut len));
            std::slice::from_raw_parts(start.cast(), len)
        }
    }
}

impl<'a> Call<'a> {
    /// # Safety
    /// The three must be what the server passed to a command, which must not have returned.
    pub(super) unsafe fn new(
        ctx: *mut raw::RedisModuleCtx,
        argv: *mut *mut raw::RedisModuleString,
        argc: c_int,
    ) -> Self {
        let argc = usize::try_from(argc).unwrap_or(0);
        // SAFETY: argv holds argc pointers, and an Argument is one pointer (repr(transparent)).
        let arguments = unsafe { std::slice::from_raw_parts(argv.cast::<Argument<'a>>(), argc) };
        Self {
            ctx,
            arguments: arguments.get(1..).unwrap_or_default(),
        }
    }

    /// What follows the command's name.
    pub fn arguments(&self) -> &'a [Argument<'a>] {
        self.arguments
    }

    /// The server's clock, in nanoseconds since 1970.
    pub fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Opens a bucket's key for reading and writing.
    ///
    /// # Errors
    /// The key holds another type than a string.
    pub fn open(&self, name: &'a Argument<'a>) -> Result<Key<'a>, Error<'a>> {
        Key::open(self.ctx, name)
    }

    /// Replies with the five integers.
    pub fn reply(&self, reply: &Reply) {
        let fields = [
            reply.taken,
            reply.limit,
            reply.remaining,
            reply.wait_ms,
            reply.reset_ms,
        ];
        // SAFETY: ctx is this call's; an array of five is announced and five integers follow.
        unsafe {
            api!(RedisModule_ReplyWithArray(self.ctx, fields.len() as c_long));
            for field in fields {
                api!(RedisModule_ReplyWithLongLong(self.ctx, field));
            }
        }
    }

    /// Replies that there are too few or too many arguments, as the server does.
    pub fn wrong_arity(&self) {
        // SAFETY: ctx is this call's.
        unsafe { api!(RedisModule_WrongArity(self.ctx)) };
    }

    /// Replies with an error.
    pub(super) fn fail(&self, error: &Error<'_>) {
        let mut text = Text::default();
        // A text that is too long is cut, which is all that can go wrong here.
        let _ = write!(text, "{error}");
        // SAFETY: ctx is this call's; the last byte of the text is never written, so it is
        // NUL-terminated, and the server copies it.
        unsafe {
            api!(RedisModule_ReplyWithError(
                self.ctx,
                text.bytes.as_ptr().cast::<c_char>()
            ))
        };
    }
}

/// An error's text, built on the stack and NUL-terminated.
struct Text {
    bytes: [u8; 512],
    len: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            bytes: [0; 512],
            len: 0,
        }
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let last = self.bytes.len() - 1;
        let free = self.bytes.get_mut(self.len..last).ok_or(std::fmt::Error)?;
        for (to, from) in free.iter_mut().zip(text.bytes()) {
            *to = from;
            self.len += 1;
        }
        Ok(())
    }
}
