//! One limit, and its commands.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::LazyLock;
use std::time::Duration;

use redis::{cmd, Cmd};
use redis_rl_limits::bounds::MAX_COST;
use redis_rl_limits::kinds;

/// One limit.
pub struct Limit {
    /// Its name for clients, which also ends its key.
    pub name: String,
    /// Its words in a command: rate and burst, limit and window, or slots and their TTL.
    pub words: Vec<String>,
    pub algorithm: Algorithm,
    /// The most that can be taken at once.
    pub quota: u64,
    /// The time in which the whole quota refills; `None` if there is none, or it varies.
    pub window: Option<Duration>,
    /// For operators: the number of requests, and the rest of the sentence.
    pub sentence: (String, String),
}

/// The algorithm of a limit, as the module parses it.
#[derive(Clone, Copy)]
pub enum Algorithm {
    Bucket(kinds::bucket::Limit),
    Window(kinds::window::Limit),
    Sliding(kinds::sliding::Limit),
    /// The number of slots, and the TTL of a slot whose demo was killed.
    Slots(u64, Duration),
}

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

/// The five integers of a reply: taken, limit, remaining, wait_ms, reset_ms. Below zero is never.
impl From<[i64; 5]> for Standing {
    fn from([taken, _, remaining, wait, reset]: [i64; 5]) -> Self {
        let millis = |count| u64::try_from(count).ok().map(Duration::from_millis);
        Self {
            allows: taken > 0,
            remaining: remaining.unsigned_abs(),
            wait: millis(wait),
            reset: millis(reset).unwrap_or_default(),
        }
    }
}

impl Ask {
    /// Returns a token that no other request has, of this demo or another.
    pub fn new_token() -> String {
        // The hasher's own keys are random.
        static DEMO: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(()));
        static GIVEN: AtomicU64 = AtomicU64::new(0);
        let number = GIVEN.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}-{number}", *DEMO)
    }
}

impl Limit {
    /// Returns the name of its kind.
    pub fn kind(&self) -> &'static str {
        match self.algorithm {
            Algorithm::Bucket(_) => "bucket",
            Algorithm::Window(_) => "window",
            Algorithm::Sliding(_) => "sliding",
            Algorithm::Slots(..) => "lease",
        }
    }

    /// Returns the TTL of its slots, which a request holds while it is served.
    pub fn ttl(&self) -> Option<Duration> {
        match self.algorithm {
            Algorithm::Slots(_, ttl) => Some(ttl),
            _ => None,
        }
    }

    /// Describes the limit for operators; `cost` is a request's cost.
    pub fn sentence(&self, cost: u64) -> String {
        let (count, rest) = &self.sentence;
        let is_counted = cost == 1 || self.ttl().is_some();
        let noun = if is_counted { "request" } else { "token" };
        let plural = if count == "1" { "" } else { "s" };
        format!("{count} {noun}{plural} {rest}")
    }

    /// Adds its part of `RL.ALL` to a call.
    pub fn add_to(&self, call: &mut Cmd, ask: &Ask) {
        let keyword = match self.algorithm {
            Algorithm::Bucket(_) => "BUCKET",
            Algorithm::Window(_) | Algorithm::Sliding(_) => "WINDOW",
            Algorithm::Slots(..) => "LEASE",
        };
        call.arg(keyword).arg(&self.words);
        match self.algorithm {
            // `ONCE`, so that a client library that sends the call again takes nothing twice.
            Algorithm::Slots(..) => call.arg(&ask.token).arg("ONCE"),
            _ => call.arg("COST").arg(ask.cost),
        };
    }

    /// Returns the command that peeks at `key`.
    pub fn peek(&self, key: &str) -> Cmd {
        match self.algorithm {
            Algorithm::Bucket(_) => cmd("RL.PEEK").arg(key).arg(&self.words).take(),
            Algorithm::Slots(slots, _) => cmd("RL.LEASES").arg(key).arg(slots).take(),
            _ => cmd("RL.WPEEK").arg(key).arg(&self.words).take(),
        }
    }

    /// Returns the command that refunds `ask` to `key`.
    pub fn give_back(&self, key: &str, ask: &Ask) -> Cmd {
        match self.algorithm {
            Algorithm::Bucket(_) => self.give("RL.GIVE", key, ask.cost),
            Algorithm::Slots(..) => cmd("RL.RELEASE").arg(key).arg(&ask.token).take(),
            // With the time of the take, because the refund may come late: a window that began
            // later keeps its usage, which others may have charged.
            _ => {
                let mut give = self.give("RL.WGIVE", key, ask.cost);
                give.arg("AT").arg(ask.asked_at).take()
            }
        }
    }

    /// Returns the command that refunds everything to `key`, and refuses a key of another kind;
    /// `None` for slots, each of which is released by its own token.
    pub fn reset(&self, key: &str) -> Option<Cmd> {
        match self.algorithm {
            Algorithm::Bucket(_) => Some(self.give("RL.GIVE", key, MAX_COST)),
            Algorithm::Slots(..) => None,
            _ => Some(self.give("RL.WGIVE", key, MAX_COST)),
        }
    }

    fn give(&self, name: &str, key: &str, cost: u64) -> Cmd {
        let mut give = cmd(name);
        give.arg(key).arg(&self.words).arg("COST").arg(cost).take()
    }

    /// Returns the command that renews a slot; the reply is 0 if it was lost.
    pub fn renew(&self, key: &str, ask: &Ask) -> Option<Cmd> {
        let ttl = self.words.get(1).filter(|_| self.ttl().is_some())?;
        Some(cmd("RL.RENEW").arg(key).arg(ttl).arg(&ask.token).take())
    }
}
