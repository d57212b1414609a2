//! Loading: what the server is told of the module and its commands.

use std::ffi::CStr;
use std::os::raw::{c_char, c_int};
use std::ptr;

use redis_module::raw;

use super::{api, call::Call};
use crate::error::Error;

const OK: c_int = raw::REDISMODULE_OK as c_int;
const ERR: c_int = raw::REDISMODULE_ERR as c_int;

/// What the library is to the server.
pub struct Module {
    /// The module's name.
    pub name: &'static CStr,
    /// Its commands.
    pub commands: &'static [Command],
}

/// A command that can be registered.
pub struct Command {
    info: &'static Info,
    entry: unsafe extern "C" fn(
        *mut raw::RedisModuleCtx,
        *mut *mut raw::RedisModuleString,
        c_int,
    ) -> c_int,
}

/// A command's code and its description.
pub trait Handler {
    /// What the server is told of it.
    const INFO: Info;

    /// Answers one call, unless it fails: then the error is the answer.
    ///
    /// # Errors
    /// Anything that is wrong with the call or the key.
    fn run<'a>(call: &Call<'a>) -> Result<(), Error<'a>>;
}

/// A command's description.
pub struct Info {
    /// As clients write it.
    pub name: &'static CStr,
    /// What it does to its keys.
    pub access: Access,
    /// One sentence.
    pub summary: &'static CStr,
    /// In order.
    pub arguments: &'static [Doc],
    /// Words of a call including the name; negative: at least.
    pub arity: c_int,
}

/// What a command does to its keys.
#[derive(Clone, Copy)]
pub enum Access {
    /// Reads and updates.
    Write,
}

/// An argument's description.
pub struct Doc {
    name: &'static CStr,
    token: Option<&'static CStr>,
    kind: raw::RedisModuleCommandArgType,
}

impl Doc {
    /// A key.
    pub const fn key(name: &'static CStr) -> Self {
        Self {
            name,
            token: None,
            kind: raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_KEY,
        }
    }

    /// Text.
    pub const fn string(name: &'static CStr) -> Self {
        Self {
            name,
            token: None,
            kind: raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING,
        }
    }

    /// A number.
    pub const fn integer(name: &'static CStr) -> Self {
        Self {
            name,
            token: None,
            kind: raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER,
        }
    }

    /// A number behind a word, which may be left out.
    pub const fn option(name: &'static CStr, token: &'static CStr) -> Self {
        Self {
            name,
            token: Some(token),
            kind: raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER,
        }
    }

    fn to_raw(&self) -> raw::RedisModuleCommandArg {
        let is_key = self.kind == raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_KEY;
        raw::RedisModuleCommandArg {
            name: self.name.as_ptr(),
            type_: self.kind,
            key_spec_index: if is_key { 0 } else { -1 },
            token: self.token.map_or(ptr::null(), CStr::as_ptr),
            summary: ptr::null(),
            since: ptr::null(),
            flags: if self.token.is_some() {
                raw::REDISMODULE_CMD_ARG_OPTIONAL as c_int
            } else {
                0
            },
            deprecated_since: ptr::null(),
            subargs: ptr::null_mut(),
            display_text: ptr::null(),
        }
    }
}

impl Command {
    /// The command that `H` handles.
    pub const fn of<H: Handler>() -> Self {
        Self {
            info: &H::INFO,
            entry: entry::<H>,
        }
    }

    /// # Safety
    /// `ctx` must be that of the module's load in progress.
    unsafe fn register(&self, ctx: *mut raw::RedisModuleCtx) -> Result<(), &'static CStr> {
        let Info { name, access, .. } = self.info;
        let flags = match access {
            Access::Write => c"write fast",
        };
        // SAFETY: ctx is the load's; the strings are static.
        let created = unsafe {
            api!(RedisModule_CreateCommand(
                ctx,
                name.as_ptr(),
                Some(self.entry),
                flags.as_ptr(),
                1,
                1,
                1
            ))
        };
        if created != OK {
            return Err(c"a command of that name exists already");
        }
        // SAFETY: as above.
        unsafe { self.describe(ctx) }
    }

    /// # Safety
    /// `ctx` must be that of the module's load in progress.
    unsafe fn describe(&self, ctx: *mut raw::RedisModuleCtx) -> Result<(), &'static CStr> {
        // SAFETY: reads of function pointers that the load has filled in.
        let (get, set) = unsafe { (raw::RedisModule_GetCommand, raw::RedisModule_SetCommandInfo) };
        let (Some(get), Some(set)) = (get, set) else {
            return Ok(()); // Redis 6.2 has no place for it.
        };
        let version = raw::RedisModuleCommandInfoVersion {
            version: 1,
            sizeof_historyentry: size_of::<raw::RedisModuleCommandHistoryEntry>(),
            sizeof_keyspec: size_of::<raw::RedisModuleCommandKeySpec>(),
            sizeof_arg: size_of::<raw::RedisModuleCommandArg>(),
        };
        // SAFETY: all zeros is the C API's way to end a list, and valid for these plain structs
        // of numbers, nullable pointers and unions of such.
        let (mut key_specs, end) = unsafe {
            let zero: raw::RedisModuleCommandKeySpec = std::mem::zeroed();
            ([zero, zero], std::mem::zeroed())
        };
        key_specs[0].flags = match self.info.access {
            Access::Write => {
                raw::REDISMODULE_CMD_KEY_RW
                    | raw::REDISMODULE_CMD_KEY_ACCESS
                    | raw::REDISMODULE_CMD_KEY_UPDATE
            }
        }
        .into();
        key_specs[0].begin_search_type =
            raw::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_INDEX;
        key_specs[0].bs.index.pos = 1;
        key_specs[0].find_keys_type =
            raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_RANGE;
        key_specs[0].fk.range = raw::RedisModuleCommandKeySpec__bindgen_ty_2__bindgen_ty_1 {
            lastkey: 0,
            keystep: 1,
            limit: 0,
        };
        let mut arguments: Vec<_> = self.info.arguments.iter().map(Doc::to_raw).collect();
        arguments.push(end);
        let info = raw::RedisModuleCommandInfo {
            version: &version,
            summary: self.info.summary.as_ptr(),
            complexity: c"O(1)".as_ptr(),
            since: c"0.1.0".as_ptr(),
            history: ptr::null_mut(),
            tips: ptr::null(),
            arity: self.info.arity,
            key_specs: key_specs.as_mut_ptr(),
            args: arguments.as_mut_ptr(),
        };
        // SAFETY: ctx is the load's; the lists end in a zeroed entry, and the server copies
        // everything before it returns.
        let described = unsafe {
            let command = get(ctx, self.info.name.as_ptr());
            !command.is_null() && set(command, &info) == OK
        };
        if described {
            Ok(())
        } else {
            Err(c"the server refused its description")
        }
    }
}

unsafe extern "C" fn entry<H: Handler>(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: the server calls this with a call's three.
    let call = unsafe { Call::new(ctx, argv, argc) };
    if let Err(error) = H::run(&call) {
        call.fail(&error);
    }
    OK
}

/// The first function that `api!` relies on and this server lacks.
fn missing() -> Option<&'static CStr> {
    macro_rules! first_missing {
        ($($function:ident)*) => {
            // SAFETY: reads of function pointers that the load has filled in.
            unsafe { $(if { raw::$function }.is_none() {
                const NAME: &CStr = match CStr::from_bytes_with_nul(
                    concat!(stringify!($function), "\0").as_bytes(),
                ) {
                    Ok(name) => name,
                    Err(_) => c"",
                };
                return Some(NAME);
            })* }
        };
    }
    first_missing! {
        RedisModule_CloseKey
        RedisModule_CreateCommand
        RedisModule_GetContextFlags
        RedisModule_KeyType
        RedisModule_OpenKey
        RedisModule_Replicate
        RedisModule_ReplyWithArray
        RedisModule_ReplyWithError
        RedisModule_ReplyWithLongLong
        RedisModule_SetAbsExpire
        RedisModule_SetModuleOptions
        RedisModule_SignalModifiedKey
        RedisModule_StringDMA
        RedisModule_StringPtrLen
        RedisModule_StringTruncate
        RedisModule_ValueLength
        RedisModule_WrongArity
    }
    None
}

/// The server's way in.
///
/// # Safety
/// Only the server may call it, with what it passes to a module's load.
#[no_mangle]
#[allow(non_snake_case)] // The name is the server's.
pub unsafe extern "C" fn RedisModule_OnLoad(
    ctx: *mut raw::RedisModuleCtx,
    _argv: *mut *mut raw::RedisModuleString,
    _argc: c_int,
) -> c_int {
    let module = &crate::MODULE;
    // SAFETY: ctx is the load's, and the name is static.
    let initialised = unsafe {
        raw::Export_RedisModule_Init(
            ctx,
            module.name.as_ptr(),
            VERSION,
            raw::REDISMODULE_APIVER_1 as c_int,
        )
    };
    if initialised != OK {
        return ERR;
    }
    if let Some(function) = missing() {
        log(
            ctx,
            c"warning",
            c"this server is too old: it lacks %s",
            function,
        );
        return ERR;
    }
    // SAFETY: ctx is the load's. Without this option opening a key for writing would count as
    // changing it, denied or not.
    unsafe {
        api!(RedisModule_SetModuleOptions(
            ctx,
            raw::REDISMODULE_OPTION_NO_IMPLICIT_SIGNAL_MODIFIED as c_int
        ));
    }
    for command in module.commands {
        // SAFETY: ctx is the load's.
        if let Err(why) = unsafe { command.register(ctx) } {
            log(ctx, c"warning", c"a command cannot be registered: %s", why);
            return ERR;
        }
    }
    const TEXT: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    log(ctx, c"notice", c"redis-rl %s loaded", TEXT);
    OK
}

/// `0.1.0` → 100, for `MODULE LIST`.
const VERSION: c_int = 100;

fn log(ctx: *mut raw::RedisModuleCtx, level: &CStr, format: &'static CStr, text: &CStr) {
    // SAFETY: every server has Log; each format in this file holds one %s.
    unsafe {
        if let Some(log) = raw::RedisModule_Log {
            log(
                ctx,
                level.as_ptr().cast::<c_char>(),
                format.as_ptr(),
                text.as_ptr(),
            );
        }
    }
}
