//! Replication of effects to replicas and the AOF, as ordinary commands. If there is no AOF and no
//! replica, the call is only flagged as dirty: see
//! [`replication_needed`](super::replication_needed).

use std::ffi::CStr;
use std::os::raw::{c_int, c_longlong};

use redis_module::raw;

use super::api::api;
use super::argument::Argument;
use super::member::Name;
use super::replication_needed::is_unread;

/// The commands that effects consist of, except for those of sorted sets.
pub(super) const COMMANDS: &[&CStr] = &[c"SET", c"DEL"];

/// The additional commands that effects on sorted sets consist of.
pub const SET_COMMANDS: &[&CStr] = &[c"ZADD", c"ZREM", c"PEXPIREAT", c"PERSIST"];

/// The additional commands that effects on hashes consist of, together with [`SET_COMMANDS`].
pub const HASH_COMMANDS: &[&CStr] = &[c"HSET", c"HDEL"];

static PXAT: Name = Name::new(b"PXAT");
static XX: Name = Name::new(b"XX");
static KEEPTTL: Name = Name::new(b"KEEPTTL");

/// The options of `SET`. Created once; the server would otherwise create them for each call.
pub(super) static OPTIONS: [&Name; 3] = [&PXAT, &XX, &KEEPTTL];

/// Replicates that `name` was set to `value`, to expire at `expire_ms` (since 1970).
///
/// # Safety
/// `ctx` must be that of the call in progress, and `name` one of its arguments.
pub(super) unsafe fn set(
    ctx: *mut raw::RedisModuleCtx,
    name: &Argument<'_>,
    value: &[u8],
    expire_ms: c_longlong,
) {
    // SAFETY: guaranteed by the caller; the variadic arguments match the format: string object,
    // buffer with its length, string object, buffer with its length. The server copies the buffers
    // and counts references to the objects.
    unsafe {
        if is_unread(ctx) {
            api!(RedisModule_ReplicateVerbatim(ctx));
            return;
        }
        let digits = Digits::of(expire_ms.unsigned_abs());
        let digits = digits.text();
        let status = api!(RedisModule_Replicate(
            ctx,
            c"SET".as_ptr(),
            c"sbsb".as_ptr(),
            name.string,
            value.as_ptr(),
            value.len(),
            PXAT.argument().string,
            digits.as_ptr(),
            digits.len(),
        ));
        or_verbatim(ctx, status);
    }
}

/// Replicates that `name`, which keeps its expiry, was set to `value`.
///
/// `KEEPTTL` alone would create a key without an expiry on a node that lacks the key: one that evicts
/// for itself, or a writable replica whose client removed it. With `XX` such a key stays missing there
/// until its expiry moves.
///
/// # Safety
/// As for [`set`].
pub(super) unsafe fn set_value(ctx: *mut raw::RedisModuleCtx, name: &Argument<'_>, value: &[u8]) {
    // SAFETY: guaranteed by the caller; the variadic arguments match the format: string object,
    // buffer with its length, two string objects.
    unsafe {
        if is_unread(ctx) {
            api!(RedisModule_ReplicateVerbatim(ctx));
            return;
        }
        let status = api!(RedisModule_Replicate(
            ctx,
            c"SET".as_ptr(),
            c"sbss".as_ptr(),
            name.string,
            value.as_ptr(),
            value.len(),
            XX.argument().string,
            KEEPTTL.argument().string,
        ));
        or_verbatim(ctx, status);
    }
}

/// A number in decimal. From a number the server would create an object that it must format again
/// for every reader.
struct Digits {
    bytes: [u8; 20],
    start: usize,
}

impl Digits {
    fn of(mut number: u64) -> Self {
        let mut digits = Self {
            bytes: [b'0'; 20],
            start: 20,
        };
        for byte in digits.bytes.iter_mut().rev() {
            *byte = b'0'.wrapping_add((number % 10) as u8);
            number /= 10;
            digits.start = digits.start.saturating_sub(1);
            if number == 0 {
                break;
            }
        }
        digits
    }

    fn text(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

/// Replicates that `name` was removed.
///
/// # Safety
/// As for [`set`].
pub(super) unsafe fn remove(ctx: *mut raw::RedisModuleCtx, name: &Argument<'_>) {
    // SAFETY: guaranteed by the caller; the one variadic argument is the format's string object.
    unsafe {
        let status = api!(RedisModule_Replicate(
            ctx,
            c"DEL".as_ptr(),
            c"s".as_ptr(),
            name.string
        ));
        or_verbatim(ctx, status);
    }
}

/// Replicates the call itself if the server refused the effect. The server refuses only commands
/// that it lacks, which the load has ruled out; if it did, charging by another clock is better than
/// losing the change.
///
/// # Safety
/// `ctx` must be that of the call in progress.
unsafe fn or_verbatim(ctx: *mut raw::RedisModuleCtx, status: c_int) {
    if status as isize != raw::REDISMODULE_OK {
        // SAFETY: guaranteed by the caller.
        unsafe { api!(RedisModule_ReplicateVerbatim(ctx)) };
    }
}

/// The expiry of a key.
pub(super) enum Expiry {
    /// In milliseconds since 1970.
    At(i64),
    Never,
}

/// Replicates when the key at `name` expires from now on.
///
/// # Safety
/// As for [`set`].
pub(super) unsafe fn expire(ctx: *mut raw::RedisModuleCtx, name: &Argument<'_>, expiry: &Expiry) {
    // SAFETY: the caller's promise; the variadic arguments are those of the formats: string
    // object, long long.
    unsafe {
        let status = match *expiry {
            Expiry::At(at) => {
                let (pexpireat, format) = (c"PEXPIREAT".as_ptr(), c"sl".as_ptr());
                api!(RedisModule_Replicate(
                    ctx,
                    pexpireat,
                    format,
                    name.string,
                    at
                ))
            }
            Expiry::Never => {
                let (persist, format) = (c"PERSIST".as_ptr(), c"s".as_ptr());
                api!(RedisModule_Replicate(ctx, persist, format, name.string))
            }
        };
        or_verbatim(ctx, status);
    }
}

/// Replicates `command name words…`.
///
/// # Safety
/// As for [`set`]; the strings of `words` must be alive.
pub(super) unsafe fn effect(
    ctx: *mut raw::RedisModuleCtx,
    command: &CStr,
    name: &Argument<'_>,
    words: &[*mut raw::RedisModuleString],
) {
    // SAFETY: the caller's promise; the variadic arguments are those of the format: string object,
    // vector of string objects with its length.
    unsafe {
        let status = api!(RedisModule_Replicate(
            ctx,
            command.as_ptr(),
            c"sv".as_ptr(),
            name.string,
            words.as_ptr(),
            words.len()
        ));
        or_verbatim(ctx, status);
    }
}
/// Returns the first of these commands that this server does not have under its name.
///
/// # Safety
/// `ctx` must be that of the module's load in progress.
pub(super) unsafe fn missing_command(
    ctx: *mut raw::RedisModuleCtx,
    commands: &[&'static CStr],
) -> Option<&'static CStr> {
    commands.iter().copied().find(|command| {
        // SAFETY: ctx is the load's. A call without arguments never runs: it fails because of its
        // arity (EINVAL) or because there is no such command (ENOENT).
        unsafe {
            let reply = api!(RedisModule_Call(ctx, command.as_ptr(), c"".as_ptr()));
            let error = std::io::Error::last_os_error().raw_os_error();
            if reply.is_null() {
                return error == Some(libc::ENOENT);
            }
            api!(RedisModule_FreeCallReply(reply));
            false
        }
    })
}
