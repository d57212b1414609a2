//! The reply of the commands on several limits.

use redis_rl_limits::kinds::decision::{Reply, NEVER};

use super::small_vec::Few;
use crate::commands::command::Answer;
use crate::server::Call;

/// `[taken, wait_ms, [[five integers] for each limit]]`.
pub struct Replies {
    /// The amount taken by the whole call; 0 if denied.
    pub taken: i64,
    /// The reply of each limit, in the order given.
    pub each: Few<Reply>,
    /// The least wait that the call reports, whatever the limits are waited for.
    pub least_wait: i64,
}

impl Answer for Replies {
    fn send(&self, call: &Call<'_>) {
        call.reply_array(3);
        call.reply_integer(self.taken);
        call.reply_integer(self.longest_wait());
        call.reply_array(self.each.len());
        for reply in self.each.iter() {
            reply.send(call);
        }
    }
}

impl Replies {
    /// Returns whether the call was denied; see [`Reply::is_denied`].
    pub fn is_denied(&self) -> bool {
        self.taken == 0 && self.longest_wait() != 0
    }

    /// Returns the longest wait. [`NEVER`] is longer than any other.
    fn longest_wait(&self) -> i64 {
        let waits = || self.each.iter().map(|reply| reply.wait_ms);
        if waits().any(|wait| wait == NEVER) {
            return NEVER;
        }
        waits().fold(self.least_wait, i64::max)
    }
}
