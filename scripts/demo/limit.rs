//! What a limit is to the rest of the demo.
//!
//! A new kind of limit is a file beside `limit/bucket.rs` and a line in [`KINDS`].

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
    /// What stands for its value in the help.
    pub value: &'static str,
    pub help: &'static str,
    /// Reads the value.
    pub parse: fn(&str) -> Result<Box<dyn Limit>, String>,
}

/// The words of a command, its name first.
pub type Command = Vec<String>;

/// What one request asks of every limit.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who asks: what the keys are made of.
    pub caller: String,
    /// Tokens.
    pub cost: u64,
    /// What its leases are held by; no other request has it.
    pub token: String,
    /// When it was asked, in milliseconds since 1970.
    pub asked_at: u64,
}

/// A caller's state in one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether this limit alone would let the request pass.
    pub allows: bool,
    /// What may still be taken now.
    pub remaining: u64,
    /// Until it would, if nobody took anything in between; `None` if that is not known.
    pub wait: Option<Duration>,
    /// Until nothing counts as used any more.
    pub reset: Duration,
}

/// What there is to know of a limit.
pub struct About {
    /// What clients see of it, and its key's end.
    pub name: String,
    /// What it is called beside other kinds.
    pub kind: &'static str,
    /// The most that can be taken at once.
    pub quota: u64,
    /// The time in which as much as the quota comes back; `None` if there is none, or it varies.
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

/// One limit: what the store is asked for it, and what its answers mean.
pub trait Limit: Send + Sync {
    fn about(&self) -> &About;

    /// The limit in words, for the operators' page; `cost` is that of a request.
    fn words(&self, cost: u64) -> String;

    /// The command that returns the state of `key`, and changes nothing.
    fn look(&self, key: &str) -> Command;

    /// The arguments for this limit and `ask` in `RL.ALL`.
    fn spec(&self, ask: &Ask) -> Command;

    /// The command that gives back to `key` what `ask` took.
    fn give_back(&self, key: &str, ask: &Ask) -> Command;

    /// The command that gives back to `key` all that was taken, and refuses a key that is not of this
    /// kind; `None` for slots, each of which is released by its own token.
    fn reset(&self, key: &str) -> Option<Command>;

    /// How long until there is more to take than now; `None` if nothing is used, or nobody knows.
    fn until_more(&self, standing: Standing) -> Option<Duration>;

    /// How long somebody should stay away whom this limit refused.
    fn retry_after(&self, standing: Standing) -> Option<Duration> {
        standing.wait
    }

    /// The bucket that this is, if it is one.
    fn bucket(&self) -> Option<&Bucket> {
        None
    }

    /// The lease that a request holds of it while it is served, if that is how it limits.
    fn lease(&self) -> Option<&Lease> {
        None
    }
}

impl dyn Limit + '_ {
    pub fn name(&self) -> &str {
        &self.about().name
    }

    /// The highest cost that can ever pass; `None` if the cost does not matter.
    pub fn max_cost(&self) -> Option<u64> {
        self.lease().is_none().then_some(self.about().quota)
    }
}

/// What a request of this cost takes, `count` times.
fn counted(count: &str, cost: u64) -> String {
    let noun = if cost == 1 { "request" } else { "token" };
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn command<const N: usize>(words: [&str; N]) -> Command {
    words.map(str::to_owned).into()
}

/// The module's words about a value that it would not accept.
fn refusal(error: impl Display) -> String {
    error.to_string()
}
