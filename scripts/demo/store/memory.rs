//! Buckets in this process: no Redis is needed, and nobody else sees them.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis_rl_limits::kinds::bucket::{self, Bucket};
use redis_rl_limits::kinds::decision::{
    self, Change, Decision, Limit as _, Mode, Reply, Standing as _,
};
use redis_rl_limits::sketch::top::Top;

use super::{Answer, Answering, Look, Store, StoreError};
use crate::census::{Census, Offender, TOP};
use crate::limit::{Ask, Demand, Limit, Standing};

/// So many buckets at most; another is an error until some of these are full again.
const MAX_BUCKETS: usize = 1_000_000;
/// With fewer buckets it is not worth looking for those that are full.
const FEW_BUCKETS: usize = 1024;
/// The least time between two such looks.
const SWEEP: Duration = Duration::from_secs(1);

/// Buckets in this process.
pub struct Memory {
    /// When it began, in nanoseconds since 1970 and on the clock that never steps.
    began: (u64, Instant),
    state: Mutex<State>,
}

struct State {
    buckets: HashMap<String, Held>,
    /// How many buckets there may be before those that are full are looked for.
    sweep_at: usize,
    swept: Instant,
    top: Top,
    allowed: u64,
    denied: u64,
    taken: u64,
    given: u64,
}

/// A bucket that is not full yet.
struct Held {
    bucket: Bucket,
    /// Milliseconds since 1970.
    full_at: i64,
}

impl Memory {
    /// # Errors
    /// A limit is no bucket: this store knows no others.
    pub fn new(limits: &[Box<dyn Limit>]) -> Result<Self, String> {
        if let Some(other) = limits.iter().find(|limit| limit.bucket().is_none()) {
            let name = other.name();
            return Err(format!(
                "--store memory has buckets only, which {name} is not"
            ));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos();
        let began = (u64::try_from(now).unwrap_or(u64::MAX), Instant::now());
        let seed = RandomState::new().hash_one(began.0);
        let state = State {
            buckets: HashMap::new(),
            sweep_at: FEW_BUCKETS,
            swept: began.1,
            top: Top::new(128, seed),
            allowed: 0,
            denied: 0,
            taken: 0,
            given: 0,
        };
        Ok(Self {
            began,
            state: Mutex::new(state),
        })
    }

    /// Nanoseconds since 1970.
    fn now(&self) -> u64 {
        let passed = u64::try_from(self.began.1.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.began.0.saturating_add(passed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each limit's key and how its bucket stands.
    fn standings(
        state: &State,
        demand: &Demand,
        caller: &str,
        now: u64,
    ) -> Vec<(String, bucket::Standing)> {
        let buckets = demand.limits.iter().filter_map(|limit| limit.bucket());
        let limits = buckets.map(|bucket| bucket.exact);
        let standing = |(key, limit): (String, bucket::Limit)| {
            let held = state.buckets.get(&key);
            let held = held.filter(|held| held.full_at > millis(now));
            let stored = held.map(|held| held.bucket);
            (key, limit.stand(stored, now))
        };
        demand.keys(caller).zip(limits).map(standing).collect()
    }

    fn take_now(&self, demand: &Demand, ask: &Ask) -> Result<Answer, StoreError> {
        let now = self.now();
        let mut state = self.state();
        state.sweep(now)?;
        let standings = Self::standings(&state, demand, &ask.caller, now);
        let cost = ask.cost;
        let mode = match ask.max_wait {
            Some(wait) => Mode::MaxWait(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            None => Mode::Whole,
        };
        let ask = decision::Ask {
            mode,
            ..decision::Ask::whole(cost)
        };
        let every = standings.len() == 1 || standings.iter().all(|(_, s)| s.has(&ask));
        let mut replies = Vec::with_capacity(standings.len());
        for (key, standing) in standings {
            let decision = if every {
                standing.take(&ask)
            } else {
                standing.look(&ask)
            };
            let decision = decision.map_err(|error| StoreError::Refused(error.to_string()))?;
            if decision.reply.taken == 0 {
                state.top.denied(key.as_bytes(), now);
            }
            replies.push(decision.reply);
            state.apply(key, decision);
        }
        let allowed = every && replies.iter().all(|reply| reply.taken > 0);
        state.count(allowed, cost);
        Ok(answer(allowed, &replies))
    }

    fn give_now(&self, demand: &Demand, ask: &Ask) {
        let now = self.now();
        let mut state = self.state();
        for (key, standing) in Self::standings(&state, demand, &ask.caller, now) {
            let decision = standing.give(ask.cost);
            state.given += decision.reply.taken.unsigned_abs();
            state.apply(key, decision);
        }
    }

    fn count_all(&self) -> Census {
        let now = self.now();
        let state = self.state();
        let counters = [
            ("rl_takes_allowed", state.allowed),
            ("rl_takes_denied", state.denied),
            ("rl_tokens_taken", state.taken),
            ("rl_tokens_given", state.given),
        ];
        let offender = |entry: &redis_rl_limits::sketch::top::Entry| Offender {
            key: entry.key.clone(),
            denials: entry.denials,
            error: entry.error,
            since: now.saturating_sub(entry.last) / 1_000_000,
        };
        Census {
            counters: BTreeMap::from(counters.map(|(name, n)| (name.to_owned(), n))),
            top: state.top.entries().take(TOP).map(offender).collect(),
            nodes: 0,
            module: String::new(),
            server: "the demo's own memory".to_owned(),
        }
    }
}

impl State {
    fn apply(&mut self, key: String, decision: Decision<Bucket>) {
        match decision.change {
            // A bucket's limit never changes here, so nor does the time when it is full.
            Change::Keep | Change::KeepAlive(_) => {}
            Change::Write(bucket, full_at) => {
                self.buckets.insert(key, Held { bucket, full_at });
            }
            Change::Remove => {
                self.buckets.remove(&key);
            }
        }
    }

    fn count(&mut self, allowed: bool, cost: u64) {
        if allowed {
            self.allowed += 1;
            self.taken += cost;
        } else {
            self.denied += 1;
        }
    }

    /// Forgets buckets that are full again, which is what one that is not there stands for.
    fn sweep(&mut self, now: u64) -> Result<(), StoreError> {
        if self.buckets.len() < self.sweep_at {
            return Ok(());
        }
        if self.sweep_at < MAX_BUCKETS || self.swept.elapsed() > SWEEP {
            self.buckets.retain(|_, held| held.full_at > millis(now));
            self.sweep_at = (2 * self.buckets.len()).clamp(FEW_BUCKETS, MAX_BUCKETS);
            self.swept = Instant::now();
        }
        if self.buckets.len() < MAX_BUCKETS {
            return Ok(());
        }
        let why = format!("there are {MAX_BUCKETS} buckets in memory already");
        Err(StoreError::Refused(why))
    }
}

fn millis(nanos: u64) -> i64 {
    i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX)
}

fn answer(allowed: bool, replies: &[Reply]) -> Answer {
    let millis = |count: i64| u64::try_from(count).ok().map(Duration::from_millis);
    let standing = |reply: &Reply| Standing {
        allows: reply.taken > 0,
        remaining: reply.remaining.unsigned_abs(),
        wait: millis(reply.wait_ms),
        reset: millis(reply.reset_ms).unwrap_or_default(),
    };
    let waits = replies.iter().filter_map(|reply| millis(reply.wait_ms));
    Answer {
        allowed,
        wait: waits.max().unwrap_or_default(),
        standings: replies.iter().map(standing).collect(),
    }
}

impl Store for Memory {
    fn take<'a>(&'a self, demand: &'a Demand, ask: &'a Ask) -> Answering<'a, Answer> {
        Box::pin(async move { self.take_now(demand, ask) })
    }

    fn give_back<'a>(&'a self, demand: &'a Demand, ask: &'a Ask) -> Answering<'a, ()> {
        Box::pin(async move {
            self.give_now(demand, ask);
            Ok(())
        })
    }

    /// There are no leases here.
    fn release<'a>(&'a self, _: &'a Demand, _: &'a Ask) -> Answering<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn renew<'a>(&'a self, _: &'a Demand, _: &'a Ask) -> Answering<'a, bool> {
        Box::pin(async { Ok(true) })
    }

    fn is_up(&self) -> bool {
        true
    }

    fn ready(&self) -> Answering<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn census(&self) -> Answering<'_, Census> {
        Box::pin(async { Ok(self.count_all()) })
    }

    fn look<'a>(&'a self, demand: &'a Demand, caller: &'a str) -> Answering<'a, Vec<Look>> {
        Box::pin(async move {
            let state = self.state();
            let standings = Self::standings(&state, demand, caller, self.now());
            let one = decision::Ask::whole(1);
            let looks = standings.iter().map(|(_, standing)| {
                let decision = standing.look(&one);
                let reply = decision
                    .map_err(|error| StoreError::Refused(error.to_string()))?
                    .reply;
                Ok(Look {
                    remaining: reply.remaining.unsigned_abs(),
                    wait_ms: u64::try_from(reply.wait_ms).ok(),
                    reset_ms: reply.reset_ms.unsigned_abs(),
                    holders: Vec::new(),
                })
            });
            looks.collect()
        })
    }

    fn forget_denied(&self) -> Answering<'_, ()> {
        Box::pin(async {
            self.state().top.clear();
            Ok(())
        })
    }

    /// There are no leases here.
    fn free<'a>(&'a self, _: &'a str, _: &'a str) -> Answering<'a, bool> {
        Box::pin(async { Ok(false) })
    }

    fn reset<'a>(&'a self, key: &'a str, _: &'a dyn Limit) -> Answering<'a, ()> {
        Box::pin(async move {
            self.state().buckets.remove(key);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
