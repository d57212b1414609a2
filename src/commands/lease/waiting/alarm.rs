//! The time at which the timer must run next.

use redis_rl_limits::bounds::NANOS_PER_MILLI;

use super::registry::{self, with};
use crate::server::Call;

/// Time between two rounds of checks, in milliseconds.
pub const ROUND_MS: u64 = 50;

/// Returns the time of a call, in milliseconds since 1970.
pub fn now_ms(call: &Call<'_>) -> i64 {
    i64::try_from(call.now() / NANOS_PER_MILLI).unwrap_or(i64::MAX)
}

/// Sets the timer to when there is something to do next, or stops it.
pub fn arm(call: &Call<'_>) {
    let (mono_ms, wall_ms) = (call.monotonic_ms(), now_ms(call));
    let wait_ms = with(|registry| {
        if registry.is_idle() {
            return None;
        }
        if !registry.ready.is_empty() || !registry.abandoned.is_empty() {
            return Some(0);
        }
        if registry.sweep > 0 || registry::most() == 0 {
            return Some(1);
        }
        let check = registry
            .next_check_ms
            .saturating_sub(mono_ms)
            .clamp(1, ROUND_MS);
        let timeout = registry.queues.first_timeout();
        let timeout = timeout.map(|(at, _)| at.saturating_sub(mono_ms).max(1));
        let due = registry.queues.first_due();
        let due = due.map(|(at, _)| at.saturating_sub(wall_ms).max(1).unsigned_abs());
        [Some(check), timeout, due].into_iter().flatten().min()
    });
    match wait_ms {
        Some(ms) => call.wake_in(ms),
        None => call.sleep(),
    }
}
