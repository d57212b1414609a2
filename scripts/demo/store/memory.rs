//! Limits of every kind in this process, decided by the code that the module itself runs. No Redis is
//! needed, and nobody else sees them.

use std::collections::{HashMap, HashSet};
use std::future::ready;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis_rl_limits::kinds::decision::{self, Change, Decision, Standing as _, State as _};
use redis_rl_limits::kinds::usage::WindowStanding as _;
use redis_rl_limits::sketch::top::Top;

use super::traits::{Answer, Answering, Owed, Store, StoreError};
use crate::census::{Census, Offender, TOP};
use crate::limit::{Algorithm, Ask, Demand, Limit, Standing};

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
            let each = keys.iter();
            let each = each.map(|(key, limit)| state.decide(key, limit, now, &cost, take));
            each.collect::<Result<Vec<_>, _>>()
        };
        let mut decided = decide(&state, false)?;
        let allowed = decided.iter().all(|(standing, _)| standing.allows);
        if allowed {
            decided = decide(&state, true)?;
        }
        let mut standings = Vec::with_capacity(keys.len());
        for ((standing, new), (key, _)) in decided.into_iter().zip(&keys) {
            if !standing.allows {
                state.top.denied(key.as_bytes(), now);
            }
            state.store(key, new, &ask.token);
            standings.push(standing);
        }
        Ok(Answer { allowed, standings })
    }

    fn give_now(&self, demand: &Demand, ask: &Ask, owed: Owed) {
        let now = self.now();
        let mut state = self.state();
        for (key, limit) in demand.keys(&ask.caller) {
            let held = state.held.get(&key);
            let (cost, at) = (ask.cost, Some(ask.asked_at));
            let (_, new) = match limit.algorithm {
                Algorithm::Slots(..) => {
                    state.release(&key, &ask.token);
                    continue;
                }
                _ if owed == Owed::Slots => continue,
                Algorithm::Bucket(limit) => outcome(stand(limit, held, now).give(cost)),
                Algorithm::Window(limit) => outcome(stand(limit, held, now).give(cost, at)),
                Algorithm::Sliding(limit) => outcome(stand(limit, held, now).give(cost, at)),
            };
            state.store(&key, new, "");
        }
    }
}

impl State {
    /// Returns the module's reply and new state for a take or a peek.
    fn decide(
        &self,
        key: &str,
        limit: &Limit,
        now: u64,
        ask: &decision::Ask,
        take: bool,
    ) -> Result<(Standing, New), StoreError> {
        let held = self.held.get(key);
        match limit.algorithm {
            Algorithm::Bucket(limit) => decide(limit, held, now, ask, take),
            Algorithm::Window(limit) => decide(limit, held, now, ask, take),
            Algorithm::Sliding(limit) => decide(limit, held, now, ask, take),
            Algorithm::Slots(limit, _) => {
                let held = self.slots.get(key).map_or(0, HashSet::len) as u64;
                let remaining = limit.saturating_sub(held);
                let standing = Standing {
                    allows: remaining > 0,
                    remaining,
                    wait: (remaining > 0).then_some(Duration::ZERO),
                    reset: Duration::ZERO,
                };
                Ok((standing, if take { New::Slot } else { New::Same }))
            }
        }
    }

    /// Frees the slot that a token holds.
    fn release(&mut self, key: &str, token: &str) {
        if let Some(tokens) = self.slots.get_mut(key) {
            tokens.remove(token);
            if tokens.is_empty() {
                self.slots.remove(key);
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
        Err(format!("there are {MAX_KEYS} keys in memory already").into())
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
) -> Result<(Standing, New), StoreError> {
    let standing = stand(limit, held, now);
    let decision = match take {
        true => standing.take(ask),
        false => standing.look(ask),
    };
    let (standing, new) = outcome(decision.map_err(|error| error.to_string())?);
    Ok((standing, if take { new } else { New::Same }))
}

fn outcome<S: decision::State>(decision: Decision<S>) -> (Standing, New) {
    let new = match decision.change {
        // A limit never changes here, so neither does the time at which its state expires.
        Change::Keep | Change::KeepAlive(_) => New::Same,
        Change::Write(state, until) => New::Held(Held {
            bytes: state.to_bytes().as_ref().to_owned(),
            until,
        }),
        Change::Remove => New::Nothing,
    };
    (decision.reply.fields().into(), new)
}

fn millis(nanos: u64) -> i64 {
    i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX)
}

fn at_once<'a, T: Send + 'a>(answer: Result<T, StoreError>) -> Answering<'a, T> {
    Box::pin(ready(answer))
}

impl Store for Memory {
    fn take<'a>(&'a self, demand: &'a Demand, ask: &'a Ask) -> Answering<'a, Answer> {
        at_once(self.take_now(demand, ask))
    }

    fn give_back<'a>(&'a self, demand: &'a Demand, ask: &'a Ask, owed: Owed) -> Answering<'a, ()> {
        self.give_now(demand, ask, owed);
        at_once(Ok(()))
    }

    fn name(&self) -> &str {
        "this process"
    }

    fn census(&self) -> Answering<'_, Census> {
        let (now, state) = (self.now(), self.state());
        let offenders = state.top.entries().take(TOP).map(|entry| Offender {
            key: entry.key.clone(),
            denials: entry.denials,
            error: entry.error,
            since: now.saturating_sub(entry.last) / 1_000_000,
        });
        at_once(Ok(Census {
            top: offenders.collect(),
            ..Census::default()
        }))
    }

    fn peek<'a>(&'a self, demand: &'a Demand, caller: &'a str) -> Answering<'a, Vec<Standing>> {
        let (now, one, state) = (self.now(), decision::Ask::whole(1), self.state());
        let peek = |(key, limit): (String, &Limit)| {
            let (standing, _) = state.decide(&key, limit, now, &one, false)?;
            Ok(standing)
        };
        at_once(demand.keys(caller).map(peek).collect())
    }

    fn reset<'a>(&'a self, demand: &'a Demand, caller: &'a str) -> Answering<'a, ()> {
        let mut state = self.state();
        for (key, _) in demand.keys(caller) {
            state.held.remove(&key);
            state.slots.remove(&key);
        }
        at_once(Ok(()))
    }
}

#[cfg(test)]
#[path = "../../../tests/demo/memory.rs"]
mod tests;
