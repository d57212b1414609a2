//! One call of a command: its arguments, its clock, its reply.

use std::ffi::CStr;
use std::fmt::{Display, Write};
use std::os::raw::{c_char, c_int, c_long};

use redis_module::raw;

use super::api::api;
use super::argument::Argument;
use super::clock;

/// A call in progress. Lives as long as the server waits for the command to return.
pub struct Call<'a> {
    pub(super) ctx: *mut raw::RedisModuleCtx,
    arguments: &'a [Argument<'a>],
    now: u64,
}

impl<'a> Call<'a> {
    /// # Safety
    /// The three must be what the server passed to a command, which must not have returned.
    pub(super) unsafe fn new(
        ctx: *mut raw::RedisModuleCtx,
        argv: *mut *mut raw::RedisModuleString,
        argc: c_int,
    ) -> Self {
        // SAFETY: the caller's promise.
        let words = unsafe { Argument::list(argv, argc) };
        Self {
            ctx,
            arguments: words.get(1..).unwrap_or_default(),
            now: clock::now(),
        }
    }

    /// What follows the command's name.
    pub fn arguments(&self) -> &'a [Argument<'a>] {
        self.arguments
    }

    /// When the call began, on the server's clock, in nanoseconds since 1970.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Tells those who subscribed to events of modules: other modules, and clients where
    /// `notify-keyspace-events` has `d`.
    pub fn notify(&self, event: &CStr, name: &Argument<'_>) {
        // SAFETY: ctx and name are this call's; the server copies the event.
        unsafe {
            api!(RedisModule_NotifyKeyspaceEvent(
                self.ctx,
                raw::REDISMODULE_NOTIFY_MODULE as c_int,
                event.as_ptr(),
                name.string
            ));
        }
    }

    /// Replies with an array of integers.
    pub fn reply_integers<const N: usize>(&self, integers: &[i64; N]) {
        self.reply_array(N);
        for &integer in integers {
            self.reply_integer(integer);
        }
    }

    /// Begins a reply of so many elements, which must follow.
    pub fn reply_array(&self, elements: usize) {
        // SAFETY: ctx is this call's.
        unsafe { api!(RedisModule_ReplyWithArray(self.ctx, elements as c_long)) };
    }

    /// Replies with an integer.
    pub fn reply_integer(&self, n: i64) {
        // SAFETY: ctx is this call's.
        unsafe { api!(RedisModule_ReplyWithLongLong(self.ctx, n)) };
    }

    /// Replies with bytes.
    pub fn reply_bytes(&self, bytes: &[u8]) {
        let start = bytes.as_ptr().cast();
        // SAFETY: ctx is this call's, and the server copies the bytes.
        unsafe {
            api!(RedisModule_ReplyWithStringBuffer(
                self.ctx,
                start,
                bytes.len()
            ))
        };
    }

    /// Replies that all is well.
    pub fn reply_ok(&self) {
        // SAFETY: ctx is this call's, and the server copies the text.
        unsafe { api!(RedisModule_ReplyWithSimpleString(self.ctx, c"OK".as_ptr())) };
    }

    /// Replies with an error, whose text begins with a code such as `ERR`.
    pub fn reply_error(&self, error: impl Display) {
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

    /// Whether the server only asks where the keys are, as those do that keep no description.
    pub(super) fn wants_key_positions(&self) -> bool {
        // SAFETY: ctx is this call's.
        (unsafe { api!(RedisModule_IsKeysPositionRequest(self.ctx)) }) != 0
    }

    /// Says where the keys are: the first argument tells how many, and one is every `step`.
    pub(super) fn name_key_positions(&self, step: usize) {
        let count = self.arguments.first().map(Argument::bytes);
        let count = count.and_then(|count| std::str::from_utf8(count).ok()?.parse().ok());
        let last = count.and_then(|count: usize| count.checked_mul(step));
        // Where fewer arguments follow the call is wrong, and is told so when it runs.
        let last = last.filter(|&last| last < self.arguments.len());
        for at in (1..=last.unwrap_or(0)).step_by(step) {
            let position = at.saturating_add(1) as c_int;
            // SAFETY: ctx is this call's, and the position is that of one of its words.
            unsafe { api!(RedisModule_KeyAtPos(self.ctx, position)) };
        }
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
        let last = self.bytes.len().saturating_sub(1);
        let free = self.bytes.get_mut(self.len..last).ok_or(std::fmt::Error)?;
        for (to, from) in free.iter_mut().zip(text.bytes()) {
            *to = from;
            self.len = self.len.saturating_add(1);
        }
        Ok(())
    }
}
