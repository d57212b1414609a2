//! What a limit is to the rest of the demo.
//!
//! A new kind of limit is a file beside `limit/bucket.rs` and a line in [`KINDS`].

mod bucket;

use std::time::Duration;

pub use bucket::Bucket;

// The module's own bounds.
pub use redis_rl_limits::units::{MAX_LIMITS, MAX_WAIT_MS};

/// Every kind of limit that may be asked for.
pub const KINDS: &[Kind] = &[bucket::KIND];

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

/// What every request asks of each limit.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Tokens.
    pub cost: u64,
    /// Rather than be refused, wait up to this long.
    pub max_wait: Option<Duration>,
}

/// How a caller stands with one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What may still be taken now.
    pub remaining: u64,
    /// Until nothing counts as used any more.
    pub reset: Duration,
}

/// One limit: what the store is asked for it, and what its answers mean.
pub trait Limit: Send + Sync {
    /// What clients see of it, and its key's end where there are several.
    fn name(&self) -> &str;

    /// The most that can be taken at once.
    fn quota(&self) -> u64;

    /// The time in which as much as the quota comes back.
    fn window(&self) -> Duration;

    /// The limit in words, for the operators' page: what `cost` is a request's.
    fn words(&self, cost: u64) -> String;

    /// The command that takes what `ask` says from `key`.
    fn take(&self, key: &str, ask: Ask) -> Command;

    /// The command that gives back to `key` what `ask` took.
    fn give_back(&self, key: &str, ask: Ask) -> Command;

    /// What stands for this limit where several are asked in one command.
    fn spec(&self) -> Vec<String>;

    /// How long until there is more to take than now; `None` if nothing is used.
    fn until_more(&self, standing: Standing) -> Option<Duration>;

    /// How somebody who stood so stands after `time`, if nobody took anything since.
    fn later(&self, standing: Standing, time: Duration) -> Standing;

    /// The bucket to count in, for a store that does so itself; `None` for another kind.
    fn bucket(&self) -> Option<Bucket> {
        None
    }
}

/// What every request asks of the store.
pub struct Demand {
    pub limits: Vec<Box<dyn Limit>>,
    pub ask: Ask,
}

impl Demand {
    /// The keys of a caller called `key`, one for each limit.
    pub fn keys<'a>(&'a self, key: &'a str) -> impl Iterator<Item = String> + 'a {
        self.limits
            .iter()
            .map(move |limit| match self.limits.as_slice() {
                [_] => key.to_owned(),
                // One hash tag keeps a caller's keys in one slot of a cluster.
                _ => format!("{{{key}}}:{}", limit.name()),
            })
    }

    /// The command that takes what is asked from every limit, or nothing from any.
    pub fn take(&self, key: &str) -> Command {
        if let [limit] = self.limits.as_slice() {
            return limit.take(key, self.ask);
        }
        let mut command = vec!["RL.MTAKE".to_owned(), self.limits.len().to_string()];
        for (key, limit) in self.keys(key).zip(&self.limits) {
            command.push(key);
            command.extend(limit.spec());
        }
        command.extend(["COST".to_owned(), self.ask.cost.to_string()]);
        command
    }

    /// A call of the command that [`Demand::take`] makes, on a key of a caller called `key`, that
    /// changes nothing: the module refuses its numbers.
    pub fn probe(&self, key: &str) -> Command {
        let key = self.keys(key).next().unwrap_or_default();
        let words = match self.limits.as_slice() {
            [limit] => vec![limit.take(&key, self.ask).swap_remove(0), key],
            _ => vec!["RL.MTAKE".to_owned(), "1".to_owned(), key],
        };
        words
            .into_iter()
            .chain(["probe".to_owned(), "1".to_owned()])
            .collect()
    }
}
