//! The reply of a limit, in words instead of five integers.

use std::time::Duration;

/// The source of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The server.
    Server,
    /// A denial by the server, which is remembered until its wait is over.
    Memory,
    /// A batch that a [`Local`](crate::Local) has taken.
    Batch,
    /// The bucket in this process.
    Local,
    /// [`OnError::Open`](crate::OnError) or [`OnError::Closed`](crate::OnError).
    Policy,
}

/// The decision about a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the caller may proceed.
    pub allowed: bool,
    /// The burst, the quota or the number of slots.
    pub limit: u64,
    /// The remaining amount.
    pub remaining: u64,
    /// Denied: retry after this time; `None` means never. Allowed: wait this long, then go on (zero
    /// except with [`Options::max_wait`](crate::Options)).
    pub retry_after: Option<Duration>,
    /// Time until nothing is used any more.
    pub reset_after: Duration,
    /// Tokens, units or slots that this call charged.
    pub taken: u64,
    /// The source of the decision.
    pub source: Source,
}

/// The reply of a call on several limits: all were charged, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decisions {
    /// Whether all limits admitted the call.
    pub allowed: bool,
    /// As in [`Decision`], for all of them.
    pub retry_after: Option<Duration>,
    /// Each limit, in the order of the call.
    pub each: Vec<Decision>,
}

/// Returns the decision that the five integers of a reply describe. A success with COST 0 charges nothing
/// and has a wait of 0; a denial has a wait of -1 or at least 1.
pub(crate) fn decision([taken, limit, remaining, wait_ms, reset_ms]: [i64; 5]) -> Decision {
    Decision {
        allowed: taken > 0 || wait_ms == 0,
        limit: whole(limit),
        remaining: whole(remaining),
        retry_after: wait(wait_ms),
        reset_after: Duration::from_millis(whole(reset_ms)),
        taken: whole(taken),
        source: Source::Server,
    }
}

/// Returns the decisions of RL.MTAKE and RL.ALL.
pub(crate) fn decisions((taken, wait_ms, each): (i64, i64, Vec<[i64; 5]>)) -> Decisions {
    Decisions {
        allowed: taken > 0 || wait_ms == 0,
        retry_after: wait(wait_ms),
        each: each.into_iter().map(decision).collect(),
    }
}

/// Returns a wait, or `None` for -1.
pub(crate) fn wait(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().map(Duration::from_millis)
}

fn whole(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
