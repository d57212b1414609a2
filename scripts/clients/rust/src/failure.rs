//! Decisions without the server: remembered denials, the bucket in the process, errors.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{ErrorKind, RedisError};

use crate::{Decision, Rate, Source};

/// A denial is remembered no longer, so that a raised limit or a refund is seen.
const MEMORY: Duration = Duration::from_secs(1);
const MOST_KEYS: usize = 10_000;
const EPSILON: f64 = 1e-9;

/// The effect of an outage on a take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// A bucket in this process decides.
    #[default]
    Local,
    /// Every request passes.
    Open,
    /// Every request is denied.
    Closed,
}

/// Why a call has no result.
#[derive(Clone, Debug)]
pub enum Error {
    /// The server did not answer, or could not. It may have charged the call.
    Outage(String),
    /// The server refuses the call: an unknown command, a missing permission, a key of another type, wrong
    /// syntax.
    Mistake(RedisError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outage(text) => write!(f, "no answer: {text}"),
            Self::Mistake(error) => write!(f, "the server refuses the call: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        if is_outage(&error) {
            Self::Outage(error.to_string())
        } else {
            Self::Mistake(error)
        }
    }
}

/// Returns whether the error may pass by itself. Anything else is a mistake.
pub fn is_outage(error: &RedisError) -> bool {
    match error.code() {
        Some(code) => matches!(
            code,
            "LOADING"
                | "BUSY"
                | "MASTERDOWN"
                | "READONLY"
                | "MISCONF"
                | "NOREPLICAS"
                | "CLUSTERDOWN"
                | "TRYAGAIN"
                | "OOM"
                | "UNBLOCKED"
                | "MOVED"
                | "ASK"
        ),
        None => !matches!(
            error.kind(),
            ErrorKind::AuthenticationFailed
                | ErrorKind::InvalidClientConfig
                | ErrorKind::UnexpectedReturnType
                | ErrorKind::Server(_)
        ),
    }
}

/// The counters of a limiter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Replies by the server.
    pub answered: u64,
    /// Denials that were remembered.
    pub from_memory: u64,
    /// Calls that the server did not answer in time.
    pub outages: u64,
    /// Calls that the server refused.
    pub mistakes: u64,
    /// Calls that were sent and not answered in time.
    pub late: u64,
    /// Allowed in place of the server.
    pub local_allowed: u64,
    /// Denied in place of the server.
    pub local_denied: u64,
}

/// The request of a take.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub key: String,
    pub rate: Rate,
    pub burst: u64,
    pub options: crate::Options,
}

impl Ask {
    pub fn of(key: &str, rate: &Rate, burst: u64, options: crate::Options) -> Self {
        Self {
            key: key.to_owned(),
            rate: rate.clone(),
            burst,
            options,
        }
    }

    /// Returns the tokens that must be there, or it is denied.
    fn need(&self) -> u64 {
        let options = &self.options;
        let cost = if options.at_most {
            options.cost.min(1)
        } else {
            options.cost
        };
        cost.saturating_add(options.keep)
    }
}

/// A map that forgets the entry first set when it has too many.
pub(crate) struct Recent<V> {
    of: HashMap<String, V>,
    order: VecDeque<String>,
}

impl<V> Recent<V> {
    pub fn new() -> Self {
        Self {
            of: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    pub fn get(&self, key: &str) -> Option<&V> {
        self.of.get(key)
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.of.values()
    }

    pub fn set(&mut self, key: &str, value: V) {
        if self.of.insert(key.to_owned(), value).is_none() {
            self.order.push_back(key.to_owned());
            if self.order.len() > MOST_KEYS {
                if let Some(oldest) = self.order.pop_front() {
                    self.of.remove(&oldest);
                }
            }
        }
    }
}

#[derive(Clone)]
struct Denial {
    sent: Instant,
    until: Instant,
    ask: Ask,
    decision: Decision,
}

/// Buckets in this process: `share` of each limit, at least one token of burst.
pub(crate) struct LocalBuckets {
    share: f64,
    of: Recent<(f64, Instant)>,
}

impl LocalBuckets {
    pub fn new(share: f64) -> Self {
        Self {
            share,
            of: Recent::new(),
        }
    }

    /// Takes from the bucket in the process, which is full at first.
    pub fn take(&mut self, ask: &Ask, now: Instant) -> Decision {
        let options = &ask.options;
        let burst = match ask.burst {
            0 => 0.0,
            burst => (burst as f64 * self.share).max(1.0),
        };
        let per_second = ask.rate.per_second() * self.share;
        let (stored, at) = self.of.get(&ask.key).copied().unwrap_or((burst, now));
        let passed = now.saturating_duration_since(at).as_secs_f64();
        let mut tokens = burst.min(stored + passed * per_second);
        let most = ((tokens - options.keep as f64).max(0.0) + EPSILON) as u64;
        let taken = if options.at_most {
            options.cost.min(most)
        } else {
            options.cost
        };
        let need = ask.need() as f64;
        let is_there = tokens + EPSILON >= need && (taken > 0 || options.cost == 0);
        let allowed = options.force || is_there;
        if allowed {
            tokens -= taken as f64;
        }
        self.of.set(&ask.key, (tokens, now));
        let wait = |tokens: f64| {
            Duration::from_millis((tokens / per_second * 1000.0).ceil().max(1.0) as u64)
        };
        Decision {
            allowed,
            limit: ask.burst,
            remaining: (tokens.max(0.0) + EPSILON) as u64,
            retry_after: match allowed {
                true => Some(Duration::ZERO),
                false => (need <= burst).then(|| wait(need - tokens)),
            },
            reset_after: if tokens < burst {
                wait(burst - tokens)
            } else {
                Duration::ZERO
            },
            taken: if allowed { taken } else { 0 },
            source: Source::Local,
        }
    }
}

/// Prints a line about an outage or a mistake.
pub(crate) type Log = fn(&str);

/// Decides what the server did not.
pub(crate) struct Policy {
    on_error: OnError,
    log: Log,
    state: Mutex<State>,
}

struct State {
    counts: Counts,
    denials: Recent<Denial>,
    local: LocalBuckets,
    logged_outage: Option<Instant>,
    logged_mistake: Option<Instant>,
}

impl Policy {
    pub fn new(on_error: OnError, share: f64, log: Log) -> Self {
        let state = State {
            counts: Counts::default(),
            denials: Recent::new(),
            local: LocalBuckets::new(share),
            logged_outage: None,
            logged_mistake: None,
        };
        Self {
            on_error,
            log,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.state().counts);
    }

    /// Returns the denial that still holds for this call.
    pub fn remembered(&self, ask: &Ask) -> Option<Decision> {
        let mut state = self.state();
        let Denial {
            sent,
            until,
            ask: denied,
            decision,
        } = state.denials.get(&ask.key)?;
        let now = Instant::now();
        let options = &ask.options;
        if options.force || options.max_wait.is_some() || now >= *until {
            return None;
        }
        // A wait is that of its own cost: a call that needs more must ask for its own.
        let is_same_cost = match decision.retry_after {
            Some(_) => ask.need() == denied.need(),
            None => ask.need() >= denied.need(),
        };
        if ask.rate != denied.rate || ask.burst != denied.burst || !is_same_cost {
            return None;
        }
        let passed = now.saturating_duration_since(*sent);
        let left = |time: Duration| time.saturating_sub(passed);
        let found = Decision {
            retry_after: decision
                .retry_after
                .map(|wait| left(wait).max(Duration::from_millis(1))),
            reset_after: left(decision.reset_after),
            source: Source::Memory,
            ..*decision
        };
        state.counts.from_memory += 1;
        Some(found)
    }

    /// Remembers an answer by the server, however late. `sent` is the time before the call, so that nobody
    /// is denied beyond the true end.
    pub fn answered(&self, ask: &Ask, sent: Instant, decision: Decision) {
        let is_remembered = !decision.allowed && ask.options.max_wait.is_none();
        let wait = decision.retry_after.unwrap_or(MEMORY).min(MEMORY);
        let until = if is_remembered { sent + wait } else { sent };
        let denial = Denial {
            sent,
            until,
            ask: ask.clone(),
            decision,
        };
        let mut state = self.state();
        if is_remembered || (decision.allowed && state.denials.get(&ask.key).is_some()) {
            state.denials.set(&ask.key, denial);
        }
    }

    /// Decides in place of the server.
    pub fn decide(&self, ask: &Ask) -> Decision {
        let mut state = self.state();
        let fixed = |allowed| Decision {
            allowed,
            limit: ask.burst,
            remaining: 0,
            retry_after: Some(Duration::from_secs(u64::from(!allowed))),
            reset_after: Duration::ZERO,
            taken: if allowed { ask.options.cost } else { 0 },
            source: Source::Policy,
        };
        let decision = match self.on_error {
            OnError::Local => state.local.take(ask, Instant::now()),
            OnError::Open => fixed(true),
            OnError::Closed => fixed(false),
        };
        if decision.allowed {
            state.counts.local_allowed += 1;
        } else {
            state.counts.local_denied += 1;
        }
        decision
    }

    /// Counts and logs an error. One line a second says as much as thousands.
    pub fn failed(&self, error: &Error) {
        let mut state = self.state();
        let logged = match error {
            Error::Outage(_) => {
                state.counts.outages += 1;
                &mut state.logged_outage
            }
            Error::Mistake(_) => {
                state.counts.mistakes += 1;
                &mut state.logged_mistake
            }
        };
        if logged.is_none_or(|last| last.elapsed() >= Duration::from_secs(1)) {
            *logged = Some(Instant::now());
            drop(state);
            (self.log)(&format!("rate limiter: {error}"));
        }
    }
}
