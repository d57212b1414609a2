//! One call of a command: its arguments, its clock and its reply.

use std::ffi::CStr;
use std::fmt::Display;
use std::os::raw::{c_int, c_long};

use redis_module::raw;

use super::api::api;
use super::argument::Argument;
use super::clock;
use super::kept::Kept;
use super::text::Text;

/// A call in progress. It lives until the command returns to the server.
pub struct Call<'a> {
    pub(super) ctx: *mut raw::RedisModuleCtx,
    arguments: &'a [Argument<'a>],
    now: u64,
    /// Whether a client has called a command, which can then be replicated as it came.
    pub(super) is_command: bool,
    /// The keys that stay open until the call ends.
    pub(super) kept: Kept<'a>,
}

impl<'a> Call<'a> {
    /// # Safety
    /// The arguments must be those that the server passed to a command that has not returned yet.
    pub(super) unsafe fn new(
        ctx: *mut raw::RedisModuleCtx,
        argv: *mut *mut raw::RedisModuleString,
        argc: c_int,
    ) -> Self {
        // SAFETY: guaranteed by the caller.
        let words = unsafe { Argument::list(argv, argc) };
        Self {
            ctx,
            arguments: words.get(1..).unwrap_or_default(),
            now: clock::now(),
            is_command: true,
            kept: Kept::none(),
        }
    }

    /// Creates a call for a callback of the server: an event, a timer, or the end of a blocked
    /// client.
    ///
    /// # Safety
    /// `ctx` must be that of a callback that has not returned yet.
    pub(super) unsafe fn of_server(ctx: *mut raw::RedisModuleCtx) -> Self {
        Self {
            ctx,
            arguments: &[],
            now: clock::now(),
            is_command: false,
            kept: Kept::none(),
        }
    }

    /// Returns the server's flags for this call.
    pub(super) fn flags(&self) -> u32 {
        // SAFETY: ctx is this call's.
        (unsafe { api!(RedisModule_GetContextFlags(self.ctx)) }) as u32
    }

    /// Returns the database of this call.
    pub fn db(&self) -> i32 {
        // SAFETY: ctx is this call's.
        unsafe { api!(RedisModule_GetSelectedDb(self.ctx)) }
    }

    /// Selects a database, for a call of the server's own.
    pub fn select(&mut self, db: i32) {
        // SAFETY: ctx is this call's.
        unsafe { api!(RedisModule_SelectDb(self.ctx, db)) };
    }

    /// Returns the arguments that follow the command's name.
    pub fn arguments(&self) -> &'a [Argument<'a>] {
        self.arguments
    }

    /// Returns the time at which the call began, by the server's clock, in nanoseconds since 1970.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Sends a keyspace event of the module class: to other modules, and to clients if
    /// `notify-keyspace-events` contains `d`.
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

    /// Begins a reply of `elements` elements, which must follow.
    pub fn reply_array(&self, elements: usize) {
        // SAFETY: ctx is this call's.
        unsafe { api!(RedisModule_ReplyWithArray(self.ctx, elements as c_long)) };
    }

    /// Begins a reply of `fields` names with their values, which must follow. A map for clients of
    /// RESP3, where the server has maps (7.0); otherwise an array.
    pub fn reply_map(&self, fields: usize) {
        // SAFETY: ctx is this call's; a function pointer that the load has filled in.
        unsafe {
            match raw::RedisModule_ReplyWithMap {
                Some(begin) => {
                    begin(self.ctx, fields as c_long);
                }
                None => self.reply_array(fields.saturating_mul(2)),
            }
        }
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

    /// Replies with OK.
    pub fn reply_ok(&self) {
        // SAFETY: ctx is this call's, and the server copies the text.
        unsafe { api!(RedisModule_ReplyWithSimpleString(self.ctx, c"OK".as_ptr())) };
    }

    /// Replies with an error. Its text must begin with a code such as `ERR`.
    pub fn reply_error(&self, error: impl Display) {
        let text = Text::of(error);
        // SAFETY: ctx is this call's; the server copies the text.
        unsafe { api!(RedisModule_ReplyWithError(self.ctx, text.c_str().as_ptr())) };
    }

    /// Returns whether the server only asks for the key positions, as servers without key
    /// specifications do.
    pub(super) fn wants_key_positions(&self) -> bool {
        // SAFETY: ctx is this call's.
        (unsafe { api!(RedisModule_IsKeysPositionRequest(self.ctx)) }) != 0
    }

    /// Reports the key positions: the first argument is the number of keys, and every `step`-th
    /// argument after it is a key.
    pub(super) fn name_key_positions(&self, step: usize) {
        let count = self.arguments.first().map(Argument::bytes);
        let count = count.and_then(|count| std::str::from_utf8(count).ok()?.parse().ok());
        let last = count.and_then(|count: usize| count.checked_mul(step));
        // With fewer arguments the call is invalid, and gets its error when it runs.
        let last = last.filter(|&last| last < self.arguments.len());
        for at in (1..=last.unwrap_or(0)).step_by(step) {
            let position = at.saturating_add(1) as c_int;
            // SAFETY: ctx is this call's, and the position is that of one of its words.
            unsafe { api!(RedisModule_KeyAtPos(self.ctx, position)) };
        }
    }
}
