//! The beginning of a caller's wait.

use redis_rl_limits::waiting::queue::Waiter;
use redis_rl_limits::waiting::queues::{Bounds, Full};

use super::alarm;
use super::registry::{most, with};
use super::terms::Terms;
use crate::server::{Argument, Call};
use crate::stats::LEASES;

/// The queue that a caller would join.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The database.
    pub db: i32,
    /// The key's name.
    pub key: &'a [u8],
    /// The value of QUEUE.
    pub queue: Option<u64>,
}

impl Place<'_> {
    /// Returns whether a caller with this token and these terms can wait.
    ///
    /// # Errors
    /// Too many callers wait already, or nobody may wait for this key.
    pub fn check(&self, token: &Argument<'_>, terms: Terms) -> Result<(), Full> {
        let bounds = Bounds {
            queue: self.queue,
            server: usize::try_from(most()).unwrap_or(0),
        };
        let room = terms.limit.most();
        with(|registry| {
            let queues = &registry.queues;
            queues.check(self.db, self.key, token.bytes(), room, bounds)
        })
    }
}

/// Adds a caller, which waits until `until_ms` by the monotonic clock. The next in line of its key
/// could be served at `due_ms` by the wall clock. Returns its number.
fn join(place: &Place<'_>, token: &[u8], terms: Terms, until_ms: u64, due_ms: Option<i64>) -> u64 {
    LEASES.waits.add(1);
    with(|registry| {
        let waiter = Waiter {
            token: token.into(),
            room: terms.limit.most(),
            until: until_ms,
            call: terms,
        };
        let ticket = registry.queues.join(place.db, place.key, waiter);
        if let Some(id) = registry.queues.queue_of(ticket) {
            registry.queues.set_due(id, due_ms);
        }
        ticket.0
    })
}

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
    let number = join(place, token.bytes(), terms, until_ms, due_ms);
    call.block(number);
    alarm::arm(call);
}
