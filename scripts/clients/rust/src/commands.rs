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

/// The reply of [`Limiter::settle`](crate::Limiter::settle).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// 1: settled by this call. 0: settled before. -1: nothing is known about the id; if the work was done and
    /// the settlement was first sent less than a minute ago, charge it with FORCE, once.
    pub state: i64,
    /// The amount charged, for each limit; negative if it was refunded.
    pub each: Vec<i64>,
}

/// The holds that are open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holds {
    /// Open holds.
    pub open: u64,
    /// Open holds whose deadline has passed.
    pub overdue: u64,
    /// Each hold, soonest deadline first.
    pub holds: Vec<OpenHold>,
}

/// One open hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenHold {
    /// The id.
    pub id: String,
    /// Milliseconds until the deadline, negative if it has passed.
    pub left_ms: i64,
    /// Whether its estimate stays charged if nobody settles it.
    pub charge: bool,
    /// The amount that it holds of each key.
    pub held: Vec<(String, u64)>,
}

/// One limit of [`Limiter::all`](crate::Limiter::all), [`Limiter::settle`](crate::Limiter::settle) and
/// [`Limiter::reserve`](crate::Limiter::reserve).
#[derive(Clone, Debug)]
pub struct Limit {
    pub(crate) key: String,
    /// The words for RL.SETTLE.
    pub(crate) named: Vec<String>,
    /// The words for RL.ALL.
    pub(crate) words: Vec<String>,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bucket { cost: u64 },
    Window { cost: u64 },
    Lease,
    Hold,
}

impl Limit {
    /// Creates a bucket limit.
    pub fn bucket(key: impl Into<String>, rate: &Rate, burst: u64, cost: u64) -> Self {
        let named = vec!["BUCKET".into(), rate.to_string(), burst.to_string()];
        Self::new(key, Kind::Bucket { cost }, named).and("COST", cost.to_string())
    }

    /// Creates a window limit: `15m`, `SLIDING 1m`, `DAY OFFSET +02:00`.
    pub fn window(key: impl Into<String>, limit: u64, window: &str, cost: u64) -> Self {
        let words = ["WINDOW".into(), limit.to_string()].into_iter();
        let named = words.chain(window.split_whitespace().map(str::to_owned));
        Self::new(key, Kind::Window { cost }, named.collect()).and("COST", cost.to_string())
    }

    /// Creates a lease. A call with leases may be repeated after a lost reply.
    pub fn lease(key: impl Into<String>, limit: u64, ttl: Duration, token: &str) -> Self {
        let mut lease = Self::new(key, Kind::Lease, vec!["LEASE".into(), token.to_owned()]);
        let words = [limit.to_string(), duration(ttl)];
        lease.words.splice(1..1, words);
        lease
    }

    /// Records what [`Limiter::all`](crate::Limiter::all) charges as hold `id`, until it is settled. A hold that
    /// nobody settles is refunded after `ttl`.
    pub fn hold(key: impl Into<String>, ttl: Duration, id: &str) -> Self {
        let mut hold = Self::new(key, Kind::Hold, vec!["HOLD".into(), id.to_owned()]);
        hold.words.insert(1, duration(ttl));
        hold
    }

    /// Leaves the estimate of a hold charged if nobody settles it.
    pub fn else_charge(self) -> Self {
        self.and("ELSE", "CHARGE".to_owned())
    }

    /// Sets the amount that must remain afterwards.
    pub fn keep(self, keep: u64) -> Self {
        self.and("KEEP", keep.to_string())
    }

    pub(crate) fn cost(&self) -> Option<u64> {
        match self.kind {
            Kind::Bucket { cost } | Kind::Window { cost } => Some(cost),
            Kind::Lease | Kind::Hold => None,
        }
    }

    /// Returns RL.ALL for these limits. Each lease has ONCE, except in a call with a hold, which can be
    /// repeated anyway.
    pub(crate) fn all(limits: &[Self]) -> Cmd {
        let mut command = Self::of_keys("RL.ALL", limits.iter());
        let has_hold = limits.iter().any(|limit| limit.kind == Kind::Hold);
        for limit in limits {
            command.arg(&limit.words);
            if limit.kind == Kind::Lease && !has_hold {
                command.arg("ONCE");
            }
        }
        command
    }

    pub(crate) fn settle(amounts: &[(&Self, u64)]) -> Cmd {
        let mut command = Self::of_keys("RL.SETTLE", amounts.iter().map(|(limit, _)| *limit));
        for (limit, used) in amounts {
            command.arg(&limit.named);
            if limit.cost().is_some() {
                command.arg("USED").arg(used);
            }
        }
        command
    }

    /// Returns the take that charges `used`, whatever the limit says.
    pub(crate) fn forced(&self, used: u64) -> Option<Cmd> {
        let mut command = match self.kind {
            Kind::Bucket { .. } => redis::cmd("RL.TAKE"),
            Kind::Window { .. } => redis::cmd("RL.WTAKE"),
            Kind::Lease | Kind::Hold => return None,
        };
        command.arg(&self.key);
        for word in self.named.iter().skip(1) {
            command.arg(word);
        }
        command.arg("COST").arg(used).arg("FORCE");
        Some(command)
    }

    fn of_keys<'a>(name: &str, limits: impl ExactSizeIterator<Item = &'a Self>) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(limits.len());
        for limit in limits {
            command.arg(&limit.key);
        }
        command
    }

    fn new(key: impl Into<String>, kind: Kind, named: Vec<String>) -> Self {
        Self {
            key: key.into(),
            words: named.clone(),
            named,
            kind,
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

/// Returns whole milliseconds.
pub(crate) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
