//! A window in a store: calls, the clock, and a key that expires, as around a server. Every
//! decision must equal the oracle's, bit for bit.

#![allow(dead_code)] // The fuzzer uses its own part of it.

use redis_rl_limits::grammar::window::Quota;
use redis_rl_limits::kinds::decision::{self, Change, Decision, Limit, Standing, State};
use redis_rl_limits::kinds::error::Error;
use redis_rl_limits::kinds::stored::Stored;
use redis_rl_limits::kinds::usage::WindowStanding;

use crate::named::Pair;
use crate::oracle::{self, After, Ask, Call, Mode, Outcome, Refusal, MAX_TOKENS, MILLI};

/// Decides a call with the crate.
pub fn decide(
    quota: Quota,
    stored: Option<&[u8]>,
    now: u64,
    call: Call,
) -> Result<Outcome, Refusal> {
    match quota {
        Quota::Fixed(limit) => decide_one(limit, stored, now, call),
        Quota::Sliding(limit) => decide_one(limit, stored, now, call),
    }
}

fn decide_one<L>(limit: L, stored: Option<&[u8]>, now: u64, call: Call) -> Result<Outcome, Refusal>
where
    L: Limit,
    L::Standing: WindowStanding,
{
    let stored = match stored {
        Some(bytes) => match (L::State::from_bytes(bytes), Stored::from_bytes(bytes)) {
            (Some(state), _) => Some(state),
            (None, Some(window)) if window.has_ended(now) => None,
            _ => return Err(Refusal::Held),
        },
        None => None,
    };
    let standing = limit.stand(stored, now);
    let decision = match call {
        Call::Take(ask) => {
            let decision = standing.take(&same_ask(ask));
            if let (Ok(decision), Mode::Whole) = (&decision, ask.mode) {
                let taken = !decision.reply.is_denied();
                assert_eq!(standing.has(&same_ask(ask)), taken);
            }
            decision
        }
        Call::Look(ask) => standing.look(&same_ask(ask)),
        Call::Give(tokens, at) => Ok(standing.give(tokens, at)),
    };
    match decision {
        Ok(decision) => Ok(outcome(&decision)),
        Err(Error::Until { .. }) => Err(Refusal::End),
        Err(Error::Used) => Err(Refusal::Used),
        Err(error) => panic!("{error}"),
    }
}

fn same_ask(ask: Ask) -> decision::Ask {
    decision::Ask {
        cost: ask.cost,
        keep: ask.keep,
        mode: match ask.mode {
            Mode::Whole => decision::Mode::Whole,
            Mode::AtMost => decision::Mode::AtMost,
            Mode::Force => decision::Mode::Force,
        },
    }
}

fn outcome<S: State>(decision: &Decision<S>) -> Outcome {
    Outcome {
        reply: decision.reply.fields(),
        after: match decision.change {
            Change::Keep => After::Kept,
            Change::KeepAlive(_) => panic!("a window never moves its end"),
            Change::Remove => After::Removed,
            Change::Write(state, expires) => {
                let bytes = state.to_bytes().as_ref().to_vec();
                assert_eq!(bytes.len(), S::SIZE);
                After::Written(bytes, expires)
            }
        },
    }
}

/// One key and its clock.
#[derive(Clone, Debug)]
pub struct World {
    /// Nanoseconds since 1970.
    pub now: u64,
    pub stored: Option<(Vec<u8>, i64)>,
    /// Whether the server removes expired keys. A window must mean the same if not.
    pub expires: bool,
}

impl World {
    pub fn new(now: u64) -> Self {
        Self {
            now,
            stored: None,
            expires: true,
        }
    }

    /// Milliseconds since 1970.
    pub fn ms(&self) -> u64 {
        self.now / MILLI
    }

    /// Returns the same key `ms` milliseconds later; `None` beyond the clock's end.
    pub fn later(&self, ms: i64) -> Option<Self> {
        let nanos = u64::try_from(ms).ok()?.checked_mul(MILLI)?;
        let now = self.now.checked_add(nanos)?;
        Some(Self {
            now,
            ..self.clone()
        })
    }

    /// Makes a call, holds what comes of it to the oracle, and stores it.
    pub fn call(&mut self, pair: Pair, call: Call) -> Result<Outcome, Refusal> {
        if self.expires {
            let now = i64::try_from(self.ms()).unwrap();
            self.stored = self.stored.take().filter(|(_, expires)| now <= *expires);
        }
        let stored = self.stored.as_ref().map(|(bytes, _)| bytes.as_slice());
        let decided = decide(pair.quota, stored, self.now, call);
        let expected = oracle::decide(pair.limit, pair.named, stored, self.now, call);
        assert_eq!(decided, expected, "{pair:?} {call:?} {self:?}");
        let outcome = decided?;
        match outcome.after.clone() {
            After::Kept => {}
            After::Written(bytes, expires) => self.stored = Some((bytes, expires)),
            After::Removed => self.stored = None,
        }
        Ok(outcome)
    }

    /// Returns the five integers of a call without an error.
    pub fn reply(&mut self, pair: Pair, call: Call) -> [i64; 5] {
        self.call(pair, call).expect("no error").reply
    }

    pub fn take(&mut self, pair: Pair, cost: u64) -> [i64; 5] {
        self.reply(pair, Call::Take(whole(cost)))
    }

    pub fn give(&mut self, pair: Pair, tokens: u64, at: Option<u64>) -> [i64; 5] {
        self.reply(pair, Call::Give(tokens, at))
    }

    /// Returns the usage of the window without changing it.
    pub fn used(&self, pair: Pair) -> u64 {
        let roomy = pair.with_limit(MAX_TOKENS);
        let reply = self.clone().reply(roomy, Call::Look(whole(1)));
        MAX_TOKENS - u64::try_from(reply[2]).unwrap()
    }
}

pub fn whole(cost: u64) -> Ask {
    Ask {
        cost,
        keep: 0,
        mode: Mode::Whole,
    }
}
