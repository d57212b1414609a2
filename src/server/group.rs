//! Commands that not every server can have.

use std::ffi::CStr;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use redis_module::raw;

use super::command::Command;
use super::log::Log;
use super::replication;
use super::text::shown;

/// Commands that are registered only if the server has the commands that they call, or that their
/// effects replicate as.
pub struct Group {
    /// The server commands that they need, in lists.
    pub needs: &'static [&'static [&'static CStr]],
    /// The commands.
    pub commands: &'static [Command],
    /// Set if the server has what they need.
    pub feature: Option<&'static Feature>,
}

/// A part of other commands that is available with a group.
pub struct Feature {
    name: &'static CStr,
    is_set: AtomicBool,
}

impl Feature {
    /// Creates a feature, with its name in the log, that is not available until the load finds it.
    pub const fn new(name: &'static CStr) -> Self {
        let is_set = AtomicBool::new(false);
        Self { name, is_set }
    }

    /// Returns whether it is available.
    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Relaxed)
    }
}

impl Group {
    /// Returns whether the server has the commands that the group needs; if not, logs which one is
    /// missing.
    ///
    /// # Safety
    /// `ctx` must be that of the module's load in progress.
    pub(super) unsafe fn is_available(&self, ctx: *mut raw::RedisModuleCtx) -> bool {
        let mut lists = self.needs.iter();
        // SAFETY: guaranteed by the caller.
        let missing = lists.find_map(|list| unsafe { replication::missing_command(ctx, list) });
        if let Some(feature) = self.feature {
            feature.is_set.store(missing.is_none(), Ordering::Relaxed);
        }
        let Some(missing) = missing.map(shown) else {
            return true;
        };
        // SAFETY: guaranteed by the caller.
        let log = unsafe { Log::new(ctx) };
        log.warning(format_args!("{self} are left out:"));
        log.warning(format_args!(
            "this server has no command {missing} (rename-command?), which they call or are replicated as"
        ));
        false
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands = self.commands.iter();
        let commands = commands.map(|command| command.description.name);
        let feature = self.feature.map(|feature| feature.name);
        let mut names = commands.chain(feature).map(shown).peekable();
        let mut before = "";
        while let Some(name) = names.next() {
            write!(f, "{before}{name}")?;
            let is_last = names.clone().nth(1).is_none();
            before = if is_last { " and " } else { ", " };
        }
        Ok(())
    }
}
