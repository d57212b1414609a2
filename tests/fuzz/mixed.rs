//! Calls on several limits of any kind: what each asks for, and what it may come to.
//!
//! Each limit is held to what it would do alone at some instant of the call, and the whole reply
//! to what its parts say.

use redis::Value;

use crate::check::{may_have_expired, Check, Moment};
use crate::holds::{HoldSpec, Seen};
use crate::lease_oracle;
use crate::oracle::{self, Limit, Mode, State, MAX_TOKENS, MILLI};
use crate::syntax::{integer, limit, Ask, Verb};
use crate::window::{self, Asked, WindowCall};
use crate::windows::{self, Named, Stored};
use crate::wire::{Content, Found};

const DAY_MS: u64 = 86_400_000;
/// The words that a limit begins with.
const LIMITS: [&[u8]; 4] = [b"BUCKET", b"WINDOW", b"LEASE", b"HOLD"];

/// A limit as a call names it.
#[derive(Debug)]
pub enum Spec {
    Bucket(Limit, Ask),
    Window(u64, Named, windows::Ask),
    Lease(Lease),
    /// A token that a settlement releases.
    Release(String),
    Hold(HoldSpec),
}

/// `LEASE limit ttl token [KEEP n] [ONCE]`.
#[derive(Debug)]
pub struct Lease {
    limit: i64,
    ttl: i64,
    token: String,
    keep: i64,
    once: bool,
}

#[derive(Debug)]
pub struct Part {
    pub key: Vec<u8>,
    pub spec: Spec,
}

/// A call as it was understood.
#[derive(Debug, Default)]
pub struct MixedCall {
    pub keys: Vec<Vec<u8>>,
    /// A limit for each key, or `None` if a word is wrong somewhere.
    pub parts: Option<Vec<Part>>,
    /// RL.SETTLE.
    pub settles: bool,
    /// The crate may, and need not, find a rate too long.
    may_be_too_long: bool,
}

/// The outcome of one limit of the call.
#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    Taken,
    Denied,
    Again,
}

/// `None`: not such a call.
pub fn parse(words: &[Vec<u8>]) -> Option<MixedCall> {
    let (name, arguments) = words.split_first()?;
    let settles = name.eq_ignore_ascii_case(b"RL.SETTLE");
    if !settles && !name.eq_ignore_ascii_case(b"RL.ALL") {
        return None;
    }
    let mut call = MixedCall {
        settles,
        ..MixedCall::default()
    };
    call.parts = call.read(arguments);
    Some(call)
}

type Rest<'a> = &'a [Vec<u8>];

impl MixedCall {
    fn read(&mut self, arguments: Rest) -> Option<Vec<Part>> {
        let (numkeys, rest) = arguments.split_first()?;
        // The servers read it, too, and know digits only.
        let digits = numkeys.iter().all(u8::is_ascii_digit);
        let count = integer(numkeys, 1, 128).filter(|_| digits)?;
        let (keys, mut words) = rest.split_at_checked(count as usize)?;
        self.keys = keys.to_vec();
        let mut parts: Vec<Part> = Vec::new();
        for key in keys {
            if parts.iter().any(|part| part.key == *key) {
                return None;
            }
            let (spec, rest) = self.spec(words)?;
            let key = key.clone();
            parts.push(Part { key, spec });
            words = rest;
        }
        // ONCE is on every lease or on none.
        let mut once = parts.iter().filter_map(Part::once);
        let first = once.next();
        let alike = once.all(|once| Some(once) == first);
        let of_holds = self.may_hold(&parts);
        (words.is_empty() && alike && of_holds).then_some(parts)
    }

    /// Returns whether the parts may have a HOLD, if they have one, or need none.
    fn may_hold(&self, parts: &[Part]) -> bool {
        let holds = parts.iter().filter(|part| part.is_hold()).count();
        if holds == 0 {
            return !self.settles;
        }
        let limits = parts.iter().filter(|part| part.cost().is_some());
        let names: Vec<_> = limits.map(|part| part.key.len()).collect();
        let is_once = parts.iter().any(|part| part.once() == Some(true));
        let fits = (1..=16).contains(&names.len()) && names.iter().sum::<usize>() <= 1024;
        holds == 1 && fits && !is_once
    }

    fn spec<'a>(&mut self, words: Rest<'a>) -> Option<(Spec, Rest<'a>)> {
        let (kind, words) = words.split_first()?;
        match kind.to_ascii_uppercase().as_slice() {
            b"BUCKET" => {
                let [rate, burst, options @ ..] = words else {
                    return None;
                };
                let limit = limit(rate, burst).ok()?;
                self.may_be_too_long |= !oracle::has_few_digits(rate);
                let (options, rest) = self.options(options)?;
                let ask = Ask {
                    cost: options.cost.unwrap_or(1),
                    keep: options.keep.unwrap_or(0),
                    mode: Mode::Whole,
                };
                Some((Spec::Bucket(limit, ask), rest))
            }
            b"WINDOW" => {
                let (limit, words) = words.split_first()?;
                let limit = integer(limit, 0, MAX_TOKENS)?;
                let (named, options) = window::window(words).ok()?;
                let (options, rest) = self.options(options)?;
                let ask = windows::Ask {
                    cost: options.cost.unwrap_or(1),
                    keep: options.keep.unwrap_or(0),
                    mode: windows::Mode::Whole,
                };
                Some((Spec::Window(limit, named, ask), rest))
            }
            b"LEASE" if self.settles => {
                let (token, rest) = words.split_first()?;
                let right = (1..=128).contains(&token.len()) && token != b"rl:leases";
                let rest = Options::none(rest)?;
                right.then(|| (Spec::Release(token.escape_ascii().to_string()), rest))
            }
            b"HOLD" => {
                let (ttl, words) = match self.settles {
                    true => (0, words),
                    false => {
                        let (ttl, words) = words.split_first()?;
                        let ttl = window::duration(ttl);
                        (ttl.filter(|ms| (1_000..=DAY_MS).contains(ms))?, words)
                    }
                };
                let (id, words) = words.split_first()?;
                let right = (1..=128).contains(&id.len()) && id != b"rl:holds";
                let (free, rest) = match words {
                    [word, other, rest @ ..]
                        if !self.settles && word.eq_ignore_ascii_case(b"ELSE") =>
                    {
                        let charge = other.eq_ignore_ascii_case(b"CHARGE");
                        if !charge && !other.eq_ignore_ascii_case(b"FREE") {
                            return None;
                        }
                        (!charge, rest)
                    }
                    _ => (true, words),
                };
                let rest = Options::none(rest)?;
                let (ttl, id) = (ttl as i64, id.clone());
                right.then_some((Spec::Hold(HoldSpec { ttl, id, free }), rest))
            }
            b"LEASE" => {
                let [limit, ttl, token, options @ ..] = words else {
                    return None;
                };
                let right = (1..=128).contains(&token.len()) && token != b"rl:leases";
                let ttl = window::duration(ttl).filter(|ms| (10..=30 * DAY_MS).contains(ms))?;
                let (options, rest) = Options::read(options, true)?;
                let lease = Lease {
                    limit: integer(limit, 0, 100_000)? as i64,
                    ttl: ttl as i64,
                    token: token.escape_ascii().to_string(),
                    keep: options.keep.unwrap_or(0) as i64,
                    once: options.once,
                };
                right.then_some((Spec::Lease(lease), rest))
            }
            _ => None,
        }
    }

    /// Parses the options of a bucket or a window.
    fn options<'a>(&self, words: Rest<'a>) -> Option<(Options, Rest<'a>)> {
        if !self.settles {
            return Options::read(words, false);
        }
        let [name, n, rest @ ..] = words else {
            return None;
        };
        let cost = integer(n, 0, MAX_TOKENS).filter(|_| name.eq_ignore_ascii_case(b"USED"))?;
        let options = Options {
            cost: Some(cost),
            ..Options::default()
        };
        Some((options, Options::none(rest)?))
    }

    /// Returns the call as one with a HOLD, if it has one.
    fn with_hold<'a>(&'a self, moment: &'a Moment) -> Option<Seen<'a>> {
        let parts = self.parts.as_deref()?;
        let has_hold = parts.iter().any(Part::is_hold);
        has_hold.then_some(Seen {
            call: self,
            parts,
            moment,
        })
    }

    /// Returns the kind of the reply, or why it is wrong.
    pub fn held<'a>(
        &self,
        reply: &Value,
        found: impl Fn(&[u8]) -> (&'a Found, &'a Found),
        moment: &Moment,
    ) -> Result<&'static str, String> {
        if let Value::ServerError(error) = reply {
            let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
            for key in &self.keys {
                let (before, after) = found(key);
                untouched(before, after, moment)?;
            }
            return self.may_fail(&text, |key| found(key).0, moment);
        }
        let parts = self.parts.as_ref().ok_or("a word is wrong")?;
        let (taken, wait, replies) = read(reply).ok_or("the reply has another shape")?;
        if replies.len() != parts.len() {
            return Err("not one reply for each limit".to_owned());
        }
        if let Some(seen) = self.with_hold(moment) {
            return seen.held((taken, wait, &replies), found);
        }
        let mut told = Err("some were charged and some not".to_owned());
        for way in self.ways(taken, &replies) {
            told = told.or_else(|_| self.held_as(way, (wait, &replies), &found, moment));
        }
        told
    }

    /// Checks that each limit did what this way of a call does.
    fn held_as<'a>(
        &self,
        way: Way,
        (wait, replies): (i64, &[[i64; 5]]),
        found: impl Fn(&[u8]) -> (&'a Found, &'a Found),
        moment: &Moment,
    ) -> Result<&'static str, String> {
        let parts = self.parts.as_deref().unwrap_or_default();
        for (part, reply) in parts.iter().zip(replies) {
            let (before, after) = found(&part.key);
            let held = part.held(reply, before, after, moment, way);
            match held {
                // A retry does not fail where the limit alone would.
                Err(_) if way == Way::Again && part.may_fail_alone(before) => {
                    untouched(before, after, moment)?;
                    if (reply[0], reply[3]) != (0, 0) || reply[2] > reply[1] {
                        return Err("a retry charges nothing".to_owned());
                    }
                }
                held => held?,
            }
        }
        let longest = match replies.iter().any(|reply| reply[3] == -1) {
            true => -1,
            false => replies.iter().map(|reply| reply[3]).max().unwrap_or(0),
        };
        if wait != longest {
            return Err(format!("the longest wait is {longest}"));
        }
        let made_before = way != Way::Denied && parts.iter().all(Part::says_once);
        let is_live = |part: &Part| part.is_live(found(&part.key).0, moment);
        match way {
            // A retry is recognised by the leases alone.
            Way::Again
                if !made_before || !parts.iter().all(|part| is_live(part) != Some(false)) =>
            {
                Err("it was not made before".to_owned())
            }
            Way::Taken if self.is_retry(|key| found(key).0, moment) => {
                Err("it was made before".to_owned())
            }
            Way::Again => Ok("all again"),
            Way::Taken => Ok("all charged"),
            Way::Denied => Ok("none charged"),
        }
    }

    /// Returns whether the call certainly is a retry that would otherwise be charged again.
    fn is_retry<'a>(&self, before: impl Fn(&[u8]) -> &'a Found, moment: &Moment) -> bool {
        let parts = self.parts.as_deref().unwrap_or_default();
        let (leases, others): (Vec<_>, Vec<_>) = parts
            .iter()
            .partition(|part| matches!(part.spec, Spec::Lease(_)));
        let held = |part: &&Part| {
            part.says_once() && part.is_live(before(&part.key), moment) == Some(true)
        };
        !leases.is_empty() && !others.is_empty() && leases.iter().all(held)
    }

    /// Returns what the call may have been by its replies. Where nothing has a cost, a retry looks
    /// like the first call.
    fn ways(&self, taken: i64, replies: &[[i64; 5]]) -> Vec<Way> {
        let parts = self.parts.as_deref().unwrap_or_default();
        let is_lease = |part: &Part| matches!(part.spec, Spec::Lease(_));
        let mut pairs = parts.iter().zip(replies);
        let passes = |(part, reply): (&Part, &[i64; 5])| match part.cost() {
            Some(0) => (reply[0], reply[3]) == (0, 0),
            _ => reply[0] > 0,
        };
        let renewed = |(part, reply): (&Part, &[i64; 5])| is_lease(part) == (reply[0] > 0);
        let all_pass = pairs.clone().all(passes);
        let mut ways = Vec::new();
        match taken {
            0 if !all_pass => ways.push(Way::Denied),
            1 if all_pass => ways.push(Way::Taken),
            _ => {}
        }
        if taken == 1 && parts.iter().any(is_lease) && pairs.all(renewed) {
            ways.push(Way::Again);
        }
        ways
    }

    fn may_fail<'a>(
        &self,
        text: &str,
        before: impl Fn(&[u8]) -> &'a Found,
        moment: &Moment,
    ) -> Result<&'static str, String> {
        let Some(parts) = &self.parts else {
            // The word that the error names is tested elsewhere.
            let told = text.starts_with("ERR ") && !text.contains(" holds ");
            return told
                .then_some("wrong call")
                .ok_or("must be told what is wrong".to_owned());
        };
        if self.may_be_too_long && text.starts_with("ERR rate must be") {
            return Ok("rate too long");
        }
        if self.is_retry(&before, moment) {
            return Err("a retry never fails".to_owned());
        }
        let seen = self.with_hold(moment);
        if let Some(told) = seen.and_then(|seen| seen.refuses(text, &before)) {
            return Ok(told);
        }
        let mut told = Err("must not fail".to_owned());
        for part in parts {
            told = told.or_else(|_| part.refuses(text, before(&part.key), moment));
        }
        told
    }
}

#[derive(Default)]
struct Options {
    cost: Option<u64>,
    keep: Option<u64>,
    once: bool,
}

impl Options {
    /// The next limit, or the end, must follow.
    fn none(words: Rest) -> Option<Rest> {
        let next = words.first().map(|word| word.to_ascii_uppercase());
        let is_next = next.is_none_or(|word| LIMITS.contains(&word.as_slice()));
        is_next.then_some(words)
    }

    /// Parses up to the next limit, or the end.
    fn read(mut words: Rest, of_lease: bool) -> Option<(Self, Rest)> {
        let mut options = Self::default();
        while let [name, rest @ ..] = words {
            let twice = match name.to_ascii_uppercase().as_slice() {
                name if LIMITS.contains(&name) => break,
                b"ONCE" if of_lease => {
                    words = rest;
                    std::mem::replace(&mut options.once, true)
                }
                name @ (b"COST" | b"KEEP") if name == b"KEEP" || !of_lease => {
                    let n = integer(rest.first()?, 0, MAX_TOKENS)?;
                    words = &rest[1..];
                    let slot = match name {
                        b"COST" => &mut options.cost,
                        _ => &mut options.keep,
                    };
                    slot.replace(n).is_some()
                }
                _ => return None,
            };
            if twice {
                return None;
            }
        }
        Some((options, words))
    }
}

impl Part {
    /// Returns whether a lease has ONCE.
    fn once(&self) -> Option<bool> {
        match &self.spec {
            Spec::Lease(lease) => Some(lease.once),
            _ => None,
        }
    }

    fn is_hold(&self) -> bool {
        matches!(self.spec, Spec::Hold(_))
    }

    /// Returns the cost, or what was used, of a bucket or a window.
    pub fn cost(&self) -> Option<u64> {
        match &self.spec {
            Spec::Bucket(_, ask) => Some(ask.cost),
            Spec::Window(_, _, ask) => Some(ask.cost),
            Spec::Lease(_) | Spec::Release(_) | Spec::Hold(_) => None,
        }
    }

    /// Returns whether the limit alone might have failed at an instant of the call, so that the
    /// oracle has no reply for that instant.
    fn may_fail_alone(&self, before: &Found) -> bool {
        match (&self.spec, &before.content) {
            (Spec::Lease(_), _) => false,
            // An end that is named a hundred years ahead is accepted from one millisecond on.
            (Spec::Window(_, Named::Until(_), _), _) => true,
            (_, Content::Nothing) => false,
            (Spec::Bucket(..), Content::Text(bytes)) => State::read(bytes).is_none(),
            (Spec::Window(_, named, _), Content::Text(bytes)) => match Stored::read(bytes) {
                Some(Stored::Sliding { .. }) => !matches!(named, Named::Sliding(_)),
                Some(Stored::Fixed { .. }) => matches!(named, Named::Sliding(_)),
                None => true,
            },
            _ => true,
        }
    }

    fn says_once(&self) -> bool {
        match &self.spec {
            Spec::Lease(lease) => lease.once,
            _ => true,
        }
    }

    /// Returns whether the token holds a lease, if that is certain.
    fn is_live(&self, before: &Found, moment: &Moment) -> Option<bool> {
        let Spec::Lease(lease) = &self.spec else {
            return Some(true);
        };
        let Content::Leases(ends) = &before.content else {
            return Some(false);
        };
        let (from, to) = ((moment.from / MILLI) as i64, (moment.to / MILLI) as i64);
        match ends.get(&lease.token) {
            Some(&end) if end > to && !may_have_expired(before, moment) => Some(true),
            Some(&end) if end >= from => None,
            _ => Some(false),
        }
    }

    /// Checks that the limit did what it would have done alone.
    fn held(
        &self,
        reply: &[i64; 5],
        before: &Found,
        after: &Found,
        moment: &Moment,
        way: Way,
    ) -> Result<(), String> {
        match &self.spec {
            Spec::Bucket(limit, ask) => {
                let verb = match way {
                    Way::Taken => Verb::Take(*ask),
                    Way::Denied => Verb::Each(*ask),
                    Way::Again => Verb::Again(*ask),
                };
                let check = Check {
                    verb,
                    limit,
                    reply,
                    moment,
                    expires: before.expires,
                    refunds: &[],
                };
                check.any_of(before, after)
            }
            Spec::Window(limit, named, ask) => {
                let asked = match way {
                    Way::Taken => Asked::Alone(windows::Call::Take(*ask)),
                    Way::Denied => Asked::Each(*ask),
                    Way::Again => Asked::Again(*ask),
                };
                let call = WindowCall::among(&self.key, *limit, *named, asked);
                call.replies(*reply, before, after, moment).map(drop)
            }
            Spec::Lease(lease) => lease.held(reply, before, after, moment, way),
            Spec::Release(_) | Spec::Hold(_) => Err("only with a HOLD".to_owned()),
        }
    }

    /// Returns the reason for the refusal, or that there is none.
    fn refuses(&self, text: &str, before: &Found, moment: &Moment) -> Result<&'static str, String> {
        let told = match (&self.spec, &before.content) {
            (Spec::Hold(_), _) => false,
            (_, Content::Nothing) | (Spec::Lease(_) | Spec::Release(_), Content::Leases(_)) => {
                false
            }
            (Spec::Window(limit, named, ask), Content::Text(_)) => {
                let call = WindowCall::among(&self.key, *limit, *named, Asked::Each(*ask));
                return call.refuses(text, before, moment);
            }
            (Spec::Bucket(..), Content::Text(bytes)) => {
                State::read(bytes).is_none() && text.contains(" holds ")
            }
            // Another's sorted set, or another type.
            (Spec::Lease(_) | Spec::Release(_), Content::Other(_)) => {
                text.contains(" holds ") || text.starts_with("WRONGTYPE ")
            }
            _ => text.starts_with("WRONGTYPE "),
        };
        let wrong_end = match &self.spec {
            Spec::Window(limit, named, ask) => {
                let call = WindowCall::among(&self.key, *limit, *named, Asked::Each(*ask));
                call.refuses(text, before, moment).ok()
            }
            _ => None,
        };
        let told = told.then_some("another kind").or(wrong_end);
        told.ok_or("must not fail".to_owned())
    }
}

impl Lease {
    pub fn held(
        &self,
        reply: &[i64; 5],
        before: &Found,
        after: &Found,
        moment: &Moment,
        way: Way,
    ) -> Result<(), String> {
        let comes_to = |model: &_, now| self.comes_to(model, now, way);
        Self::left(reply, before, after, moment, comes_to).map_err(|why| format!("{self:?} {why}"))
    }

    /// Checks the release of a token.
    pub fn released(
        token: &str,
        reply: &[i64; 5],
        before: &Found,
        after: &Found,
        moment: &Moment,
    ) -> Result<(), String> {
        let tokens = vec![token.to_owned()];
        let release = lease_oracle::Call::Release { tokens };
        let comes_to = |model: &lease_oracle::Model, now| {
            let outcome = model.outcome(&release, now);
            let left = lease_oracle::Model {
                ends: outcome.after,
            };
            ([outcome.says[0], 0, 0, 0, 0], left)
        };
        Self::left(reply, before, after, moment, comes_to)
    }

    /// Checks the reply and the leases that are left.
    fn left(
        reply: &[i64; 5],
        before: &Found,
        after: &Found,
        moment: &Moment,
        comes_to: impl Fn(&lease_oracle::Model, i64) -> ([i64; 5], lease_oracle::Model),
    ) -> Result<(), String> {
        let as_found = match &before.content {
            Content::Nothing => Some(lease_oracle::Model::default()),
            Content::Leases(ends) => Some(model(ends)),
            _ => None,
        };
        let gone = may_have_expired(before, moment).then(lease_oracle::Model::default);
        let left = match &after.content {
            Content::Nothing => lease_oracle::Model::default(),
            Content::Leases(ends) => model(ends),
            _ => return Err("no leases are left".to_owned()),
        };
        let (from, to) = ((moment.from / MILLI) as i64, (moment.to / MILLI) as i64);
        let mut expected = Vec::new();
        for model in as_found.iter().chain(&gone) {
            // Valkey's TIME may be microseconds ahead of the system's clock, and so a millisecond.
            for now in from..=to + 1 {
                let (says, ends) = comes_to(model, now);
                // The key itself may have expired right after.
                let vanished = gone.is_some() && after.content == Content::Nothing;
                // Whoever has ended may have been taken out or not.
                let kept = |of: &lease_oracle::Model, at: &lease_oracle::Model| {
                    let ended = |end: i64| end <= to + 1;
                    of.ends
                        .iter()
                        .all(|(token, &end)| ended(end) || at.ends.get(token) == Some(&end))
                };
                let fits = kept(&ends, &left) && kept(&left, &ends);
                if says == *reply && (fits || vanished) {
                    return Ok(());
                }
                expected.push(says);
            }
        }
        Err(format!("must say one of {expected:?}"))
    }

    /// Returns its reply and its new state at one time.
    fn comes_to(
        &self,
        model: &lease_oracle::Model,
        now: i64,
        way: Way,
    ) -> ([i64; 5], lease_oracle::Model) {
        let acquire = lease_oracle::Call::Acquire {
            limit: self.limit,
            keep: self.keep,
            ttl: self.ttl,
            token: self.token.clone(),
            nx: false,
        };
        let outcome = model.outcome(&acquire, now);
        let says: [i64; 5] = outcome.says.try_into().expect("five integers");
        if way == Way::Denied && says[0] == 1 {
            let limit = self.limit;
            let look = model.outcome(&lease_oracle::Call::Look { limit }, now).says;
            return ([1, limit, look[2], 0, look[4]], model.clone());
        }
        let ends = outcome.after;
        (says, lease_oracle::Model { ends })
    }
}

fn model(ends: &std::collections::BTreeMap<String, i64>) -> lease_oracle::Model {
    let ends = ends.clone();
    lease_oracle::Model { ends }
}

/// `[taken, wait_ms, [five integers for each limit]]`.
fn read(reply: &Value) -> Option<(i64, i64, Vec<[i64; 5]>)> {
    let Value::Array(items) = reply else {
        return None;
    };
    let [Value::Int(taken), Value::Int(wait), Value::Array(each)] = items.as_slice() else {
        return None;
    };
    let each = each.iter().map(window::integers).collect::<Option<_>>()?;
    Some((*taken, *wait, each))
}

/// An error leaves everything as it was; a key may have expired meanwhile.
pub fn untouched(before: &Found, after: &Found, moment: &Moment) -> Result<(), String> {
    let same = before == after;
    let expired = after.content == Content::Nothing && may_have_expired(before, moment);
    (same || expired)
        .then_some(())
        .ok_or("an error changed the key".to_owned())
}
