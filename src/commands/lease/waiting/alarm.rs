//! The time at which the timer must run next.

use redis_rl_limits::bounds::NANOS_PER_MILLI;

use super::hall::{self, with};
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
    let wait_ms = with(|hall| {
        if hall.is_idle() {
            return None;
        }
        if !hall.ready.is_empty() || !hall.losses.is_empty() {
            return Some(0);
        }
        if hall.sweep > 0 || hall::most() == 0 {
            return Some(1);
        }
        let check = hall
            .next_check_ms
            .saturating_sub(mono_ms)
            .clamp(1, ROUND_MS);
        let timeout = hall.queues.first_timeout();
        let timeout = timeout.map(|(at, _)| at.saturating_sub(mono_ms).max(1));
        let due = hall.queues.first_due();
        let due = due.map(|(at, _)| at.saturating_sub(wall_ms).max(1).unsigned_abs());
        [Some(check), timeout, due].into_iter().flatten().min()
    });
    match wait_ms {
        Some(ms) => call.wake_in(ms),
        None => call.sleep(),
    }
}
