//! The callers that wait for a slot (`RL.ACQUIRE … WAIT ms`).
//!
//! Whatever grants a slot writes it in its own command or timer run ([`serve`]) and only notes the
//! answer in the [`hall`]. The timer unblocks the caller, and the server then asks for the answer
//! ([`ends`]): that never writes. [`tick`] is the timer's run.

mod ends;
mod hall;
mod serve;
mod tick;

use redis_rl_limits::kinds::lease::{IfHeld, Limit};

use crate::server::{Argument, Call, Hooks};

pub use hall::{confirm, is_busy, keep_most, most, queue_length, unload, Place, DEFAULT_MOST};
pub use serve::{ahead, next_end, release, report, serve, tell, Ahead};
pub use tick::apply_most;

/// What the server calls outside the commands.
pub const HOOKS: Hooks = Hooks {
    answer: ends::answer,
    interrupt: ends::interrupt,
    lost: ends::lost,
    tick: tick::tick,
    swept: tick::swept,
};

/// Has the caller wait for a slot, for `wait_ms` milliseconds. The next in line of its key could be
/// served at `due_ms`.
pub fn wait(
    call: &Call<'_>,
    place: &Place<'_>,
    token: &Argument<'_>,
    terms: Terms,
    wait_ms: u64,
    due_ms: Option<i64>,
) {
    // The current millisecond has begun already, so one more is waited for.
    let until_ms = call
        .monotonic_ms()
        .saturating_add(wait_ms)
        .saturating_add(1);
    let number = hall::join(place, token.bytes(), terms, until_ms, due_ms);
    call.block(number);
    tick::arm(call);
}

/// What a waiting caller asked for.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Its limit.
    pub limit: Limit,
    /// How long it would hold the slot.
    pub ttl_ms: u64,
    /// What becomes of its token if that holds a slot already.
    pub if_held: IfHeld,
}
