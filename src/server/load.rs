//! Loading: registers the module with the server.

use std::ffi::CStr;
use std::fmt::{self, Write};
use std::os::raw::c_int;

use redis_module::raw;

use super::api::{api, missing, OK};
use super::argument::Argument;
use super::command::Command;
use super::group::Group;
use super::hooks::{self, Hooks};
use super::info::{self, Section};
use super::log::Log;
use super::member::Name;
use super::settings::{self, Setting};
use super::text::shown;
use super::{blocking, clock, options, other_modules, replication, replication_needed, timer};

const ERR: c_int = raw::REDISMODULE_ERR as c_int;

/// The module as the server sees it.
pub struct Module {
    /// The module's name.
    pub name: &'static CStr,
    /// Logged once the module is loaded.
    pub greeting: &'static CStr,
    /// Its commands.
    pub commands: &'static [Command],
    /// Further commands, each group with its needs.
    pub groups: &'static [Group],
    /// Commands that are registered only if the module is loaded with their name as an argument.
    pub optional_commands: &'static [Command],
    /// The settings of an operator.
    pub settings: &'static [Setting],
    /// Its section of `INFO`, with its version.
    pub info: Section,
    /// Names that commands keep as server strings.
    pub names: &'static [&'static Name],
    /// Its callbacks outside the commands.
    pub hooks: Hooks,
    /// Frees all state.
    pub unload: fn(),
}

/// Defines the entry points through which a server loads a static [`Module`].
macro_rules! entry_points {
    ($module:expr) => {
        /// The entry point of the module's load.
        ///
        /// # Safety
        /// Only the server may call it, with the arguments of a module's load.
        #[no_mangle]
        #[allow(non_snake_case)] // The name is the server's.
        pub unsafe extern "C" fn RedisModule_OnLoad(
            ctx: *mut redis_module::raw::RedisModuleCtx,
            argv: *mut *mut redis_module::raw::RedisModuleString,
            argc: std::os::raw::c_int,
        ) -> std::os::raw::c_int {
            // SAFETY: guaranteed by the caller.
            unsafe { $crate::server::Module::load(&$module, ctx, argv, argc) }
        }

        /// The entry point of the module's unload. Memory of the library may outlive it, because
        /// the allocator is the process's.
        ///
        /// # Safety
        /// Only the server may call it, when it unloads the module.
        #[no_mangle]
        #[allow(non_snake_case)] // The name is the server's.
        pub unsafe extern "C" fn RedisModule_OnUnload(
            ctx: *mut redis_module::raw::RedisModuleCtx,
        ) -> std::os::raw::c_int {
            // SAFETY: the server unloads no module while one of its calls is in progress.
            unsafe { $crate::server::Module::end(&$module, ctx) };
            redis_module::raw::REDISMODULE_OK as std::os::raw::c_int
        }
    };
}
pub(crate) use entry_points;

impl Module {
    /// Loads the module.
    ///
    /// # Safety
    /// The arguments must be those that the server passes to a module's load.
    pub(crate) unsafe fn load(
        &'static self,
        ctx: *mut raw::RedisModuleCtx,
        argv: *mut *mut raw::RedisModuleString,
        argc: c_int,
    ) -> c_int {
        // SAFETY: ctx is the load's.
        let log = unsafe { Log::new(ctx) };
        // SAFETY: ctx is the load's, and the name is static.
        let initialised = unsafe {
            raw::Export_RedisModule_Init(
                ctx,
                self.name.as_ptr(),
                self.version_number(),
                raw::REDISMODULE_APIVER_1 as c_int,
            )
        };
        if initialised != OK {
            // This is the only reason for which a server refuses.
            let name = shown(self.name);
            log.warning(format_args!(
                "a module of the name {name} is loaded already; to change its arguments, unload it \
                 first"
            ));
            return ERR;
        }
        // SAFETY: ctx and the arguments belong to the load, and live as long.
        let done = unsafe { self.set_up(ctx, Argument::list(argv, argc)) };
        if done {
            log.notice(shown(self.greeting));
            OK
        } else {
            // SAFETY: no call has been made yet.
            unsafe { self.free() };
            ERR
        }
    }

    /// Stops the timer and frees all state.
    ///
    /// # Safety
    /// No call may be in progress, and `ctx` must be that of the module's unload.
    pub(crate) unsafe fn end(&self, ctx: *mut raw::RedisModuleCtx) {
        // SAFETY: guaranteed by the caller. Redis 6.2 unloads a module with an armed timer; later
        // servers refuse to.
        unsafe {
            timer::stop(ctx);
            self.free();
        }
    }

    /// Frees all state.
    ///
    /// # Safety
    /// No call may be in progress.
    unsafe fn free(&self) {
        (self.unload)();
        blocking::free();
        for name in self.names.iter().chain(&replication::OPTIONS) {
            // SAFETY: guaranteed by the caller.
            unsafe { name.free() };
        }
    }

    /// Returns the version as a number: 10203 for 1.2.3.
    fn version_number(&self) -> c_int {
        let parts = self.info.version.to_bytes().split(|&byte| byte == b'.');
        parts.fold(0, |number, part| {
            let digits = part.iter().take_while(|byte| byte.is_ascii_digit());
            let part = digits.fold(0, |n: c_int, byte| {
                n.saturating_mul(10)
                    .saturating_add(byte.wrapping_sub(b'0').into())
            });
            number.saturating_mul(100).saturating_add(part)
        })
    }

    /// Registers everything that the arguments select. Returns `false`, with a line in the log, if
    /// that fails.
    ///
    /// # Safety
    /// `ctx` must be that of the module's load in progress.
    unsafe fn set_up(
        &'static self,
        ctx: *mut raw::RedisModuleCtx,
        arguments: &[Argument<'_>],
    ) -> bool {
        // SAFETY: ctx is the load's.
        let log = unsafe { Log::new(ctx) };
        if let Some(function) = missing() {
            let function = shown(function);
            log.warning(format_args!("this server is too old: it lacks {function}"));
            return false;
        }
        // SAFETY: ctx is the load's.
        if let Some(command) = unsafe { replication::missing_command(ctx, replication::COMMANDS) } {
            let command = shown(command);
            log.warning(format_args!(
                "this server has no command {command} (rename-command?), without which nothing could \
                 be replicated or persisted"
            ));
            return false;
        }
        clock::find();
        let commands = self.optional_commands.iter();
        let commands = commands.map(|command| command.description.name);
        let chosen = match settings::choose(self.settings, arguments, commands) {
            Ok(chosen) => chosen,
            Err(wrong) => {
                log.warning(format_args!(
                    "wrong module argument '{}'; accepted, each once: {}",
                    wrong.get(..64).unwrap_or(wrong).escape_ascii(),
                    Accepted(self)
                ));
                return false;
            }
        };
        // SAFETY: ctx is the load's.
        unsafe {
            api!(RedisModule_SetModuleOptions(ctx, options::options()));
            if !self.register_commands(ctx, arguments) || !self.register_settings(ctx, &chosen) {
                return false;
            }
            info::register(ctx, &self.info);
            // This comes last, when nothing can fail any more: up to Redis 7.0 a failed load leaves
            // its subscriptions behind, and the server would call into a library that is gone.
            replication_needed::watch(ctx);
            other_modules::watch(ctx);
            hooks::watch(ctx, &self.hooks);
        }
        true
    }

    /// # Safety
    /// `ctx` must be that of the module's load in progress.
    unsafe fn register_commands(
        &self,
        ctx: *mut raw::RedisModuleCtx,
        arguments: &[Argument<'_>],
    ) -> bool {
        // SAFETY: ctx is the load's.
        let log = unsafe { Log::new(ctx) };
        let has_needs = |group: &&Group| {
            // SAFETY: ctx is the load's.
            unsafe { group.is_available(ctx) }
        };
        let groups = self.groups.iter().filter(has_needs);
        for command in self.commands.iter().chain(groups.flat_map(|g| g.commands)) {
            // SAFETY: ctx is the load's.
            if !unsafe { command.register(ctx) } {
                let name = shown(command.description.name);
                log.warning(format_args!("{name} cannot be registered"));
                return false;
            }
        }
        for command in self.optional_commands {
            let name = command.description.name;
            let requested = arguments.iter().any(|argument| argument.is(name));
            // SAFETY: ctx is the load's.
            if requested && !unsafe { command.register(ctx) } {
                let name = shown(name);
                log.warning(format_args!(
                    "{name} is already registered by another module; skipped"
                ));
            }
        }
        true
    }

    /// # Safety
    /// `ctx` must be that of the module's load in progress.
    unsafe fn register_settings(
        &self,
        ctx: *mut raw::RedisModuleCtx,
        chosen: &[(&'static Setting, i64)],
    ) -> bool {
        // SAFETY: ctx is the load's.
        let log = unsafe { Log::new(ctx) };
        for &(setting, value) in chosen {
            // SAFETY: ctx is the load's.
            if !unsafe { setting.register(ctx, value) } {
                let name = shown(setting.name);
                log.warning(format_args!("{name} cannot be registered"));
                return false;
            }
        }
        // SAFETY: ctx is the load's.
        let loaded = unsafe { settings::load(ctx) };
        if !loaded {
            let name = shown(self.name);
            log.warning(format_args!("the configuration of {name} is wrong"));
        }
        loaded
    }
}

/// The accepted load arguments, for the log.
struct Accepted<'a>(&'a Module);

impl fmt::Display for Accepted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for command in self.0.optional_commands {
            write!(f, "{}, ", shown(command.description.name))?;
        }
        for (n, setting) in self.0.settings.iter().enumerate() {
            let (before, name) = (if n > 0 { ", " } else { "" }, shown(setting.name));
            let (least, most) = (setting.accepted.start(), setting.accepted.end());
            f.write_str(before)?;
            // One by one: a capital String could fail to grow, which is a panic.
            name.chars()
                .try_for_each(|letter| f.write_char(letter.to_ascii_uppercase()))?;
            write!(f, " followed by a number from {least} to {most}")?;
        }
        Ok(())
    }
}
