//! What each call may be answered, and what it may leave behind.

use std::collections::{BTreeMap, HashMap, VecDeque};

use redis::Value;

use crate::oracle::{After, Limit, Mode, Outcome, State, MILLI, UNIT};
use crate::syntax::{self, Call, Part, Verb};
use crate::wire::{Command, Content, Found};

/// Between which instants a call was carried out.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    from: u64,
    to: u64,
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

pub struct Model {
    seed: u64,
    keys: HashMap<Vec<u8>, Found>,
    /// The last commands, for whoever reads of a failure.
    recent: VecDeque<Command>,
    /// How often what was seen.
    seen: BTreeMap<&'static str, u64>,
}

const NOTHING: Found = Found {
    content: Content::Nothing,
    expires: None,
};

impl Model {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            keys: HashMap::new(),
            recent: VecDeque::new(),
            seen: BTreeMap::new(),
        }
    }

    /// The keys whose content a command may change.
    pub fn keys_of(&self, command: &Command) -> Vec<Vec<u8>> {
        let mut keys: Vec<_> = match syntax::parse(&command.0) {
            Some(call) => call.parts.into_iter().map(|part| part.key).collect(),
            None => command.0.get(1).cloned().into_iter().collect(),
        };
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Whole tokens that a bucket held when it was last written.
    pub fn tokens(&self, key: &[u8]) -> Option<u64> {
        let Content::Text(bytes) = &self.keys.get(key)?.content else {
            return None;
        };
        u64::try_from(State::read(bytes)?.tokens)
            .ok()
            .map(|units| units / UNIT)
    }

    pub fn check(
        &mut self,
        command: &Command,
        reply: Value,
        keys: &[Vec<u8>],
        found: Vec<Found>,
        moment: &mut Moment,
    ) {
        let found: HashMap<_, _> = keys.iter().cloned().zip(found).collect();
        if let Some(call) = syntax::parse(&command.0) {
            let held = self.held(&call, &reply, &found, moment);
            let told = held.unwrap_or_else(|why| {
                let before: Vec<_> = keys.iter().map(|key| self.keys.get(key)).collect();
                panic!(
                    "RL_FUZZ_SEED={}: {why}\n{command:?}\n{reply:?}\nbefore {before:?}\nafter {found:?}\n{moment:?}\nafter {:#?}",
                    self.seed, self.recent
                );
            });
            *self.seen.entry(told).or_default() += 1;
            self.learn_instant(&found, moment);
        }
        self.keys.extend(found);
        self.recent.push_back(command.clone());
        if self.recent.len() > 20 {
            self.recent.pop_front();
        }
    }

    /// No later call is earlier than what this one wrote.
    fn learn_instant(&self, found: &HashMap<Vec<u8>, Found>, moment: &mut Moment) {
        for (key, found) in found {
            let before = self.keys.get(key).unwrap_or(&NOTHING);
            if let (Content::Text(bytes), true) = (&found.content, found != before) {
                let state = State::read(bytes).expect("a call leaves a bucket");
                moment.from = moment.from.max(state.updated_at);
            }
        }
    }

    /// What kind of reply it was, or why it cannot be one.
    fn held(
        &self,
        call: &Call,
        reply: &Value,
        found: &HashMap<Vec<u8>, Found>,
        moment: &Moment,
    ) -> Result<&'static str, String> {
        let before = |part: &Part| self.keys.get(&part.key).unwrap_or(&NOTHING);
        if let Value::ServerError(error) = reply {
            let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
            for part in &call.parts {
                untouched(before(part), &found[&part.key], moment)?;
            }
            return self.may_fail(call, &text, moment);
        }
        if !call.wrong.is_empty() {
            return Err(format!("must fail with one of {:?}", call.wrong));
        }
        let (outer, replies) = read(call, reply).ok_or("the reply has another shape")?;
        for (part, reply) in call.parts.iter().zip(&replies) {
            let verb = match (part.verb, outer) {
                (Verb::Each(cost), Some([0, _])) => Verb::Each(cost),
                (Verb::Each(cost), _) => Verb::Take(cost, Mode::Whole),
                (verb, _) => verb,
            };
            let limit = part.limit.as_ref().ok_or("a wrong limit")?;
            let check = Check {
                verb,
                limit,
                reply,
                moment,
            };
            check.any_of(before(part), &found[&part.key])?;
        }
        if let (Some(outer), Some(Verb::Each(cost))) = (outer, call.parts.first().map(|p| p.verb)) {
            all_or_nothing(outer, cost, &replies)?;
        }
        Ok(kind(call.parts[0].verb, &replies))
    }

    fn may_fail(&self, call: &Call, text: &str, moment: &Moment) -> Result<&'static str, String> {
        if call.wrong.iter().any(|wrong| text.starts_with(wrong)) {
            return Ok("wrong call");
        }
        if !call.wrong.is_empty() {
            return Err(format!("must fail with one of {:?}", call.wrong));
        }
        if call.may_be_too_long && text.starts_with("ERR rate must be") {
            return Ok("rate too long");
        }
        for part in &call.parts {
            let found = self.keys.get(&part.key).unwrap_or(&NOTHING);
            let gone = found
                .expires
                .is_some_and(|at| at < (moment.from / MILLI) as i64);
            let bucket = bucket(part.verb, part.limit.as_ref(), &found.content, moment.from);
            match (&found.content, bucket) {
                _ if gone => {}
                (Content::Other(_), _) if text.starts_with("WRONGTYPE ") => {
                    return Ok("wrong type")
                }
                (Content::Text(_), None) if text.starts_with("ERR key holds a string") => {
                    return Ok("no bucket");
                }
                (Content::Text(_) | Content::Nothing, Some(stored)) => {
                    let (Verb::Take(cost, mode), Some(limit)) = (part.verb, &part.limit) else {
                        continue;
                    };
                    let owes = |now| limit.take(stored, now, cost, mode).is_none();
                    if (owes(moment.from) || owes(moment.to))
                        && text.starts_with("ERR COST would make the bucket owe")
                    {
                        return Ok("too much debt");
                    }
                }
                _ => {}
            }
        }
        Err("must not fail".to_owned())
    }

    pub fn tally(&self) -> String {
        let total: u64 = self.seen.values().sum();
        format!("{total} calls: {:?}", self.seen)
    }

    pub fn assert_variety(&self) {
        for kind in [
            "wrong call",
            "wrong type",
            "no bucket",
            "too much debt",
            "taken",
            "denied",
            "given",
            "peeked",
            "throttled",
            "all taken",
            "none taken",
        ] {
            let seen = self.seen.get(kind).copied().unwrap_or(0);
            assert!(seen > 100, "{kind} was seen {seen} times: {:?}", self.seen);
        }
    }
}

fn kind(verb: Verb, replies: &[[i64; 5]]) -> &'static str {
    let all = replies.iter().all(|reply| reply[0] > 0);
    match verb {
        Verb::Take(..) if all => "taken",
        Verb::Take(..) => "denied",
        Verb::Give(_) => "given",
        Verb::Peek(_) => "peeked",
        Verb::Each(_) if all => "all taken",
        Verb::Each(_) => "none taken",
        Verb::Throttle(_) => "throttled",
    }
}

/// `[taken, wait_ms]` of a call for several buckets, and the five integers for each.
type Replies = (Option<[i64; 2]>, Vec<[i64; 5]>);

fn read(call: &Call, reply: &Value) -> Option<Replies> {
    let Value::Array(items) = reply else {
        return None;
    };
    if !matches!(call.parts.first()?.verb, Verb::Each(_)) {
        return Some((None, vec![integers(items)?]));
    }
    let [Value::Int(taken), Value::Int(wait), Value::Array(each)] = items.as_slice() else {
        return None;
    };
    let each = each.iter().map(|one| match one {
        Value::Array(items) => integers(items),
        _ => None,
    });
    let each: Vec<_> = each.collect::<Option<_>>()?;
    (each.len() == call.parts.len()).then_some((Some([*taken, *wait]), each))
}

fn integers(items: &[Value]) -> Option<[i64; 5]> {
    let integers: Option<Vec<i64>> = items
        .iter()
        .map(|item| match item {
            Value::Int(n) => Some(*n),
            _ => None,
        })
        .collect();
    integers?.try_into().ok()
}

fn all_or_nothing([taken, wait]: [i64; 2], cost: u64, each: &[[i64; 5]]) -> Result<(), String> {
    let cost = cost as i64;
    let enough = each.iter().all(|reply| reply[0] == cost);
    if taken != if enough { cost } else { 0 } {
        return Err("some were taken from and some not".to_owned());
    }
    let longest = match each.iter().any(|reply| reply[3] == -1) {
        true => -1,
        false => each.iter().map(|reply| reply[3]).max().unwrap_or(0),
    };
    (wait == longest)
        .then_some(())
        .ok_or(format!("the longest wait is {longest}"))
}

/// An error leaves everything as it was; a key may have expired meanwhile.
fn untouched(before: &Found, after: &Found, moment: &Moment) -> Result<(), String> {
    let same = before == after;
    let expired = after.content == Content::Nothing && may_have_expired(before, moment);
    (same || expired)
        .then_some(())
        .ok_or("an error changed the key".to_owned())
}

fn may_have_expired(found: &Found, moment: &Moment) -> bool {
    found
        .expires
        .is_some_and(|at| at < (moment.to / MILLI) as i64)
}

/// The state that a command sees in a string, at that time. `None`: no bucket.
fn bucket(verb: Verb, limit: Option<&Limit>, content: &Content, now: u64) -> Option<Option<State>> {
    match content {
        Content::Nothing => Some(None),
        Content::Other(_) => None,
        Content::Text(bytes) => match (State::read(bytes), verb) {
            (Some(state), _) => Some(Some(state)),
            (None, Verb::Throttle(_)) if (1..=19).contains(&bytes.len()) => {
                let arrival = crate::oracle::parse_integer(bytes)?;
                let arrival = u64::try_from(arrival).ok()?;
                Some(Some(limit?.at_arrival_time(arrival, now)))
            }
            _ => None,
        },
    }
}

/// One bucket of a call that did not fail.
struct Check<'a> {
    verb: Verb,
    limit: &'a Limit,
    reply: &'a [i64; 5],
    moment: &'a Moment,
}

impl Check<'_> {
    /// Whether the reply is right for what was stored, or for nothing where that may have expired.
    fn any_of(&self, before: &Found, after: &Found) -> Result<(), String> {
        let as_found = self.given(&before.content, before, after);
        match as_found {
            Err(_) if may_have_expired(before, self.moment) => {
                self.given(&Content::Nothing, &NOTHING, after)
            }
            told => told,
        }
    }

    fn given(&self, content: &Content, before: &Found, after: &Found) -> Result<(), String> {
        if after != before && after.content != Content::Nothing {
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
        let may_be = |outcome: &Outcome| match outcome.after {
            After::Kept => after == before || may_have_expired(before, self.moment) || filled,
            After::Removed => after.content == Content::Nothing,
            // Of no use longer than this took. It may have been written that much earlier, and then
            // was full that much earlier at the most.
            After::Written(_, at) => {
                let earlier = at - (to - from).div_ceil(MILLI) as i64;
                after.content == Content::Nothing && earlier <= (self.moment.to / MILLI) as i64
            }
        };
        let peeks = matches!(self.verb, Verb::Peek(_));
        if !peeks && !may_be(&first) && !may_be(&last) {
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
        let held = expected == found && !matches!(self.verb, Verb::Peek(_));
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
        let stored = bucket(self.verb, Some(limit), content, now)?;
        match self.verb {
            Verb::Take(cost, mode) => limit.take(stored, now, cost, mode),
            Verb::Peek(cost) => limit.take(stored, now, cost, Mode::Whole),
            Verb::Give(tokens) => Some(limit.give(stored, now, tokens)),
            Verb::Each(cost) => Some(limit.look(stored, now, cost)),
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
