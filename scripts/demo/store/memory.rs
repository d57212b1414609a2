//! Limits of every kind in this process, decided by the code that the module itself runs. No Redis is
//! needed, and nobody else sees them.

use std::collections::{HashMap, HashSet};
use std::future::ready;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis_rl_limits::kinds::decision::{
    self, Change, Decision, Reply, Standing as _, State as _, NEVER,
};
use redis_rl_limits::kinds::usage::WindowStanding as _;
use redis_rl_limits::sketch::top::Top;

use super::{Answer, Answering, Census, Look, Offender, Store, StoreError, TOP};
use crate::limit::{Ask, Demand, Exact, Standing};

/// Maximum number of keys. A take that needs another is an error until some of them expire.
const MAX_KEYS: usize = 1_000_000;
/// Keys below which nothing is swept.
const FEW_KEYS: usize = 1024;
/// Minimum time between two sweeps of a full store.
const SWEEP: Duration = Duration::from_secs(1);

/// Limits in this process.
pub struct Memory {
    /// Its start, in nanoseconds since 1970 and on the monotonic clock.
    began: (u64, Instant),
    state: Mutex<State>,
}

struct State {
    /// Buckets and windows.
    held: HashMap<String, Held>,
    /// The tokens that hold the slots of a key.
    slots: HashMap<String, HashSet<String>>,
    /// Number of keys at which expired ones are swept.
    sweep_at: usize,
    swept: Instant,
    top: Top,
}

/// The state that Redis would store for a bucket or a window.
struct Held {
    bytes: Vec<u8>,
    /// Its expiry, in milliseconds since 1970.
    until: i64,
}

/// The new state of a decision.
enum New {
    Same,
    Held(Held),
    Nothing,
    Slot,
}

impl Default for Memory {
    fn default() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos();
        let began = (u64::try_from(now).unwrap_or(u64::MAX), Instant::now());
        let seed = RandomState::new().hash_one(began.0);
        let state = State {
            held: HashMap::new(),
            slots: HashMap::new(),
            sweep_at: FEW_KEYS,
            swept: began.1,
            top: Top::new(128, seed),
        };
        Self {
            began,
            state: Mutex::new(state),
        }
    }
}

impl Memory {
    /// Nanoseconds since 1970.
    fn now(&self) -> u64 {
        let passed = u64::try_from(self.began.1.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.began.0.saturating_add(passed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_now(&self, demand: &Demand, ask: &Ask) -> Result<Answer, StoreError> {
        let now = self.now();
        let mut state = self.state();
        state.sweep(now)?;
        let cost = decision::Ask::whole(ask.cost);
        let keys: Vec<_> = demand.keys(&ask.caller).collect();
        let decide = |state: &State, take| {
            let limits = keys.iter().zip(&demand.limits);
            let each = limits
                .map(|(key, limit)| state.decide(key, &limit.about().exact, now, &cost, take));
            each.collect::<Result<Vec<_>, _>>()
        };
        let mut decided = decide(&state, false)?;
        let allowed = decided.iter().all(|(reply, _)| reply.taken > 0);
        if allowed {
            decided = decide(&state, true)?;
        }
        let mut replies = Vec::with_capacity(keys.len());
        for ((reply, new), key) in decided.into_iter().zip(&keys) {
            if reply.taken == 0 {
                state.top.denied(key.as_bytes(), now);
            }
            state.store(key, new, &ask.token);
            replies.push(reply);
        }
        Ok(answer(allowed, &replies))
    }

    fn give_now(&self, demand: &Demand, ask: &Ask) {
        let now = self.now();
        let mut state = self.state();
        for (key, limit) in demand.keys(&ask.caller).zip(&demand.limits) {
            let held = state.held.get(&key);
            let (cost, at) = (ask.cost, Some(ask.asked_at));
            let (_, new) = match limit.about().exact {
                Exact::Bucket(limit) => outcome(stand(limit, held, now).give(cost)),
                Exact::Fixed(limit) => outcome(stand(limit, held, now).give(cost, at)),
                Exact::Sliding(limit) => outcome(stand(limit, held, now).give(cost, at)),
                Exact::Slots(_) => continue,
            };
            state.store(&key, new, "");
        }
        drop(state);
        self.release_now(demand, ask);
    }

    fn release_now(&self, demand: &Demand, ask: &Ask) {
        let mut state = self.state();
        for key in demand.keys(&ask.caller) {
            if let Some(tokens) = state.slots.get_mut(&key) {
                tokens.remove(&ask.token);
                if tokens.is_empty() {
                    state.slots.remove(&key);
                }
            }
        }
    }

    fn count_all(&self) -> Census {
        let now = self.now();
        let state = self.state();
        let offender = |entry: &redis_rl_limits::sketch::top::Entry| Offender {
            key: entry.key.clone(),
            denials: entry.denials,
            error: entry.error,
            since: now.saturating_sub(entry.last) / 1_000_000,
        };
        Census {
            top: state.top.entries().take(TOP).map(offender).collect(),
            ..Census::default()
        }
    }

    fn look_now(&self, demand: &Demand, caller: &str) -> Result<Vec<Look>, StoreError> {
        let (now, one, state) = (self.now(), decision::Ask::whole(1), self.state());
        let look = |(key, exact): (String, &Exact)| {
            let (reply, _) = state.decide(&key, exact, now, &one, false)?;
            Ok(Look {
                remaining: reply.remaining.unsigned_abs(),
                wait_ms: u64::try_from(reply.wait_ms).ok(),
                reset_ms: reply.reset_ms.unsigned_abs(),
            })
        };
        let limits = demand.limits.iter().map(|limit| &limit.about().exact);
        demand.keys(caller).zip(limits).map(look).collect()
    }
}

impl State {
    /// Returns the module's reply and new state for a take or a peek.
    fn decide(
        &self,
        key: &str,
        limit: &Exact,
        now: u64,
        ask: &decision::Ask,
        take: bool,
    ) -> Result<(Reply, New), StoreError> {
        let held = self.held.get(key);
        match *limit {
            Exact::Bucket(limit) => decide(limit, held, now, ask, take),
            Exact::Fixed(limit) => decide(limit, held, now, ask, take),
            Exact::Sliding(limit) => decide(limit, held, now, ask, take),
            Exact::Slots(limit) => {
                let held = self.slots.get(key).map_or(0, HashSet::len) as u64;
                let free = limit.saturating_sub(held);
                let (taken, wait) = if free > 0 { (1, 0) } else { (0, NEVER) };
                let new = if take { New::Slot } else { New::Same };
                let integers = [limit, free].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
                Ok((Reply::new(taken, integers[0], integers[1], wait, 0), new))
            }
        }
    }

    fn store(&mut self, key: &str, new: New, token: &str) {
        match new {
            New::Same => {}
            New::Held(held) => drop(self.held.insert(key.to_owned(), held)),
            New::Nothing => drop(self.held.remove(key)),
            New::Slot => {
                let tokens = self.slots.entry(key.to_owned()).or_default();
                tokens.insert(token.to_owned());
            }
        }
    }

    /// Removes expired keys.
    fn sweep(&mut self, now: u64) -> Result<(), StoreError> {
        if self.held.len() < self.sweep_at {
            return Ok(());
        }
        if self.sweep_at < MAX_KEYS || self.swept.elapsed() > SWEEP {
            self.held.retain(|_, held| held.until > millis(now));
            self.sweep_at = (2 * self.held.len()).clamp(FEW_KEYS, MAX_KEYS);
            self.swept = Instant::now();
        }
        if self.held.len() < MAX_KEYS {
            return Ok(());
        }
        let why = format!("there are {MAX_KEYS} keys in memory already");
        Err(StoreError::Refused(why))
    }
}

fn stand<L: decision::Limit>(limit: L, held: Option<&Held>, now: u64) -> L::Standing {
    let held = held.filter(|held| held.until > millis(now));
    limit.stand(held.and_then(|held| L::State::from_bytes(&held.bytes)), now)
}

fn decide<L: decision::Limit>(
    limit: L,
    held: Option<&Held>,
    now: u64,
    ask: &decision::Ask,
    take: bool,
) -> Result<(Reply, New), StoreError> {
    let standing = stand(limit, held, now);
    let decision = if take {
        standing.take(ask)
    } else {
        standing.look(ask)
    };
    match decision {
        Ok(decision) if take => Ok(outcome(decision)),
        Ok(decision) => Ok((decision.reply, New::Same)),
        Err(error) => Err(StoreError::Refused(error.to_string())),
    }
}

fn outcome<S: decision::State>(decision: Decision<S>) -> (Reply, New) {
    let new = match decision.change {
        // A limit never changes here, so neither does the time at which its state expires.
        Change::Keep | Change::KeepAlive(_) => New::Same,
        Change::Write(state, until) => New::Held(Held {
            bytes: state.to_bytes().as_ref().to_owned(),
            until,
        }),
        Change::Remove => New::Nothing,
    };
    (decision.reply, new)
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
    Answer {
        allowed,
        standings: replies.iter().map(standing).collect(),
    }
}

fn at_once<'a, T: Send + 'a>(answer: Result<T, StoreError>) -> Answering<'a, T> {
    Box::pin(ready(answer))
}

impl Store for Memory {
    fn take<'a>(&'a self, demand: &'a Demand, ask: &'a Ask) -> Answering<'a, Answer> {
        at_once(self.take_now(demand, ask))
    }

    fn give_back<'a>(&'a self, demand: &'a Demand, ask: &'a Ask) -> Answering<'a, ()> {
        self.give_now(demand, ask);
        at_once(Ok(()))
    }

    fn release<'a>(&'a self, demand: &'a Demand, ask: &'a Ask) -> Answering<'a, ()> {
        self.release_now(demand, ask);
        at_once(Ok(()))
    }

    /// Does nothing: a slot is held until it is released.
    fn renew<'a>(&'a self, _: &'a Demand, _: &'a Ask) -> Answering<'a, bool> {
        at_once(Ok(true))
    }

    fn name(&self) -> &str {
        "this process"
    }

    fn is_up(&self) -> bool {
        true
    }

    fn ready(&self) -> Answering<'_, ()> {
        at_once(Ok(()))
    }

    fn census(&self) -> Answering<'_, Census> {
        at_once(Ok(self.count_all()))
    }

    fn look<'a>(&'a self, demand: &'a Demand, caller: &'a str) -> Answering<'a, Vec<Look>> {
        at_once(self.look_now(demand, caller))
    }

    fn reset<'a>(&'a self, demand: &'a Demand, caller: &'a str) -> Answering<'a, ()> {
        let mut state = self.state();
        for key in demand.keys(caller) {
            state.held.remove(&key);
            state.slots.remove(&key);
        }
        at_once(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Ask, Demand, Memory, FEW_KEYS};
    use crate::limit::Bucket;

    #[test]
    fn expired_keys_take_no_memory() {
        let bucket = Bucket::new("b", "1000000", "1").expect("a limit");
        let demand = Demand {
            limits: vec![Box::new(bucket)],
        };
        let memory = Memory::default();
        for i in 0..10 * FEW_KEYS {
            let ask = Ask {
                caller: i.to_string(),
                cost: 1,
                token: String::new(),
                asked_at: 0,
            };
            let taken = memory.take_now(&demand, &ask);
            assert!(taken.is_ok_and(|answer| answer.allowed));
        }
        // Each expires a millisecond later, and those of the last milliseconds are few.
        assert!(memory.state().held.len() <= 8 * FEW_KEYS);
    }
}
