//! Settings: arguments of the module and, on servers from 7.0 on, parameters of `CONFIG`.

use std::ffi::{c_char, c_int, c_longlong, c_void, CStr};
use std::ops::RangeInclusive;

use redis_module::raw;

use super::api::OK;

use super::argument::Argument;
use super::call::Call;

/// A numeric setting.
pub struct Setting {
    /// The name as an argument; in `CONFIG` it is prefixed with the module's name and a dot.
    pub name: &'static CStr,
    /// The default value.
    pub default: i64,
    /// The accepted values.
    pub accepted: RangeInclusive<i64>,
    /// Returns the current value.
    pub get: fn() -> i64,
    /// Applies a value.
    pub set: fn(i64),
    /// Acts on a new value, where that needs the server.
    pub apply: Option<fn(&mut Call<'_>)>,
}

impl Setting {
    /// Parses a value; `None` if it is not accepted.
    fn parse(&self, argument: &[u8]) -> Option<i64> {
        let number = std::str::from_utf8(argument).ok()?.parse().ok()?;
        self.accepted.contains(&number).then_some(number)
    }

    /// Applies `value`, unless the server's configuration has another one.
    ///
    /// # Safety
    /// `ctx` must be that of the module's load in progress.
    pub(super) unsafe fn register(
        &'static self,
        ctx: *mut raw::RedisModuleCtx,
        value: i64,
    ) -> bool {
        (self.set)(value);
        // SAFETY: a read of a function pointer that the load has filled in.
        let Some(register) = (unsafe { raw::RedisModule_RegisterNumericConfig }) else {
            return true;
        };
        let this: *const Self = self;
        // SAFETY: ctx is the load's; what the server keeps is static.
        let status = unsafe {
            register(
                ctx,
                self.name.as_ptr(),
                value,
                raw::REDISMODULE_CONFIG_DEFAULT,
                *self.accepted.start(),
                *self.accepted.end(),
                Some(get),
                Some(set),
                self.apply.map(|_| apply as Apply),
                this.cast_mut().cast(),
            )
        };
        status == OK
    }
}

/// Returns the settings with the values from the module's arguments. An argument may also be one of
/// the `other` words.
///
/// # Errors
/// An argument, which is returned, is wrong, given twice or without its value.
pub(super) fn choose<'a>(
    settings: &'static [Setting],
    mut arguments: &[Argument<'a>],
    other: impl Iterator<Item = &'static CStr>,
) -> Result<Vec<(&'static Setting, i64)>, &'a [u8]> {
    let words: Vec<_> = settings.iter().map(|s| s.name).chain(other).collect();
    let mut chosen: Vec<_> = settings.iter().map(|s| (s, s.default)).collect();
    let mut given = Vec::new();
    while let [argument, rest @ ..] = arguments {
        arguments = rest;
        let found = words.iter().find(|word| argument.is(word));
        let &word = found.ok_or(argument.bytes())?;
        if given.contains(&word) {
            return Err(argument.bytes());
        }
        given.push(word);
        if let Some((setting, value)) = chosen.iter_mut().find(|(s, _)| s.name == word) {
            let (number, rest) = arguments.split_first().ok_or(argument.bytes())?;
            *value = setting.parse(number.bytes()).ok_or(number.bytes())?;
            arguments = rest;
        }
    }
    Ok(chosen)
}

/// Applies the values that the server's configuration has for the registered settings.
///
/// # Safety
/// `ctx` must be that of the module's load in progress.
pub(super) unsafe fn load(ctx: *mut raw::RedisModuleCtx) -> bool {
    // SAFETY: a read of a function pointer that the load has filled in, and the load's ctx.
    unsafe { raw::RedisModule_LoadConfigs.is_none_or(|load| load(ctx) == OK) }
}

type Apply = unsafe extern "C" fn(
    *mut raw::RedisModuleCtx,
    *mut c_void,
    *mut *mut raw::RedisModuleString,
) -> c_int;

unsafe extern "C" fn apply(
    ctx: *mut raw::RedisModuleCtx,
    setting: *mut c_void,
    _error: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the server passes what it was registered with, a static setting, and a context.
    let (setting, mut call) = unsafe { (&*setting.cast::<Setting>(), Call::of_server(ctx)) };
    if let Some(apply) = setting.apply {
        apply(&mut call);
    }
    OK
}

unsafe extern "C" fn get(_name: *const c_char, setting: *mut c_void) -> c_longlong {
    // SAFETY: the server passes what it was registered with, a static setting.
    let setting = unsafe { &*setting.cast::<Setting>() };
    (setting.get)()
}

unsafe extern "C" fn set(
    _name: *const c_char,
    value: c_longlong,
    setting: *mut c_void,
    _error: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the server passes what it was registered with, a static setting.
    let setting = unsafe { &*setting.cast::<Setting>() };
    // Applying the same value again would discard the kept data.
    if (setting.get)() != value {
        (setting.set)(value);
    }
    OK
}
