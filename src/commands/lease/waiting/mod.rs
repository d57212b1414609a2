//! The callers that wait for a slot (`RL.ACQUIRE … WAIT ms`).
//!
//! Whatever grants a slot writes it in its own command or timer run ([`mod@serve`]) and only notes the
//! answer in the [`hall`]. The timer ([`alarm`]) unblocks the caller, and the server then asks for the answer
//! ([`ends`]): that never writes. [`tick`] is the timer's run.

mod alarm;
mod ends;
mod hall;
mod join;
mod serve;
mod terms;
mod tick;

use crate::server::Hooks;

pub use hall::{confirm, is_busy, keep_most, most, queue_length, unload, DEFAULT_MOST};
pub use join::{wait, Place};
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
