//! Loading: what the server is told of the module.

use std::ffi::CStr;
use std::os::raw::c_int;

use redis_module::raw;

use super::{api, call::Argument, clock, command::Command, settings, settings::Setting, stream};

const OK: c_int = raw::REDISMODULE_OK as c_int;
const ERR: c_int = raw::REDISMODULE_ERR as c_int;

/// What the library is to the server.
pub struct Module {
    /// The module's name.
    pub name: &'static CStr,
    /// Its version: 1.2.3 is 10203.
    pub version: c_int,
    /// Its commands.
    pub commands: &'static [Command],
    /// Commands that are there only if the module is loaded with their name as an argument.
    pub on_request: &'static [Command],
    /// The arguments it may be loaded with, in words.
    pub arguments: &'static CStr,
    /// What its operator may choose.
    pub settings: &'static [Setting],
    /// Writes its section of `INFO`.
    pub info: fn(&InfoSection),
    /// Frees what was kept.
    pub unload: fn(),
}

/// The first function that `api!` relies on and this server lacks.
fn missing() -> Option<&'static CStr> {
    macro_rules! first_missing {
        ($($function:ident)*) => {
            // SAFETY: reads of function pointers that the load has filled in.
            unsafe { $(if { raw::$function }.is_none() {
                const NAME: &CStr = c_str(concat!(stringify!($function), "\0"));
                return Some(NAME);
            })* }
        };
    }
    first_missing! {
        RedisModule_CloseKey
        RedisModule_CreateCommand
        RedisModule_DeleteKey
        RedisModule_FreeServerInfo
        RedisModule_GetContextFlags
        RedisModule_GetExpire
        RedisModule_GetNotifyKeyspaceEvents
        RedisModule_GetServerInfo
        RedisModule_InfoAddFieldCString
        RedisModule_InfoAddFieldULongLong
        RedisModule_InfoAddSection
        RedisModule_IsKeysPositionRequest
        RedisModule_KeyAtPos
        RedisModule_KeyType
        RedisModule_Milliseconds
        RedisModule_NotifyKeyspaceEvent
        RedisModule_OpenKey
        RedisModule_RegisterInfoFunc
        RedisModule_Replicate
        RedisModule_ReplicateVerbatim
        RedisModule_ReplyWithArray
        RedisModule_ReplyWithError
        RedisModule_ReplyWithLongLong
        RedisModule_ReplyWithSimpleString
        RedisModule_ReplyWithStringBuffer
        RedisModule_ServerInfoGetFieldUnsigned
        RedisModule_SetExpire
        RedisModule_SetModuleOptions
        RedisModule_SignalModifiedKey
        RedisModule_StringDMA
        RedisModule_StringPtrLen
        RedisModule_StringTruncate
        RedisModule_SubscribeToServerEvent
        RedisModule_ValueLength
        RedisModule_WrongArity
    }
    None
}

/// Valkey 9 moves slots in one step only if every module says that it bears that. In buckets,
/// ordinary strings, there is nothing to bear. The crate's header does not know it.
const HANDLES_ATOMIC_SLOT_MIGRATION: c_int = 1 << 5;

/// How the server is to treat the module.
fn options() -> c_int {
    // SAFETY: a function pointer that the load has filled in, of a function without conditions.
    let known = unsafe { raw::RedisModule_GetModuleOptionsAll.map_or(0, |known| known()) };
    // Without the first opening a key for writing would count as changing it, denied or not.
    // The second lets a replica load its master's data beside its own (diskless, `swapdb`), which
    // it does only if every module bears that: nothing is kept here that belongs to either.
    raw::REDISMODULE_OPTION_NO_IMPLICIT_SIGNAL_MODIFIED as c_int
        | raw::REDISMODULE_OPTIONS_HANDLE_REPL_ASYNC_LOAD as c_int
        | HANDLES_ATOMIC_SLOT_MIGRATION & known
}

const fn c_str(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => c"",
    }
}

/// The server's way in.
///
/// # Safety
/// Only the server may call it, with what it passes to a module's load.
#[no_mangle]
#[allow(non_snake_case)] // The name is the server's.
pub unsafe extern "C" fn RedisModule_OnLoad(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    let module = &crate::MODULE;
    // SAFETY: ctx is the load's, and the name is static.
    let initialised = unsafe {
        raw::Export_RedisModule_Init(
            ctx,
            module.name.as_ptr(),
            module.version,
            raw::REDISMODULE_APIVER_1 as c_int,
        )
    };
    if initialised != OK {
        return ERR;
    }
    if let Some(function) = missing() {
        log(
            ctx,
            WARNING,
            c"this server is too old: it lacks %s",
            function,
        );
        return ERR;
    }
    // SAFETY: the server passes the module's arguments, which live as long as the load.
    let arguments = unsafe { Argument::list(argv, argc) };
    // SAFETY: ctx is the load's.
    if unsafe { module.set_up(ctx, arguments) } {
        log(ctx, c"notice", c"redis-rl %s loaded", VERSION);
        OK
    } else {
        (module.unload)();
        ERR
    }
}

/// The server's way out: the library's memory outlives it, since the allocator is the process's.
///
/// # Safety
/// Only the server may call it, when it unloads the module.
#[no_mangle]
#[allow(non_snake_case)] // The name is the server's.
pub unsafe extern "C" fn RedisModule_OnUnload(_ctx: *mut raw::RedisModuleCtx) -> c_int {
    (crate::MODULE.unload)();
    OK
}

const VERSION: &CStr = c_str(concat!(env!("CARGO_PKG_VERSION"), "\0"));
const WARNING: &CStr = c"warning";

impl Module {
    /// Registers what the arguments ask for; `false`, with a line in the log, if that cannot be.
    ///
    /// # Safety
    /// `ctx` must be that of the module's load in progress.
    unsafe fn set_up(&self, ctx: *mut raw::RedisModuleCtx, arguments: &[Argument<'_>]) -> bool {
        // SAFETY: ctx is the load's.
        unsafe { api!(RedisModule_SetModuleOptions(ctx, options())) };
        clock::find();
        let Some(chosen) = self.choose(arguments) else {
            log(
                ctx,
                WARNING,
                c"wrong module arguments; accepted: %s",
                self.arguments,
            );
            return false;
        };
        // SAFETY: ctx is the load's.
        if !unsafe { self.register_commands(ctx, arguments) } {
            return false;
        }
        for (setting, value) in chosen {
            // SAFETY: ctx is the load's.
            if !unsafe { setting.register(ctx, value) } {
                log(ctx, WARNING, c"%s cannot be registered", setting.name);
                return false;
            }
        }
        // SAFETY: ctx is the load's.
        unsafe {
            if !settings::load(ctx) {
                log(ctx, WARNING, c"the configuration of %s is wrong", self.name);
                return false;
            }
            api!(RedisModule_RegisterInfoFunc(ctx, Some(info)));
            // Last, when nothing can fail any more: up to Redis 7.0 a load that failed leaves its
            // subscriptions behind, and the server would call into a library that is gone.
            stream::watch(ctx);
        }
        true
    }

    /// The settings with the values that the arguments give them; `None` if one is wrong.
    fn choose(&self, mut arguments: &[Argument<'_>]) -> Option<Vec<(&'static Setting, i64)>> {
        let mut chosen: Vec<_> = self.settings.iter().map(|s| (s, s.default)).collect();
        while let Some((argument, rest)) = arguments.split_first() {
            arguments = rest;
            if self.on_request.iter().any(|c| argument.is(c.info.name)) {
                continue;
            }
            let (setting, value) = chosen.iter_mut().find(|(s, _)| argument.is(s.name))?;
            let (argument, rest) = arguments.split_first()?;
            *value = setting.parse(argument.bytes())?;
            arguments = rest;
        }
        Some(chosen)
    }

    /// # Safety
    /// `ctx` must be that of the module's load in progress.
    unsafe fn register_commands(
        &self,
        ctx: *mut raw::RedisModuleCtx,
        arguments: &[Argument<'_>],
    ) -> bool {
        for command in self.commands {
            // SAFETY: ctx is the load's.
            if !unsafe { command.register(ctx) && command.describe(ctx) } {
                log(ctx, WARNING, c"%s cannot be registered", command.info.name);
                return false;
            }
        }
        for command in self.on_request {
            let requested = arguments.iter().any(|a| a.is(command.info.name));
            // SAFETY: ctx is the load's.
            if requested && !unsafe { command.register(ctx) && command.describe(ctx) } {
                let text = c"%s is another module's here and stays that";
                log(ctx, WARNING, text, command.info.name);
            }
        }
        true
    }
}

fn log(ctx: *mut raw::RedisModuleCtx, level: &CStr, format: &'static CStr, text: &CStr) {
    // SAFETY: every server has Log; each format in this file holds one %s.
    unsafe {
        if let Some(log) = raw::RedisModule_Log {
            log(ctx, level.as_ptr(), format.as_ptr(), text.as_ptr());
        }
    }
}

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

unsafe extern "C" fn info(ctx: *mut raw::RedisModuleInfoCtx, _for_crash_report: c_int) {
    // SAFETY: ctx is that of the request in progress; without a name of its own the section has
    // the module's.
    let wanted = unsafe { api!(RedisModule_InfoAddSection(ctx, c"".as_ptr())) };
    if wanted == OK {
        let section = InfoSection(ctx);
        section.text(c"version", VERSION);
        (crate::MODULE.info)(&section);
    }
}
