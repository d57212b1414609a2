//! Calls on windows: what one asks for, or all that is wrong with it, and what it may come to.

use std::cell::RefCell;

use redis::Value;

use crate::calendar::Unit;
use crate::check::{may_have_expired, Moment, NOTHING};
use crate::oracle::{self, State, MAX_TOKENS, MILLI};
use crate::syntax::{integer, remembered, Known};
use crate::windows::{
    decide, hold_instead, After, Ask, Call, Hold, Mode, Named, Outcome, Refusal, Stored, MAX_LENGTH,
};
use crate::wire::{Content, Found};

const USAGE: &str = "ERR usage: ";
const SYNTAX: &str = "ERR syntax error";
const WINDOW: &str = "ERR window must be";

/// A call as it was understood.
pub struct WindowCall {
    pub key: Vec<u8>,
    /// The limit and the window, if they are right, and what is asked of them.
    asked: Option<(u64, Named, Asked)>,
    /// Overdue holds that are refunded before: amounts, each with its time.
    pub refunds: Vec<(u64, i64)>,
    /// The possible beginnings of the error; empty if the words are valid.
    wrong: Vec<&'static str>,
}

/// The request on a window: alone, or as one of several limits.
#[derive(Clone, Copy)]
pub enum Asked {
    Alone(Call),
    /// Another limit denies.
    Each(Ask),
    /// The call was made before.
    Again(Ask),
    /// Holds another amount.
    Hold(Hold),
}

impl Asked {
    /// Decides it.
    fn decide(
        self,
        limit: u64,
        named: Named,
        stored: Option<&[u8]>,
        now: u64,
    ) -> Result<Outcome, Refusal> {
        match self {
            Self::Alone(call) => decide(limit, named, stored, now, call),
            Self::Each(ask) | Self::Again(ask) => {
                decide(limit, named, stored, now, Call::Look(ask))
            }
            Self::Hold(hold) => hold_instead(limit, named, stored, now, hold),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Verb {
    Take,
    Peek,
    Give,
}

/// `None`: not a call on a window.
pub fn parse(words: &[Vec<u8>]) -> Option<WindowCall> {
    let (name, arguments) = words.split_first()?;
    let verb = match name.to_ascii_uppercase().as_slice() {
        b"RL.WTAKE" => Verb::Take,
        b"RL.WPEEK" => Verb::Peek,
        b"RL.WGIVE" => Verb::Give,
        _ => return None,
    };
    let mut call = WindowCall {
        key: arguments.first().cloned().unwrap_or_default(),
        asked: None,
        refunds: Vec::new(),
        wrong: Vec::new(),
    };
    match arguments {
        [_, limit, window @ ..] if !window.is_empty() => call.read(verb, limit, window),
        _ => call.wrong.push(USAGE),
    }
    Some(call)
}

type Rest<'a> = &'a [Vec<u8>];

impl WindowCall {
    /// Creates one of several limits.
    pub fn among(key: &[u8], limit: u64, named: Named, asked: Asked) -> Self {
        Self {
            key: key.to_vec(),
            asked: Some((limit, named, asked)),
            refunds: Vec::new(),
            wrong: Vec::new(),
        }
    }

    fn read(&mut self, verb: Verb, limit: &[u8], words: Rest) {
        let limit = integer(limit, 0, MAX_TOKENS);
        if limit.is_none() {
            self.wrong.push("ERR limit must be");
        }
        // The options of an invalid window cannot be located.
        let (named, options) = match window(words) {
            Ok(found) => found,
            Err(wrong) => return self.wrong.push(wrong),
        };
        let call = self.options(verb, options);
        self.asked = limit.map(|limit| (limit, named, Asked::Alone(call)));
    }

    fn options(&mut self, verb: Verb, mut options: Rest) -> Call {
        let (mut cost, mut keep, mut mode, mut at) = (None, None, None, None);
        while let [name, rest @ ..] = options {
            let name = name.to_ascii_uppercase();
            let (slot, wrong, low, high) = match (name.as_slice(), verb) {
                (b"COST", _) => (&mut cost, "ERR COST must be", 0, MAX_TOKENS),
                (b"KEEP", Verb::Take) => (&mut keep, "ERR KEEP must be", 0, MAX_TOKENS),
                (b"AT", Verb::Give) => (
                    &mut at,
                    "ERR AT must be",
                    100_000_000_000,
                    100_000_000_000_000,
                ),
                (b"ATMOST" | b"FORCE", Verb::Take) => {
                    let asked = match name.as_slice() {
                        b"FORCE" => Mode::Force,
                        _ => Mode::AtMost,
                    };
                    if mode.replace(asked).is_some() {
                        return self.syntax();
                    }
                    options = rest;
                    continue;
                }
                _ => return self.syntax(),
            };
            let Some(value) = rest.first() else {
                return self.syntax();
            };
            let n = integer(value, low, high);
            if n.is_none() {
                self.wrong.push(wrong);
            }
            if slot.replace(n.unwrap_or(1)).is_some() {
                return self.syntax();
            }
            options = &rest[1..];
        }
        if keep.is_some() && mode == Some(Mode::Force) {
            self.wrong.push(SYNTAX);
        }
        let ask = Ask {
            cost: cost.unwrap_or(1),
            keep: keep.unwrap_or(0),
            mode: mode.unwrap_or(Mode::Whole),
        };
        match verb {
            Verb::Take => Call::Take(ask),
            Verb::Peek => Call::Look(ask),
            Verb::Give => Call::Give(ask.cost, at),
        }
    }

    fn syntax(&mut self) -> Call {
        self.wrong.push(SYNTAX);
        Call::Give(1, None)
    }

    /// Returns the kind of the reply, or why it is wrong.
    pub fn held(
        &self,
        reply: &Value,
        before: &Found,
        after: &Found,
        moment: &Moment,
    ) -> Result<&'static str, String> {
        if let Value::ServerError(error) = reply {
            let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
            if self.wrong.iter().any(|wrong| text.starts_with(wrong)) {
                return Ok("wrong call");
            }
            return self.refuses(&text, before, moment);
        }
        if !self.wrong.is_empty() {
            return Err(format!("must fail with one of {:?}", self.wrong));
        }
        let reply = integers(reply).ok_or("the reply has another shape")?;
        self.replies(reply, before, after, moment)
    }

    /// Returns the kind of the refusal, or why it is wrong.
    pub fn refuses(
        &self,
        text: &str,
        before: &Found,
        moment: &Moment,
    ) -> Result<&'static str, String> {
        self.one_of(before, moment, |content, now| {
            self.refused(content, now, text)
        })
    }

    /// Returns the kind of the reply, or why it is wrong.
    pub fn replies(
        &self,
        reply: [i64; 5],
        before: &Found,
        after: &Found,
        moment: &Moment,
    ) -> Result<&'static str, String> {
        self.one_of(before, moment, |content, now| {
            let outcome = self.outcome(content, now)?;
            let is_left = is_left(&outcome, content, before, after, moment);
            let held = outcome.reply == reply && is_left;
            held.then(|| self.kind(&outcome, before))
                .ok_or_else(|| format!("expected {outcome:?}"))
        })
    }

    /// Returns whether it holds in any millisecond of the call, for the content found or, if that
    /// may have expired, for none.
    fn one_of<T>(
        &self,
        before: &Found,
        moment: &Moment,
        held: impl Fn(&Content, u64) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut told = Err("no moment".to_owned());
        for ms in moment.from / MILLI..=moment.to / MILLI {
            told = told.or_else(|_| held(&before.content, ms * MILLI));
            if may_have_expired(before, moment) {
                told = told.or_else(|_| held(&NOTHING.content, ms * MILLI));
            }
            if told.is_ok() {
                break;
            }
        }
        told
    }

    /// Returns the oracle's outcome.
    fn outcome(&self, content: &Content, now: u64) -> Result<Outcome, String> {
        let (limit, named, asked) = self.asked.ok_or("must fail")?;
        let stored = match content {
            Content::Nothing => None,
            Content::Text(bytes) => Some(bytes.as_slice()),
            _ => return Err("must fail: another type".to_owned()),
        };
        let refusal = |refusal| format!("must fail: {refusal:?}");
        let mut stored = stored.map(<[u8]>::to_vec);
        let mut refunded = After::Kept;
        for &(held, at) in &self.refunds {
            let hold = Hold::free(held, at);
            let outcome = hold_instead(limit, named, stored.as_deref(), now, hold);
            match outcome.map_err(refusal)?.after {
                After::Kept => continue,
                After::Removed => (stored, refunded) = (None, After::Removed),
                After::Written(bytes, at) => {
                    stored = Some(bytes.clone());
                    refunded = After::Written(bytes, at);
                }
            }
        }
        let stored = stored.as_deref();
        let decide = |asked: Asked| {
            let outcome = asked.decide(limit, named, stored, now);
            outcome.map_err(refusal)
        };
        let after_refunds = |outcome: Outcome| match outcome.after {
            After::Kept => Outcome {
                after: refunded.clone(),
                ..outcome
            },
            _ => outcome,
        };
        // A limit that alone would be denied is denied in the same way.
        if let Asked::Each(ask) = asked {
            let alone = decide(Asked::Alone(Call::Take(ask)))?;
            if alone.reply[0] == 0 {
                return Ok(after_refunds(alone));
            }
        }
        let mut outcome = decide(asked)?;
        if let Asked::Again(_) = asked {
            (outcome.reply[0], outcome.reply[3]) = (0, 0);
        }
        // A command that only reads writes nothing, also where the clock stepped back.
        if matches!(asked, Asked::Alone(Call::Look(_)) | Asked::Again(_)) {
            outcome.after = After::Kept;
        }
        Ok(after_refunds(outcome))
    }

    fn refused(&self, content: &Content, now: u64, text: &str) -> Result<&'static str, String> {
        let (limit, named, asked) = self.asked.ok_or("another error")?;
        let stored = match content {
            Content::Nothing => None,
            Content::Text(bytes) => Some(bytes.as_slice()),
            _ if text.starts_with("WRONGTYPE ") => return Ok("wrong type"),
            _ => return Err("must be WRONGTYPE".to_owned()),
        };
        let (expected, kind) = match asked.decide(limit, named, stored, now) {
            Ok(outcome) => return Err(format!("must not fail: {outcome:?}")),
            Err(Refusal::End) => ("ERR UNTIL must be later".to_owned(), "wrong end"),
            Err(Refusal::Used) => ("ERR COST would raise".to_owned(), "too much used"),
            Err(Refusal::Held) => {
                let held = name_of(stored.unwrap_or_default());
                let wanted = match named {
                    Named::Sliding(_) => "a sliding window",
                    _ => "a fixed window",
                };
                let shown = &self.key[..self.key.len().min(64)];
                let cut = if shown.len() < self.key.len() {
                    "..."
                } else {
                    ""
                };
                let key = format!("{}{cut}", shown.escape_ascii());
                (
                    format!("ERR key '{key}' holds {held}, not {wanted}"),
                    "another kind",
                )
            }
        };
        let told = text.starts_with(&expected).then_some(kind);
        told.ok_or(format!("must be {expected}"))
    }

    fn kind(&self, outcome: &Outcome, before: &Found) -> &'static str {
        let call = match self.asked {
            Some((_, _, Asked::Alone(call))) => Some(call),
            _ => None,
        };
        match call {
            Some(Call::Take(_)) if converts(outcome, before) => "window converted",
            Some(Call::Take(_)) if outcome.reply[0] > 0 => "window taken",
            Some(Call::Take(_)) => "window denied",
            Some(Call::Give(..)) if outcome.reply[0] > 0 => "window given",
            Some(Call::Give(..)) => "window given nothing",
            _ => "window peeked",
        }
    }
}

/// Returns whether that is the oracle's new state; it may have expired before it was read.
fn is_left(
    outcome: &Outcome,
    content: &Content,
    before: &Found,
    after: &Found,
    moment: &Moment,
) -> bool {
    let gone = after.content == Content::Nothing;
    match &outcome.after {
        After::Kept if *content == Content::Nothing => gone,
        After::Kept => after == before || gone && may_have_expired(before, moment),
        After::Removed => gone,
        After::Written(bytes, at) => {
            let written = Found {
                content: Content::Text(bytes.clone()),
                expires: Some(*at),
            };
            *after == written || gone && may_have_expired(&written, moment)
        }
    }
}

/// Returns the name of a string in errors.
fn name_of(bytes: &[u8]) -> &'static str {
    match (State::read(bytes), Stored::read(bytes)) {
        (Some(_), _) => "a rate-limit bucket",
        (_, Some(Stored::Fixed { .. })) => "a fixed window",
        (_, Some(Stored::Sliding { .. })) => "a sliding window",
        _ => "another string",
    }
}

/// Parses the window at the beginning of the words, or returns the beginning of the error.
pub fn window(words: Rest) -> Result<(Named, Rest), &'static str> {
    let (word, rest) = words.split_first().ok_or(USAGE)?;
    if word.first().is_some_and(u8::is_ascii_digit) {
        return Ok((Named::For(duration(word).ok_or(WINDOW)?), rest));
    }
    let unit = match word.to_ascii_uppercase().as_slice() {
        b"SLIDING" => {
            let (length, rest) = rest.split_first().ok_or(SYNTAX)?;
            return Ok((Named::Sliding(duration(length).ok_or(WINDOW)?), rest));
        }
        b"UNTIL" => {
            let (end, rest) = rest.split_first().ok_or(SYNTAX)?;
            let end = integer(end, 0, i64::MAX as u64).ok_or("ERR UNTIL must be")?;
            return Ok((Named::Until(end), rest));
        }
        b"HOUR" => Unit::Hour,
        b"DAY" => Unit::Day,
        b"WEEK" => Unit::Week(1),
        b"MONTH" => Unit::Month(1),
        b"YEAR" => Unit::Year,
        _ => return Err(WINDOW),
    };
    calendar(unit, rest)
}

fn calendar(mut unit: Unit, mut words: Rest) -> Result<(Named, Rest), &'static str> {
    let (mut offset, mut anchor) = (None, None);
    while let [word, rest @ ..] = words {
        let word = word.to_ascii_uppercase();
        if word != b"OFFSET" && word != b"ANCHOR" {
            break;
        }
        let (value, rest) = rest.split_first().ok_or(SYNTAX)?;
        words = rest;
        let repeated = if word == b"OFFSET" {
            offset
                .replace(minutes(value).ok_or("ERR OFFSET must be")?)
                .is_some()
        } else {
            let day = |high| integer(value, 1, high).map(|day| day as u32);
            unit = match unit {
                Unit::Week(_) => Unit::Week(day(7).ok_or("ERR ANCHOR of a WEEK")?),
                Unit::Month(_) => Unit::Month(day(31).ok_or("ERR ANCHOR of a MONTH")?),
                _ => return Err("ERR ANCHOR goes with"),
            };
            anchor.replace(unit).is_some()
        };
        if repeated {
            return Err(SYNTAX);
        }
    }
    Ok((Named::Calendar(unit, offset.unwrap_or(0)), words))
}

/// Minutes east of UTC.
fn minutes(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let two = |text: &str, below| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|n| digits && *n < below)
    };
    let east = 60 * two(hours, 24)? + two(minutes, 60)?;
    match &text[..1] {
        "+" => Some(east),
        "-" => Some(-east),
        _ => None,
    }
}

/// Parses the period of a rate, in milliseconds.
pub fn duration(text: &[u8]) -> Option<u64> {
    thread_local! {
        static DURATIONS: Known<Option<u64>> = RefCell::default();
    }
    remembered(&DURATIONS, text, || {
        let counted = text.first().is_some_and(u8::is_ascii_digit);
        let (_, nanos) = oracle::parse_rate(&[b"1/", text].concat()).filter(|_| counted)?;
        Some(nanos / MILLI).filter(|&ms| ms <= MAX_LENGTH)
    })
}

pub fn integers(reply: &Value) -> Option<[i64; 5]> {
    let Value::Array(items) = reply else {
        return None;
    };
    let integers: Option<Vec<i64>> = items
        .iter()
        .map(|item| match item {
            Value::Int(n) => Some(*n),
            _ => None,
        })
        .collect();
    integers?.try_into().ok()
}

/// Returns whether a sliding window changed its length.
fn converts(outcome: &Outcome, before: &Found) -> bool {
    let (Content::Text(before), After::Written(after, _)) = (&before.content, &outcome.after)
    else {
        return false;
    };
    let length = |bytes: &[u8]| match Stored::read(bytes) {
        Some(Stored::Sliding { length, .. }) => Some(length),
        _ => None,
    };
    length(before) != length(after)
}
