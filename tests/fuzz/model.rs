//! The possible replies and effects of each call.

use std::collections::{BTreeMap, HashMap, VecDeque};

use redis::Value;

use crate::check::{bucket, take, Check, Moment, NOTHING};
use crate::holds;
use crate::inspect;
use crate::mixed::{self, untouched};
use crate::oracle::{State, MILLI, UNIT};
use crate::records::Record;
use crate::syntax::{self, Call, Part, Verb};
use crate::window;
use crate::windows::Stored;
use crate::wire::{Command, Content, Found};

pub struct Model {
    seed: u64,
    keys: HashMap<Vec<u8>, Found>,
    /// Keys that another than the module changed last.
    /// The last commands, for whoever reads of a failure.
    recent: VecDeque<Command>,
    /// Counts of each kind of reply.
    seen: BTreeMap<&'static str, u64>,
}

impl Model {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            keys: HashMap::new(),
            recent: VecDeque::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Returns the keys whose content a command may change.
    pub fn keys_of(&self, command: &Command) -> Vec<Vec<u8>> {
        if let Some(call) = window::parse(&command.0) {
            return vec![call.key];
        }
        if let Some(call) = holds::parse(&command.0) {
            return vec![call.key];
        }
        if let Some(call) = mixed::parse(&command.0) {
            // The keys of an invalid call may be unknown.
            let first = command.0.get(2).filter(|_| call.keys.is_empty());
            let mut keys: Vec<_> = call.keys.iter().chain(first).cloned().collect();
            keys.sort_unstable();
            keys.dedup();
            return keys;
        }
        let mut keys: Vec<_> = match syntax::parse(&command.0) {
            Some(call) => call.parts.into_iter().map(|part| part.key).collect(),
            None => command.0.get(1).cloned().into_iter().collect(),
        };
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Returns every key seen.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.keys.keys().cloned().collect()
    }

    /// Checks keys that no command changed: the content is as before, or has expired.
    pub fn stands(&mut self, keys: Vec<Vec<u8>>, found: Vec<Found>, moment: &Moment) {
        for (key, found) in keys.into_iter().zip(found) {
            let before = self.keys.get(&key).unwrap_or(&NOTHING);
            untouched(before, &found, moment)
                .unwrap_or_else(|_| panic!("{key:?}: {before:?} became {found:?}"));
            self.keys.insert(key, found);
        }
    }

    /// Records that everything was deleted.
    pub fn forget(&mut self) {
        self.keys.clear();
    }

    /// Returns the whole tokens of a bucket when it was last written.
    pub fn tokens(&self, key: &[u8]) -> Option<u64> {
        let Content::Text(bytes) = &self.keys.get(key)?.content else {
            return None;
        };
        u64::try_from(State::read(bytes)?.tokens)
            .ok()
            .map(|units| units / UNIT)
    }

    /// Returns the usage of a window when it was last written.
    pub fn used(&self, key: &[u8]) -> u64 {
        let stored = match self.keys.get(key).map(|found| &found.content) {
            Some(Content::Text(bytes)) => Stored::read(bytes),
            _ => None,
        };
        match stored {
            Some(Stored::Fixed { used, .. }) => used,
            Some(Stored::Sliding { taken, .. }) => taken.values().sum::<i128>() as u64,
            None => 0,
        }
    }

    /// Returns whether a key holds something else than a limit.
    pub fn is_other(&self, key: &[u8]) -> bool {
        let found = self.keys.get(key).map(|found| &found.content);
        matches!(found, Some(Content::Other(_) | Content::Text(_)))
    }

    /// Returns the ids in a holds key with their records.
    pub fn holds(&self, key: &[u8]) -> Vec<(Vec<u8>, Record)> {
        let Some(Content::Holds(fields)) = self.keys.get(key).map(|found| &found.content) else {
            return Vec::new();
        };
        let records = fields.iter();
        let records = records.filter_map(|(id, bytes)| Some((id.clone(), Record::read(bytes)?)));
        records.collect()
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
        if let Some(call) = window::parse(&command.0) {
            let before = self.keys.get(&call.key).unwrap_or(&NOTHING);
            let held = call.held(&reply, before, &found[&call.key], moment);
            let told = self.expect(held, command, &reply, &found, moment);
            *self.seen.entry(told).or_default() += 1;
        } else if let Some(call) = holds::parse(&command.0) {
            let before = self.keys.get(&call.key).unwrap_or(&NOTHING);
            let held = call.held(&reply, before, &found[&call.key], moment);
            let told = self.expect(held, command, &reply, &found, moment);
            *self.seen.entry(told).or_default() += 1;
        } else if let Some(call) = inspect::parse(&command.0) {
            let key = keys.first();
            let before = key.and_then(|key| self.keys.get(key)).unwrap_or(&NOTHING);
            let after = key.map_or(&NOTHING, |key| &found[key]);
            let held = call.held(&reply, before, after, moment);
            let told = self.expect(held, command, &reply, &found, moment);
            *self.seen.entry(told).or_default() += 1;
        } else if let Some(call) = mixed::parse(&command.0) {
            let before = |key: &[u8]| self.keys.get(key).unwrap_or(&NOTHING);
            let of = |key: &[u8]| (before(key), &found[key]);
            let held = call.held(&reply, of, moment);
            let told = self.expect(held, command, &reply, &found, moment);
            *self.seen.entry(told).or_default() += 1;
            self.learn(keys, &found, moment);
        } else if let Some(call) = syntax::parse(&command.0) {
            let held = self.held(&call, &reply, &found, moment);
            let told = self.expect(held, command, &reply, &found, moment);
            *self.seen.entry(told).or_default() += 1;
            let moved = keys
                .iter()
                .any(|key| is_moved(self.keys.get(key), &found[key]));
            *self.seen.entry("expiry moved").or_default() += u64::from(moved && told == "denied");
            self.learn(keys, &found, moment);
        }
        self.keys.extend(found);
        self.recent.push_back(command.clone());
        if self.recent.len() > 20 {
            self.recent.pop_front();
        }
    }

    /// Returns the value, or panics with a full report.
    fn expect(
        &self,
        held: Result<&'static str, String>,
        command: &Command,
        reply: &Value,
        found: &HashMap<Vec<u8>, Found>,
        moment: &Moment,
    ) -> &'static str {
        held.unwrap_or_else(|why| {
            let before: Vec<_> = found.keys().map(|key| self.keys.get(key)).collect();
            panic!(
                "REDIS_RL_FUZZ_SEED={}: {why}\n{command:?}\n{reply:?}\nbefore {before:?}\nafter {found:?}\n{moment:?}\nafter {:#?}",
                self.seed, self.recent
            )
        })
    }

    /// Learns the time and the content from the written state: no later call is earlier.
    fn learn(&mut self, keys: &[Vec<u8>], found: &HashMap<Vec<u8>, Found>, moment: &mut Moment) {
        for key in keys {
            let before = self.keys.get(key).unwrap_or(&NOTHING);
            let after = &found[key];
            if before.content == after.content {
                continue;
            }
            if let Content::Text(bytes) = &after.content {
                let written = State::read(bytes).map_or(0, |state| state.updated_at);
                moment.from = moment.from.max(written);
            }
        }
    }

    /// Returns the kind of the reply, or why it is wrong.
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
                (Verb::Each(ask), Some([0, _])) => Verb::Each(ask),
                (Verb::Each(ask), _) => Verb::Take(ask),
                (verb, _) => verb,
            };
            let limit = part.limit.as_ref().ok_or("a wrong limit")?;
            let check = Check {
                verb,
                limit,
                reply,
                moment,
                expires: before(part).expires,
                refunds: &[],
            };
            check.any_of(before(part), &found[&part.key])?;
        }
        if let (Some(outer), Some(Verb::Each(ask))) = (outer, call.parts.first().map(|p| p.verb)) {
            all_or_nothing(outer, ask.cost, &replies)?;
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
            let limit = part.limit.as_ref();
            let bucket = bucket(part.verb, limit, &found.content, found.expires, moment.from);
            match (&found.content, bucket) {
                _ if gone => {}
                (Content::Leases(_) | Content::Holds(_) | Content::Other(_), _)
                    if text.starts_with("WRONGTYPE ") =>
                {
                    return Ok("wrong type")
                }
                (Content::Text(_), None) if is_no_bucket(text) => {
                    return Ok("no bucket");
                }
                (Content::Text(_) | Content::Nothing, Some(stored)) => {
                    let (Verb::Take(ask), Some(limit)) = (part.verb, &part.limit) else {
                        continue;
                    };
                    let owes = |now| take(limit, stored, now, ask).is_none();
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

    /// Checks that every kind of reply came more often than once in 10,000 calls.
    pub fn assert_variety(&self) {
        let total: u64 = self.seen.values().sum();
        for kind in [
            "wrong call",
            "wrong type",
            "no bucket",
            "too much debt",
            "taken",
            "denied",
            "expiry moved",
            "given",
            "peeked",
            "throttled",
            "all taken",
            "none taken",
            "window taken",
            "window denied",
            "window converted",
            "window given",
            "window given nothing",
            "window peeked",
            "wrong end",
            "too much used",
            "another kind",
            "all charged",
            "none charged",
            "all again",
            "inspected",
            "hold made",
            "hold denied",
            "hold repeated",
            "hold repeat denied",
            "hold settled",
            "hold settled before",
            "hold unknown",
            "hold refused",
            "hold returned",
            "holds walked",
            "holds listed",
        ] {
            let seen = self.seen.get(kind).copied().unwrap_or(0);
            assert!(
                seen > total / 10_000,
                "{kind} was seen {seen} times: {:?}",
                self.seen
            );
        }
    }
}

fn is_no_bucket(text: &str) -> bool {
    text.starts_with("ERR key '") && text.contains(" holds ")
}

fn is_moved(before: Option<&Found>, after: &Found) -> bool {
    before.is_some_and(|before| before.content == after.content && before.expires < after.expires)
}

fn kind(verb: Verb, replies: &[[i64; 5]]) -> &'static str {
    let all = replies.iter().all(|reply| reply[0] > 0);
    match verb {
        Verb::Take(..) if all => "taken",
        Verb::Take(..) => "denied",
        Verb::Give(_) => "given",
        Verb::Peek(_) => "peeked",
        Verb::Each(_) if all => "all taken",
        Verb::Each(_) | Verb::Again(_) => "none taken",
        Verb::Throttle(_) => "throttled",
        Verb::Hold(_) => "held",
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
