//! The request of a waiting caller.

use redis_rl_limits::kinds::lease::{IfHeld, Limit};

/// The request of a waiting caller.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Its limit.
    pub limit: Limit,
    /// How long it would hold the slot.
    pub ttl_ms: u64,
    /// The behaviour if its token already holds a slot.
    pub if_held: IfHeld,
}
