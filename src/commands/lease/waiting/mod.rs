//! The callers that wait for a slot (`RL.ACQUIRE … WAIT ms`).
//!
//! A command or a run of the timer grants a slot ([`mod@serve`]): it writes the lease and puts the answer into
//! the [`registry`]. The timer ([`alarm`], [`tick`]) unblocks the caller, and the server then asks for the answer
//! ([`ends`]), which writes nothing.

mod alarm;
mod ends;
mod join;
mod registry;
mod serve;
mod terms;
mod tick;

use crate::server::Hooks;

pub use join::{wait, Place};
pub use registry::{confirm, is_busy, keep_most, most, queue_length, unload, DEFAULT_MOST};
pub use serve::{ahead, answer_all, next_end, release, report, serve, Ahead};
pub use terms::Terms;
pub use tick::apply_most;

/// The functions that the server calls outside the commands.
pub const HOOKS: Hooks = Hooks {
    answer: ends::answer,
    interrupt: ends::interrupt,
    lost: ends::lost,
    tick: tick::tick,
    swept: tick::swept,
};
