//! Checks one bucket of a call against the oracle.

use std::collections::BTreeSet;

use num_bigint::BigInt;

use crate::oracle::{After, Limit, Mode, Outcome, State, MILLI};
use crate::syntax::{Ask, Verb};
use crate::windows::{self, Hold};
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

/// Returns whether a key may have expired. It exists throughout the millisecond of its expiry; but
/// Redis 8's own expiry cycle deletes it at the beginning of that millisecond.
pub fn may_have_expired(found: &Found, moment: &Moment) -> bool {
    found
        .expires
        .is_some_and(|at| at <= (moment.to / MILLI) as i64)
}

/// Returns the state that a command sees in a string at that time, or `None` if it is not a bucket.
pub fn bucket(
    verb: Verb,
    limit: Option<&Limit>,
    content: &Content,
    expires: Option<i64>,
    now: u64,
) -> Option<Option<State>> {
    match content {
        Content::Nothing => Some(None),
        Content::Leases(_) | Content::Holds(_) | Content::Other(_) => None,
        // A window that has ended counts as nothing.
        Content::Text(bytes)
            if windows::Stored::read(bytes)
                .is_some_and(|window| window.has_ended((now / MILLI).into())) =>
        {
            Some(None)
        }
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
    /// The expiry of the key found.
    pub expires: Option<i64>,
    /// Overdue holds that are refunded before: amounts, each with its time.
    pub refunds: &'a [(u64, i64)],
}

impl Check<'_> {
    /// Checks the reply against the stored state, or against an absent key if it may have expired.
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
            return self.written(content, before, after);
        }
        let mut told = Err("no moment".to_owned());
        for (from, to) in self.spans(content) {
            told = told.or_else(|_| self.given_between(from, to, content, before, after));
        }
        told
    }

    /// Returns the spans of time in which the call may have been made. They are cut where its outcome
    /// jumps: at the bucket's timestamp, before which the clock has stepped back, and at the end of
    /// each refund.
    fn spans(&self, content: &Content) -> Vec<(u64, u64)> {
        let (from, to) = (self.moment.from, self.moment.to);
        let written = match content {
            Content::Text(bytes) => State::read(bytes).map(|state| state.updated_at),
            _ => None,
        };
        let held = match self.verb {
            Verb::Hold(hold) => Some(hold.at),
            _ => None,
        };
        let refunds = self.refunds.iter().map(|&(_, at)| at).chain(held);
        let refunds = refunds.filter_map(|at| u64::try_from(at).ok());
        let cuts: BTreeSet<u64> = refunds
            .chain(written)
            .filter(|&at| from < at && at <= to)
            .collect();
        let mut spans = Vec::new();
        let mut begins = from;
        for at in cuts {
            spans.push((begins, at - 1));
            begins = at;
        }
        spans.push((begins, to));
        spans
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
        // A bucket that is full afterwards may have been filled by the refund.
        let gives = matches!(self.verb, Verb::Give(_) | Verb::Hold(_)) || !self.refunds.is_empty();
        let filled = gives && after.content == Content::Nothing;
        let [first, last] = [first, last].map(|outcome| match filled {
            true => self.filled_by_a_unit(outcome),
            false => outcome,
        });
        // The start of its lifetime is known, except for an arrival time, which contains the time
        // at which it is full.
        let until = [&first, &last].map(|outcome| match outcome.after {
            After::KeptUntil(at) => before.expires.map(|expires| self.limit.kept(expires, at)),
            _ => before.expires,
        });
        // An arrival time is rounded to a unit at each time, so between two times it may be full
        // one unit later than at either.
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
            // Expired within the duration of the call. It may have been written that much earlier,
            // and was then full at most that much earlier.
            After::Written(_, full_at) => {
                let at = self
                    .limit
                    .expires(self.expiry(content, before, to), full_at);
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

    /// Returns the outcome with a full bucket if it lacks one unit. The level is rounded down and the
    /// refund of a hold up, so between two times that leave it a unit short it may be filled.
    fn filled_by_a_unit(&self, outcome: Outcome) -> Outcome {
        match outcome.after {
            After::Written(state, _)
                if self.limit.burst_units() == BigInt::from(state.tokens) + 1 =>
            {
                let [taken, burst, _, wait, _] = outcome.reply;
                Outcome {
                    // A wait of -1 remains: the bucket never holds more than its burst.
                    reply: [taken, burst, burst, wait.min(0), 0],
                    after: After::Removed,
                }
            }
            _ => outcome,
        }
    }

    /// The written timestamp reveals the time of the call, so everything else is known exactly.
    fn written(&self, content: &Content, before: &Found, after: &Found) -> Result<(), String> {
        let Content::Text(bytes) = &after.content else {
            return Err("the type has changed".to_owned());
        };
        let state = State::read(bytes).ok_or("what was written is no bucket")?;
        let now = state.updated_at;
        if !(self.moment.from..=self.moment.to).contains(&now) {
            return Err(format!("written at {now}"));
        }
        let mut expected = self.outcome(content, now).ok_or("must fail")?;
        if let After::Written(_, at) = &mut expected.after {
            *at = self.limit.expires(self.expiry(content, before, now), *at);
        }
        let expires = after.expires.ok_or("a bucket that does not expire")?;
        let found = Outcome {
            reply: *self.reply,
            after: After::Written(state, expires),
        };
        let looks = matches!(self.verb, Verb::Peek(_) | Verb::Again(_));
        let held = expected == found && !looks;
        held.then_some(()).ok_or(format!("expected {expected:?}"))
    }

    /// Checks that the reply is between those at both ends of the possible time.
    fn between(&self, first: &[i64; 5], last: &[i64; 5]) -> Result<(), String> {
        // If it was denied until some time and allowed afterwards, both replies are right.
        let turns = first[0] != last[0] && !matches!(self.verb, Verb::Give(_) | Verb::Hold(_));
        let held = (0..5).all(|n| {
            let (low, high) = (first[n].min(last[n]), first[n].max(last[n]));
            turns && n > 1 || (low..=high).contains(&self.reply[n])
        });
        held.then_some(())
            .ok_or(format!("expected {first:?} to {last:?}"))
    }

    /// Returns the oracle's outcome; `None` if the call must fail.
    fn outcome(&self, content: &Content, now: u64) -> Option<Outcome> {
        let stored = bucket(self.verb, Some(self.limit), content, self.expires, now)?;
        let (stored, refunded) = self.refunded(stored, now);
        let mut outcome = self.asked(stored, now)?;
        if let (After::Kept | After::KeptUntil(_), After::Written(..) | After::Removed) =
            (outcome.after, refunded)
        {
            outcome.after = refunded;
        }
        Some(outcome)
    }

    /// Returns when the key expires once overdue holds were refunded.
    fn expiry(&self, content: &Content, before: &Found, now: u64) -> Option<i64> {
        let stored = bucket(self.verb, Some(self.limit), content, self.expires, now)?;
        match self.refunded(stored, now).1 {
            After::Written(_, full_at) => Some(self.limit.expires(before.expires, full_at)),
            After::Removed => None,
            After::Kept | After::KeptUntil(_) => before.expires,
        }
    }

    /// Returns the state once overdue holds were refunded, and the last change.
    fn refunded(&self, mut stored: Option<State>, now: u64) -> (Option<State>, After) {
        let mut refunded = After::Kept;
        for &(held, at) in self.refunds {
            let after = self.limit.hold_instead(stored, now, [held, 0], at).after;
            match after {
                After::Written(state, _) => stored = Some(state),
                After::Removed => stored = None,
                After::Kept | After::KeptUntil(_) => continue,
            }
            refunded = after;
        }
        (stored, refunded)
    }

    /// Returns the oracle's outcome of what is asked of a state.
    fn asked(&self, stored: Option<State>, now: u64) -> Option<Outcome> {
        let limit = self.limit;
        match self.verb {
            Verb::Hold(hold) => {
                let Hold { held, amount, at } = hold;
                Some(limit.hold_instead(stored, now, [held, amount], at))
            }
            Verb::Take(ask) => take(limit, stored, now, ask),
            Verb::Peek(cost) => Some(limit.look(stored, now, cost)),
            Verb::Give(tokens) => Some(limit.give(stored, now, tokens)),
            // A limit that has enough is left unchanged; one that has too little is denied.
            Verb::Each(ask) => match take(limit, stored, now, ask)? {
                passes if passes.reply[0] > 0 => Some(limit.look(stored, now, ask.cost)),
                granted if granted.reply[3] == 0 => Some(granted),
                denied => Some(denied),
            },
            Verb::Again(ask) => {
                let mut outcome = limit.look(stored, now, ask.cost);
                (outcome.reply[0], outcome.reply[3]) = (0, 0);
                Some(outcome)
            }
            Verb::Throttle(quantity) => {
                let mut outcome = match quantity {
                    0 => limit.untouched(stored, now),
                    cost => limit.take(stored, now, cost, Mode::Whole)?,
                };
                outcome.reply = in_seconds(outcome.reply, quantity);
                Some(outcome)
            }
        }
    }
}

/// Returns the oracle's outcome of a take; `None` if it must fail.
pub fn take(limit: &Limit, stored: Option<State>, now: u64, ask: Ask) -> Option<Outcome> {
    limit.take_keeping(stored, now, ask.cost, ask.keep, ask.mode)
}

/// Converts a reply to redis-cell's, with seconds rounded up.
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
