//! What a waiting caller asked for.

use redis_rl_limits::kinds::lease::{IfHeld, Limit};

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
