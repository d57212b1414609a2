//! A bucket in a store: calls, the clock, and a key that expires, as around a server.

use redis_rl_limits::kinds::bucket::{Bucket, Limit};
use redis_rl_limits::kinds::decision::{
    Ask, Change, Limit as _, Mode, Reply, Standing as _, State as _,
};
use redis_rl_limits::kinds::error::Error;

use crate::cases::{same_mode, Pair};
use crate::oracle::{self, After, Outcome, State, MILLI};

type Decision = redis_rl_limits::kinds::decision::Decision<Bucket>;

/// An action on a bucket.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    Take(u64, Mode),
    /// A take that leaves a reserve.
    TakeKeeping(u64, u64, Mode),
    Give(u64),
    /// The effect of a denied call on several buckets on each of them.
    Look(u64),
}

impl Call {
    /// Decides it with the crate.
    pub fn decide(self, stored: Option<State>, now: u64, limit: Limit) -> Result<Decision, Error> {
        let stored = stored.map(|s| Bucket::from_bytes(&s.bytes()).expect("a valid state"));
        let standing = limit.stand(stored, now);
        match self {
            Self::Take(cost, mode) => standing.take(&Ask {
                mode,
                ..Ask::whole(cost)
            }),
            Self::TakeKeeping(cost, keep, mode) => standing.take(&Ask { cost, keep, mode }),
            Self::Give(tokens) => Ok(standing.give(tokens)),
            Self::Look(cost) => standing.look(&Ask::whole(cost)),
        }
    }

    /// Decides it with the oracle; `None` for too much debt.
    pub fn expect(self, stored: Option<State>, now: u64, limit: &oracle::Limit) -> Option<Outcome> {
        match self {
            Self::Take(cost, mode) => limit.take(stored, now, cost, same_mode(mode)),
            Self::TakeKeeping(cost, keep, mode) => {
                limit.take_keeping(stored, now, cost, keep, same_mode(mode))
            }
            Self::Give(tokens) => Some(limit.give(stored, now, tokens)),
            Self::Look(cost) => Some(limit.look(stored, now, cost)),
        }
    }
}

/// Converts a decision to the oracle's form.
pub fn outcome(decision: &Decision) -> Outcome {
    Outcome {
        reply: decision.reply.fields(),
        after: match decision.change {
            Change::Keep => After::Kept,
            Change::KeepAlive(at) => After::KeptUntil(at),
            Change::Remove => After::Removed,
            Change::Write(bucket, expires) => {
                let state = State::read(&bucket.to_bytes()).expect("a bucket that is stored");
                After::Written(state, expires)
            }
        },
    }
}

/// One bucket, its key and its clock.
#[derive(Clone, Debug)]
pub struct World {
    pub now: u64,
    stored: Option<(State, i64)>,
}

impl World {
    pub fn new(now: u64) -> Self {
        Self { now, stored: None }
    }

    /// Creates a world with a bucket that does not expire.
    pub fn with(now: u64, stored: Option<State>) -> Self {
        let stored = stored.map(|state| (state, i64::MAX));
        Self { now, stored }
    }

    /// Returns the state, unless its key has expired.
    pub fn stored(&self) -> Option<State> {
        let ms = i64::try_from(self.now / MILLI).expect("a time in milliseconds");
        self.stored.filter(|s| ms <= s.1).map(|s| s.0)
    }

    pub fn apply(&mut self, after: After, limit: &oracle::Limit) {
        match after {
            After::Kept => {}
            After::KeptUntil(at) => {
                if let Some((_, expires)) = &mut self.stored {
                    *expires = limit.kept(*expires, at);
                }
            }
            After::Written(state, at) => {
                let before = self.stored.map(|(_, expires)| expires);
                self.stored = Some((state, limit.expires(before, at)));
            }
            After::Removed => self.stored = None,
        }
    }

    /// Makes a call and stores what it decides. A key that has expired is gone for good.
    pub fn call(&mut self, limit: &Pair, call: Call) -> Result<Reply, Error> {
        let state = self.stored();
        self.stored = self.stored.filter(|_| state.is_some());
        let decision = call.decide(state, self.now, limit.real)?;
        self.apply(outcome(&decision).after, &limit.exact);
        Ok(decision.reply)
    }

    pub fn take(&mut self, limit: &Pair, cost: u64, mode: Mode) -> Reply {
        self.call(limit, Call::Take(cost, mode))
            .expect("no more debt than may be")
    }

    /// Returns the same bucket `nanos` later; `None` beyond the clock's end.
    pub fn later(&self, nanos: u64) -> Option<Self> {
        let now = self.now.checked_add(nanos)?;
        Some(Self { now, ..*self })
    }
}
