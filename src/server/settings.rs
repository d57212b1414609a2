//! Settings: as arguments of the module and, on servers that have it (7.0), in `CONFIG`.

use std::ffi::{c_char, c_int, c_longlong, c_void, CStr};
use std::ops::RangeInclusive;

use redis_module::raw;

use super::argument::Argument;
use super::OK;

/// A number that an operator may choose.
pub struct Setting {
    /// As an argument; in `CONFIG` the module's name and a dot come before it.
    pub name: &'static CStr,
    /// Where nobody chose.
    pub default: i64,
    /// What may be chosen.
    pub accepted: RangeInclusive<i64>,
    /// Tells the number in force.
    pub get: fn() -> i64,
    /// Puts one in force.
    pub set: fn(i64),
}

impl Setting {
    /// The number that an argument stands for.
    fn parse(&self, argument: &[u8]) -> Option<i64> {
        let number = std::str::from_utf8(argument).ok()?.parse().ok()?;
        self.accepted.contains(&number).then_some(number)
    }

    /// Puts `value` in force, unless the server's configuration has another.
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
                None,
                this.cast_mut().cast(),
            )
        };
        status == OK
    }
}

/// The settings with the values that the module's arguments give them; `None` if one is wrong. An
/// argument may also be another word, which `is_other` knows.
pub(super) fn choose(
    settings: &'static [Setting],
    mut arguments: &[Argument<'_>],
    is_other: impl Fn(&Argument<'_>) -> bool,
) -> Option<Vec<(&'static Setting, i64)>> {
    let mut chosen = Vec::new();
    for setting in settings {
        chosen.push((setting, setting.default));
    }
    while let [argument, rest @ ..] = arguments {
        arguments = rest;
        if is_other(argument) {
            continue;
        }
        let (setting, value) = chosen.iter_mut().find(|(s, _)| argument.is(s.name))?;
        let (argument, rest) = arguments.split_first()?;
        *value = setting.parse(argument.bytes())?;
        arguments = rest;
    }
    Some(chosen)
}

/// Puts in force what the server's configuration has for the settings that were registered.
///
/// # Safety
/// `ctx` must be that of the module's load in progress.
pub(super) unsafe fn load(ctx: *mut raw::RedisModuleCtx) -> bool {
    // SAFETY: a read of a function pointer that the load has filled in, and the load's ctx.
    unsafe { raw::RedisModule_LoadConfigs.is_none_or(|load| load(ctx) == OK) }
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
    // Setting it afresh would forget what was kept under it.
    if (setting.get)() != value {
        (setting.set)(value);
    }
    OK
}
