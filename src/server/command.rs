//! Registers commands: name, flags and entry point.

use std::os::raw::c_int;

use redis_module::raw;

use super::api::{api, OK};
use super::call::Call;
use super::description::{Access, Description, Keys};
use super::docs;

/// A command's code and its description.
pub trait Handler {
    /// Describes the command to the server.
    const DESCRIPTION: Description;

    /// Answers one call.
    fn run(call: &mut Call<'_>);
}

/// A command to register.
pub struct Command {
    pub(super) description: &'static Description,
    entry: unsafe extern "C" fn(
        *mut raw::RedisModuleCtx,
        *mut *mut raw::RedisModuleString,
        c_int,
    ) -> c_int,
}

impl Command {
    /// Returns the command that `H` handles.
    pub const fn of<H: Handler>() -> Self {
        Self {
            description: &H::DESCRIPTION,
            entry: entry::<H>,
        }
    }

    /// Registers the command. Returns `false` if the name is taken or the description is refused.
    ///
    /// # Safety
    /// `ctx` must be that of the module's load in progress.
    pub(super) unsafe fn register(&self, ctx: *mut raw::RedisModuleCtx) -> bool {
        let Description {
            name, access, keys, ..
        } = *self.description;
        // `fast` marks commands whose time does not grow with the number of keys.
        let flags = match (access, keys) {
            (Access::Write, Keys::Counted { .. }) => c"write getkeys-api",
            (Access::Write, _) => c"write fast",
            (Access::Wait, _) if docs::is_known() => c"write fast blocking",
            // Redis 6.2 rejects the flag.
            (Access::Wait, _) => c"write fast",
            (Access::Read, _) => c"readonly fast",
            (Access::List, _) => c"readonly",
            (Access::Admin, _) => c"readonly admin",
        };
        let first_key = c_int::from(keys == Keys::First);
        // SAFETY: ctx is the load's; the strings are static.
        unsafe {
            let created = api!(RedisModule_CreateCommand(
                ctx,
                name.as_ptr(),
                Some(self.entry),
                flags.as_ptr(),
                first_key,
                first_key,
                first_key
            ));
            created == OK && docs::describe(ctx, self.description)
        }
    }
}

unsafe extern "C" fn entry<H: Handler>(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: the server calls this with the arguments of a call.
    let mut call = unsafe { Call::new(ctx, argv, argc) };
    if let Keys::Counted { step } = H::DESCRIPTION.keys {
        if call.wants_key_positions() {
            call.name_key_positions(step);
            return OK;
        }
    }
    H::run(&mut call);
    OK
}
