//! One bucket of a call, held to what the oracle makes of it.

use num_bigint::BigInt;

use crate::oracle::{After, Limit, Mode, Outcome, State, MILLI};
use crate::syntax::{Ask, Verb};
use crate::wire::{Content, Found};

/// Between which instants a call was carried out.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub from: u64,
    pub to: u64,
}

impl From<u64> for Moment {
    fn from(from: u64) -> Self {
        Self { from, to: from }
    }
}

impl Moment {
    pub fn ends(&mut self, now: u64) {
        self.to = now;
    }
}

/// A key that is not there.
pub const NOTHING: Found = Found {
    content: Content::Nothing,
    expires: None,
};

/// A key is there throughout the millisecond of its expiry; but Redis 8, where it looks for expired
/// keys by itself, deletes it from the beginning of that on.
pub fn may_have_expired(found: &Found, moment: &Moment) -> bool {
    found
        .expires
        .is_some_and(|at| at <= (moment.to / MILLI) as i64)
}

/// The state that a command sees in a string, at that time. `None`: no bucket.
pub fn bucket(
    verb: Verb,
    limit: Option<&Limit>,
    content: &Content,
    expires: Option<i64>,
    now: u64,
) -> Option<Option<State>> {
    match content {
        Content::Nothing => Some(None),
        Content::Leases(_) | Content::Other(_) => None,
        Content::Text(bytes) => match (State::read(bytes), verb) {
            (Some(state), _) => Some(Some(state)),
            (None, Verb::Throttle(_))
                if bytes.len() == 19 && bytes[0] != b'0' && expires.is_some() =>
            {
                let arrival = crate::oracle::parse_integer(bytes)?;
                let arrival = u64::try_from(arrival).ok()?;
                Some(Some(limit?.at_arrival_time(arrival, now)))
            }
            _ => None,
        },
    }
}

/// One bucket of a call that did not fail.
pub struct Check<'a> {
    pub verb: Verb,
    pub limit: &'a Limit,
    pub reply: &'a [i64; 5],
    pub moment: &'a Moment,
    /// When the key expires that was found.
    pub expires: Option<i64>,
}

impl Check<'_> {
    /// Whether the reply is right for what was stored, or for nothing where that may have expired.
    pub fn any_of(&self, before: &Found, after: &Found) -> Result<(), String> {
        let as_found = self.given(&before.content, before, after);
        match as_found {
            Err(_) if may_have_expired(before, self.moment) => {
                self.given(&Content::Nothing, &NOTHING, after)
            }
            told => told,
        }
    }

    fn given(&self, content: &Content, before: &Found, after: &Found) -> Result<(), String> {
        if after.content != *content && after.content != Content::Nothing {
            return self.written(content, after);
        }
        let mut told = Err("no moment".to_owned());
        for (from, to) in self.spans(content) {
            told = told.or_else(|_| self.given_between(from, to, content, before, after));
        }
        told
    }

    /// The time that it may have been, on both sides of when the bucket was written: before, the
    /// clock had stepped back.
    fn spans(&self, content: &Content) -> Vec<(u64, u64)> {
        let (from, to) = (self.moment.from, self.moment.to);
        let written = match content {
            Content::Text(bytes) => State::read(bytes).map(|state| state.updated_at),
            _ => None,
        };
        match written {
            Some(at) if from < at && at <= to => vec![(from, at - 1), (at, to)],
            _ => vec![(from, to)],
        }
    }

    fn given_between(
        &self,
        from: u64,
        to: u64,
        content: &Content,
        before: &Found,
        after: &Found,
    ) -> Result<(), String> {
        // A wait that was too long may have become one into too much debt.
        let (first, last) = match (self.outcome(content, from), self.outcome(content, to)) {
            (Some(first), Some(last)) => (first, last),
            (Some(either), None) | (None, Some(either)) => (either, either),
            (None, None) => return Err("must fail".to_owned()),
        };
        // What is full in the end may have become so by what was given.
        let filled = matches!(self.verb, Verb::Give(_)) && after.content == Content::Nothing;
        // From when it is kept is known, but for an arrival time, which says when it is full.
        let until = [&first, &last].map(|outcome| match outcome.after {
            After::KeptUntil(at) => before.expires.map(|expires| expires.max(at)),
            _ => before.expires,
        });
        // What an arrival time stands for is rounded to a unit at each instant anew, so between two
        // it may be full by a unit later than at either.
        let unit = self.limit.nanos_for(&BigInt::from(1));
        let later = match self.verb {
            Verb::Throttle(_) => i64::try_from(unit).map_or(0, |nanos| nanos / MILLI as i64 + 1),
            _ => 0,
        };
        let latest = until[0].max(until[1]).map(|at| at + later);
        let in_range = (until[0].min(until[1])..=latest).contains(&after.expires);
        let kept_until = after.content == before.content && in_range;
        let may_be = |outcome: &Outcome| match outcome.after {
            After::Kept => after == before || may_have_expired(before, self.moment) || filled,
            After::KeptUntil(_) => kept_until || may_have_expired(before, self.moment),
            After::Removed => after.content == Content::Nothing,
            // Of no use longer than this took. It may have been written that much earlier, and then
            // was full that much earlier at the most.
            After::Written(_, at) => {
                let earlier = at - (to - from).div_ceil(MILLI) as i64;
                after.content == Content::Nothing && earlier <= (self.moment.to / MILLI) as i64
            }
        };
        let peeked = matches!(self.verb, Verb::Peek(_) | Verb::Again(_)) && after == before;
        if !peeked && !may_be(&first) && !may_be(&last) {
            return Err(format!("expected {first:?} to {last:?}"));
        }
        self.between(&first.reply, &last.reply)
    }

    /// What was written tells when, so everything else is known exactly.
    fn written(&self, content: &Content, after: &Found) -> Result<(), String> {
        let Content::Text(bytes) = &after.content else {
            return Err("the type has changed".to_owned());
        };
        let state = State::read(bytes).ok_or("what was written is no bucket")?;
        let now = state.updated_at;
        if !(self.moment.from..=self.moment.to).contains(&now) {
            return Err(format!("written at {now}"));
        }
        let expected = self.outcome(content, now).ok_or("must fail")?;
        let expires = after.expires.ok_or("a bucket that does not expire")?;
        let found = Outcome {
            reply: *self.reply,
            after: After::Written(state, expires),
        };
        let looks = matches!(self.verb, Verb::Peek(_) | Verb::Again(_));
        let held = expected == found && !looks;
        held.then_some(()).ok_or(format!("expected {expected:?}"))
    }

    /// Between what it would have been at both ends of the time that it may have been.
    fn between(&self, first: &[i64; 5], last: &[i64; 5]) -> Result<(), String> {
        // Where it was denied until a moment and then not, both are right, whatever they count.
        let turns = first[0] != last[0] && !matches!(self.verb, Verb::Give(_));
        let held = (0..5).all(|n| {
            let (low, high) = (first[n].min(last[n]), first[n].max(last[n]));
            turns && n > 1 || (low..=high).contains(&self.reply[n])
        });
        held.then_some(())
            .ok_or(format!("expected {first:?} to {last:?}"))
    }

    /// What the oracle makes of it; `None` if it must fail.
    fn outcome(&self, content: &Content, now: u64) -> Option<Outcome> {
        let limit = self.limit;
        let stored = bucket(self.verb, Some(limit), content, self.expires, now)?;
        match self.verb {
            Verb::Take(ask) => take(limit, stored, now, ask),
            Verb::Peek(cost) => Some(limit.look(stored, now, cost)),
            Verb::Give(tokens) => Some(limit.give(stored, now, tokens)),
            // One that has enough is left alone, one that has not is denied.
            Verb::Each(ask) => match take(limit, stored, now, ask)? {
                passes if passes.reply[0] > 0 => Some(limit.look(stored, now, ask.cost)),
                denied => Some(denied),
            },
            Verb::Again(ask) => {
                let mut outcome = limit.look(stored, now, ask.cost);
                (outcome.reply[0], outcome.reply[3]) = (0, 0);
                Some(outcome)
            }
            Verb::Throttle(quantity) => {
                let mut outcome = match quantity {
                    0 => limit.look(stored, now, 0),
                    cost => limit.take(stored, now, cost, Mode::Whole)?,
                };
                outcome.reply = in_seconds(outcome.reply, quantity);
                Some(outcome)
            }
        }
    }
}

/// What the oracle makes of a take; `None` if it must fail.
pub fn take(limit: &Limit, stored: Option<State>, now: u64, ask: Ask) -> Option<Outcome> {
    limit.take_keeping(stored, now, ask.cost, ask.keep, ask.mode)
}

/// A reply as redis-cell gives it, with seconds rounded up.
fn in_seconds([taken, limit, remaining, wait, reset]: [i64; 5], quantity: u64) -> [i64; 5] {
    let seconds = |ms: i64| ms / 1000 + i64::from(ms % 1000 > 0);
    let limited = quantity > 0 && taken == 0;
    let retry = if limited && wait >= 0 {
        seconds(wait)
    } else {
        -1
    };
    [i64::from(limited), limit, remaining, retry, seconds(reset)]
}
