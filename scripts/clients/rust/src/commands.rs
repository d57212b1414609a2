//! The arguments of the commands, and the replies that are not a decision.

use std::time::Duration;

use redis::Cmd;

use crate::Rate;

/// The options of a take. `Options::default()` takes one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// COST: how much to take.
    pub cost: u64,
    /// KEEP: what must be left afterwards.
    pub keep: u64,
    /// ATMOST: takes as much as there is, up to the cost.
    pub at_most: bool,
    /// MAXWAIT: reserves tokens that will be there within this time.
    pub max_wait: Option<Duration>,
    /// FORCE: always takes, into debt if necessary.
    pub force: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self::cost(1)
    }
}

impl Options {
    /// Takes `cost`, without any other option.
    pub fn cost(cost: u64) -> Self {
        Self {
            cost,
            keep: 0,
            at_most: false,
            max_wait: None,
            force: false,
        }
    }

    pub(crate) fn add_to(&self, command: &mut Cmd) {
        add_cost(command, self.cost);
        add_keep(command, self.keep);
        if self.at_most {
            command.arg("ATMOST");
        }
        if let Some(wait) = self.max_wait {
            command.arg("MAXWAIT").arg(ms(wait));
        }
        if self.force {
            command.arg("FORCE");
        }
    }
}

/// The slots in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leases {
    /// Slots that are held.
    pub held: u64,
    /// Free slots.
    pub remaining: u64,
    /// Each token and the time left, soonest to end first.
    pub tokens: Vec<(String, Duration)>,
}

/// One limit of [`Limiter::all`](crate::Limiter::all).
#[derive(Clone, Debug)]
pub struct Limit {
    pub(crate) key: String,
    pub(crate) words: Vec<String>,
}

impl Limit {
    /// Creates a bucket limit.
    pub fn bucket(key: impl Into<String>, rate: &Rate, burst: u64, cost: u64) -> Self {
        Self::new(key, ["BUCKET".into(), rate.to_string(), burst.to_string()])
            .and("COST", cost.to_string())
    }

    /// Creates a window limit: `15m`, `SLIDING 1m`, `DAY OFFSET +02:00`.
    pub fn window(key: impl Into<String>, limit: u64, window: &str, cost: u64) -> Self {
        let words = ["WINDOW".into(), limit.to_string()].into_iter();
        Self::new(
            key,
            words.chain(window.split_whitespace().map(str::to_owned)),
        )
        .and("COST", cost.to_string())
    }

    /// Creates a lease. All leases of a call have ONCE: the call may be repeated after a lost
    /// reply.
    pub fn lease(key: impl Into<String>, limit: u64, ttl: Duration, token: &str) -> Self {
        let words = [
            "LEASE".into(),
            limit.to_string(),
            duration(ttl),
            token.to_owned(),
        ];
        let mut lease = Self::new(key, words);
        lease.words.push("ONCE".to_owned());
        lease
    }

    /// Sets the amount that must remain afterwards.
    pub fn keep(self, keep: u64) -> Self {
        self.and("KEEP", keep.to_string())
    }

    fn new(key: impl Into<String>, words: impl IntoIterator<Item = String>) -> Self {
        Self {
            key: key.into(),
            words: words.into_iter().collect(),
        }
    }

    fn and(mut self, name: &str, value: String) -> Self {
        self.words.extend([name.to_owned(), value]);
        self
    }
}

pub(crate) fn add_cost(command: &mut Cmd, cost: u64) {
    if cost != 1 {
        command.arg("COST").arg(cost);
    }
}

pub(crate) fn add_keep(command: &mut Cmd, keep: u64) {
    if keep > 0 {
        command.arg("KEEP").arg(keep);
    }
}

/// Returns a duration as the server reads it.
pub(crate) fn duration(time: Duration) -> String {
    format!("{}ms", ms(time))
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
