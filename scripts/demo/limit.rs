//! The interface of a limit to the rest of the demo.
//!
//! A new kind of limit is a file next to `limit/bucket.rs` and a line in [`KINDS`].

mod bucket;
mod demand;
mod lease;
mod window;

use std::fmt::Display;
use std::time::Duration;

use redis_rl_limits::kinds;

pub use bucket::Bucket;
pub use demand::Demand;
pub use lease::{Lease, Tokens};

// The module's own bounds.
pub use redis_rl_limits::bounds::{MAX_LIMITS, MAX_TOKENS};

/// Every kind of limit that may be asked for.
pub const KINDS: &[Kind] = &[bucket::KIND, window::FIXED, window::SLIDING, lease::KIND];

/// A kind of limit, as an option asks for it.
pub struct Kind {
    /// The option's name, without the dashes.
    pub option: &'static str,
    /// The placeholder of its value in the help.
    pub value: &'static str,
    pub help: &'static str,
    /// Reads the value.
    pub parse: fn(&str) -> Result<Box<dyn Limit>, String>,
}

/// The words of a command, its name first.
pub type Command = Vec<String>;

/// The request to every limit.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The caller, part of the keys.
    pub caller: String,
    /// Tokens.
    pub cost: u64,
    /// The token of its leases; unique to the request.
    pub token: String,
    /// The time of the request, in milliseconds since 1970.
    pub asked_at: u64,
}

/// A caller's state in one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether this limit alone would admit the request.
    pub allows: bool,
    /// The remaining amount.
    pub remaining: u64,
    /// Until it would, if nobody took anything in between; `None` if that is not known.
    pub wait: Option<Duration>,
    /// Until nothing counts as used any more.
    pub reset: Duration,
}

/// The description of a limit.
pub struct About {
    /// Returns its name for clients, which also ends its key.
    pub name: String,
    /// Returns the name of its kind.
    pub kind: &'static str,
    /// Returns the most that can be taken at once.
    pub quota: u64,
    /// Returns the time in which the whole quota refills; `None` if there is none, or it varies.
    pub window: Option<Duration>,
    /// The limit as the module reads it, for a store that decides in this process.
    pub exact: Exact,
}

/// A limit as the module reads it.
pub enum Exact {
    Bucket(kinds::bucket::Limit),
    Fixed(kinds::window::Limit),
    Sliding(kinds::sliding::Limit),
    /// Number of slots.
    Slots(u64),
}

/// One limit: its commands, and the meaning of the replies.
pub trait Limit: Send + Sync {
    fn about(&self) -> &About;

    /// Describes the limit for the operators' page; `cost` is a request's cost.
    fn words(&self, cost: u64) -> String;

    /// Returns the command that peeks at `key`.
    fn look(&self, key: &str) -> Command;

    /// Returns the spec of this limit and `ask` in `RL.ALL`.
    fn spec(&self, ask: &Ask) -> Command;

    /// Returns the command that refunds `ask` to `key`.
    fn give_back(&self, key: &str, ask: &Ask) -> Command;

    /// Returns the command that refunds everything to `key`, and refuses a key of another kind;
    /// `None` for slots, each of which is released by its own token.
    fn reset(&self, key: &str) -> Option<Command>;

    /// Returns the time until more can be taken; `None` if nothing is used, or it is unknown.
    fn until_more(&self, standing: Standing) -> Option<Duration>;

    /// Returns the time after which a denied caller should retry.
    fn retry_after(&self, standing: Standing) -> Option<Duration> {
        standing.wait
    }

    /// Returns the bucket, if it is one.
    fn bucket(&self) -> Option<&Bucket> {
        None
    }

    /// Returns the lease that a request holds while it is served, if it is one.
    fn lease(&self) -> Option<&Lease> {
        None
    }
}

impl dyn Limit + '_ {
    pub fn name(&self) -> &str {
        &self.about().name
    }

    /// Returns the highest cost that can ever pass; `None` if the cost does not matter.
    pub fn max_cost(&self) -> Option<u64> {
        self.lease().is_none().then_some(self.about().quota)
    }
}

/// Describes the amount that a request of this cost takes.
fn counted(count: &str, cost: u64) -> String {
    let noun = if cost == 1 { "request" } else { "token" };
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn command<const N: usize>(words: [&str; N]) -> Command {
    words.map(str::to_owned).into()
}

/// Returns the module's error for a value that it rejects.
fn refusal(error: impl Display) -> String {
    error.to_string()
}
