//! A model of windows, written from the contract: slow, with integers that cannot overflow. Waits
//! are searched for, not computed; usage is a list of takes with their times.
//!
//! Shares no line with the crate.

#![forbid(unsafe_code)]
#![allow(dead_code)] // Each suite that includes this uses its own part of it.

use std::collections::BTreeMap;

use super::calendar;

pub const MAX_TOKENS: u64 = 100_000_000_000;
pub const MAX_USED: i128 = 200_000_000_000;
pub const MILLI: u64 = 1_000_000;
/// 100 years of 365.25 days, in milliseconds.
pub const MAX_LENGTH: u64 = 36_525 * 86_400_000;

/// The last nanosecond that a clock knows: in 2554.
pub const LAST_DAY: u64 = u64::MAX;

/// The window that a call names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    For(u64),
    Calendar(calendar::Unit, i64),
    Until(u64),
    Sliding(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Whole,
    AtMost,
    Force,
}

#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub cost: u64,
    pub keep: u64,
    pub mode: Mode,
}

impl Ask {
    fn needed(&self) -> i128 {
        let least = if self.mode == Mode::AtMost {
            self.cost.min(1)
        } else {
            self.cost
        };
        i128::from(least) + i128::from(self.keep)
    }

    fn takes_nothing(&self) -> bool {
        self.cost == 0
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Call {
    Take(Ask),
    Look(Ask),
    /// An amount, and the millisecond at which it was taken.
    Give(u64, Option<u64>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    Kept,
    /// The string, and the millisecond at which it expires.
    Written(Vec<u8>, i64),
    Removed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// taken, limit, remaining, wait_ms, reset_ms
    pub reply: [i64; 5],
    pub after: After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// UNTIL has passed or is too far ahead.
    End,
    /// FORCE would use too much.
    Used,
    /// The key holds the other kind, or none.
    Held,
}

/// The content of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    Fixed {
        start: i64,
        end: i64,
        used: u64,
    },
    Sliding {
        length: u64,
        newest: u64,
        /// The usage of each sub-window, by its number; never negative.
        taken: BTreeMap<i128, i128>,
    },
}

impl Stored {
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let word = |n: usize| u64::from_le_bytes(bytes[1 + 8 * n..9 + 8 * n].try_into().unwrap());
        match (bytes.first()?, bytes.len()) {
            (0xF8, 25) => {
                let (start, end, used) = (word(0) as i64, word(1) as i64, word(2));
                (start < end && i128::from(used) <= MAX_USED).then_some(Self::Fixed {
                    start,
                    end,
                    used,
                })
            }
            (0xF9, 153) => {
                let (length, newest) = (word(0), word(1));
                let number = |n: usize| i128::from(newest) - n as i128;
                let taken = (0..17).map(|n| (number(n), i128::from(word(2 + n))));
                let taken: BTreeMap<_, _> = taken.collect();
                let fits =
                    (1..=MAX_LENGTH).contains(&length) && taken.values().sum::<i128>() <= MAX_USED;
                fits.then_some(Self::Sliding {
                    length,
                    newest,
                    taken,
                })
            }
            _ => None,
        }
    }

    /// Whether it counts as nothing at this millisecond.
    pub fn has_ended(&self, now: i128) -> bool {
        match self.clone() {
            Self::Fixed { end, .. } => i128::from(end) <= now,
            Self::Sliding {
                length,
                newest,
                taken,
            } => {
                let log = Log {
                    length: length.into(),
                    newest: newest.into(),
                    taken,
                };
                !log.lies_ahead(now) && log.used_at(now) == 0
            }
        }
    }

    /// Returns the usage at this millisecond.
    fn used_at(&self, now: i128) -> i128 {
        match self.clone() {
            Self::Fixed { used, .. } => used.into(),
            Self::Sliding {
                length,
                newest,
                taken,
            } => {
                let log = Log {
                    length: length.into(),
                    newest: newest.into(),
                    taken,
                };
                log.used_at(now)
            }
        }
    }

    /// Refunds at most `amount` of exactly the window or sub-window of the charge. A charge later
    /// than now counts as made now. Returns the change, and what is left.
    fn refund(self, now: i128, amount: u64, at: i64) -> (i64, Option<Self>) {
        match self {
            Self::Fixed { start, end, used } => {
                let given = if start <= at { amount.min(used) } else { 0 };
                let used = used - given;
                (-(given as i64), Some(Self::Fixed { start, end, used }))
            }
            Self::Sliding {
                length,
                newest,
                mut taken,
            } => {
                let number = |at: i128| at * 16 / i128::from(length);
                let latest = number(now).max(newest.into());
                taken.retain(|&n, _| n > latest - 17);
                let there = taken.entry(number(at.into()).min(latest)).or_default();
                let given = if at < 0 { 0 } else { amount.min(*there as u64) };
                *there -= i128::from(given);
                let newest = latest as u64;
                let left = Self::Sliding {
                    length,
                    newest,
                    taken,
                };
                (-(given as i64), Some(left))
            }
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Fixed { start, end, used } => {
                let words = [*start as u64, *end as u64, *used];
                let words = words.iter().flat_map(|word| word.to_le_bytes());
                std::iter::once(0xF8).chain(words).collect()
            }
            Self::Sliding {
                length,
                newest,
                taken,
            } => {
                let counter = |n| taken.get(&(i128::from(*newest) - n)).copied().unwrap_or(0);
                let counters = (0..17).map(|n| u64::try_from(counter(n)).unwrap());
                let words = [*length, *newest].into_iter().chain(counters);
                let bytes = words.flat_map(u64::to_le_bytes);
                std::iter::once(0xF9).chain(bytes).collect()
            }
        }
    }
}

/// Decides a call with a limit and a window.
pub fn decide(
    limit: u64,
    named: Named,
    stored: Option<&[u8]>,
    now: u64,
    call: Call,
) -> Result<Outcome, Refusal> {
    let now = i128::from(now / MILLI);
    let stored = match stored {
        Some(bytes) => Some(Stored::read(bytes).ok_or(Refusal::Held)?),
        None => None,
    };
    let stored = stored.filter(|stored| !stored.has_ended(now));
    match (named, stored) {
        (Named::Sliding(_), Some(Stored::Fixed { .. })) => Err(Refusal::Held),
        (Named::Sliding(length), stored) => sliding(limit, length, stored, now, call),
        (_, Some(Stored::Sliding { .. })) => Err(Refusal::Held),
        (named, Some(Stored::Fixed { start, end, used })) => {
            fixed(limit, named, Some((start, end, used)), now, call)
        }
        (named, None) => fixed(limit, named, None, now, call),
    }
}

/// Returns the amount taken; an error if FORCE exceeds the bound.
fn charged(limit: u64, used: i128, ask: Ask) -> Result<i128, Refusal> {
    let cost = i128::from(ask.cost);
    let left = i128::from(limit) - used - i128::from(ask.keep);
    match ask.mode {
        Mode::Force if used + cost > MAX_USED => Err(Refusal::Used),
        Mode::Force => Ok(cost),
        Mode::Whole => Ok(if cost <= left { cost } else { 0 }),
        Mode::AtMost => Ok(cost.min(left).max(0)),
    }
}

/// An amount that a hold has in a window, and the one that it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    pub held: u64,
    pub amount: u64,
    /// The time of the charge, in milliseconds.
    pub at: i64,
}

impl Hold {
    /// Refunds an overdue hold.
    pub fn free(held: u64, at: i64) -> Self {
        Self {
            held,
            amount: 0,
            at,
        }
    }
}

/// Decides by how much a window moves if it holds another amount from now on. The first number of
/// the reply is negative if it is refunded.
pub fn hold_instead(
    limit: u64,
    named: Named,
    stored: Option<&[u8]>,
    now: u64,
    hold: Hold,
) -> Result<Outcome, Refusal> {
    let millis = i128::from(now / MILLI);
    let has_passed = matches!(named, Named::Until(end) if i128::from(end) <= millis);
    let ask = |cost, mode| Ask {
        cost,
        keep: 0,
        mode,
    };
    // What stands now: a clock that stepped back may have moved it.
    let mut after = After::Kept;
    let mut stands = stored.map(<[u8]>::to_vec);
    if !has_passed {
        let look = Call::Look(ask(1, Mode::Whole));
        after = decide(limit, named, stored, now, look)?.after;
        if let After::Written(bytes, _) = &after {
            stands = Some(bytes.clone());
        }
    }
    let stands = match stands {
        Some(bytes) => Some(Stored::read(&bytes).ok_or(Refusal::Held)?),
        None => None,
    };
    let stands = stands.filter(|stored| !stored.has_ended(millis));
    if has_passed && matches!(stands, Some(Stored::Sliding { .. })) {
        return Err(Refusal::Held);
    }
    let used = stands
        .as_ref()
        .map_or(0, |stored| stored.used_at(millis))
        .unsigned_abs();
    let more = u128::from(hold.amount.saturating_sub(hold.held));
    let more = more.min(MAX_USED.unsigned_abs() - used) as u64;
    if more > 0 && !has_passed {
        let force = Call::Take(ask(more, Mode::Force));
        return decide(limit, named, stored, now, force);
    }
    let (moved, left) = match stands.clone() {
        Some(Stored::Fixed { start, end, used }) if more > 0 => {
            let used = used + more;
            (more as i64, Some(Stored::Fixed { start, end, used }))
        }
        Some(stored) => stored.refund(millis, hold.held.saturating_sub(hold.amount), hold.at),
        None => (0, None),
    };
    let left = left.filter(|stored| stored.used_at(millis) > 0);
    let used = left.as_ref().map_or(0, |stored| stored.used_at(millis));
    let reset = match &left {
        Some(Stored::Fixed { end, .. }) => i128::from(*end) - millis,
        Some(Stored::Sliding {
            length,
            newest,
            taken,
        }) => {
            let log = Log {
                length: (*length).into(),
                newest: (*newest).into(),
                taken: taken.clone(),
            };
            log.first_with(millis, 0) - millis
        }
        None => 0,
    };
    let reply = [
        moved,
        small(limit.into()),
        small((i128::from(limit) - used).max(0)),
        0,
        small(reset),
    ];
    let after = match (moved, left) {
        (0, _) => after,
        (_, None) => After::Removed,
        (_, Some(stored)) => After::Written(stored.bytes(), small(millis + reset)),
    };
    Ok(Outcome { reply, after })
}

fn small(n: i128) -> i64 {
    i64::try_from(n).expect("a number of a reply")
}

/// By how many milliseconds AT may be too early for a window of this length.
fn tolerance(length: i128) -> i128 {
    (length / 16).min(1_000)
}

fn fixed(
    limit: u64,
    named: Named,
    stored: Option<(i64, i64, u64)>,
    now: i128,
    call: Call,
) -> Result<Outcome, Refusal> {
    let bad_end = matches!(named, Named::Until(end)
        if i128::from(end) <= now || i128::from(end) > now + i128::from(MAX_LENGTH));
    if bad_end && !matches!(call, Call::Give(..)) {
        return Err(Refusal::End);
    }
    let opened = || match named {
        Named::For(length) => (now, now + i128::from(length)),
        Named::Until(end) => (now, i128::from(end)),
        Named::Calendar(unit, offset) => {
            let (start, end) = calendar::window(unit, offset, small(now));
            (start.into(), end.into())
        }
        Named::Sliding(_) => unreachable!("not a fixed window"),
    };
    let mut moved = false;
    let ((start, end), used) = match stored {
        Some((start, end, used)) if i128::from(end) > now => {
            let (start, end, used) = (i128::from(start), i128::from(end), i128::from(used));
            let in_force = start - now <= end - start;
            if in_force || bad_end {
                ((start, end), used)
            } else {
                moved = used > 0;
                (opened(), used)
            }
        }
        _ => (opened(), 0),
    };

    let outcome = |taken: i128, used_after: i128, wait: i128| Outcome {
        reply: [
            small(taken),
            small(limit.into()),
            small((i128::from(limit) - used_after).max(0)),
            small(wait),
            small(if used_after > 0 { end - now } else { 0 }),
        ],
        after: if used_after == used && !moved {
            After::Kept
        } else if used_after == 0 {
            After::Removed
        } else {
            let (start, end) = (small(start), small(end));
            let used = u64::try_from(used_after).unwrap();
            After::Written(Stored::Fixed { start, end, used }.bytes(), end)
        },
    };
    let wait = |ask: Ask| match ask.needed() > limit.into() {
        true => -1,
        false => end - now,
    };
    let passes = |ask: Ask| used + ask.needed() <= limit.into();
    let untouched = || Outcome {
        after: After::Kept,
        ..outcome(0, used, 0)
    };
    Ok(match call {
        Call::Take(ask) if ask.takes_nothing() && (passes(ask) || ask.mode == Mode::Force) => {
            untouched()
        }
        Call::Look(ask) if ask.takes_nothing() && passes(ask) => untouched(),
        Call::Take(ask) => match charged(limit, used, ask)? {
            0 => outcome(0, used, wait(ask)),
            taken => outcome(taken, used + taken, 0),
        },
        Call::Look(ask) => {
            if passes(ask) {
                outcome(ask.cost.into(), used, 0)
            } else {
                outcome(0, used, wait(ask))
            }
        }
        Call::Give(tokens, at) => {
            let tolerance = tolerance(end - start);
            let exact = matches!(named, Named::Calendar(..));
            let in_it = at.is_none_or(|at| {
                let at = i128::from(at).min(now);
                at >= start
                    || !exact && at >= start - tolerance
                    || start > now && at >= now - tolerance
            });
            let given = match in_it && !bad_end {
                true => i128::from(tokens).min(used),
                false => 0,
            };
            match tokens {
                0 => untouched(),
                _ => outcome(given, used - given, 0),
            }
        }
    })
}

/// The usage of each sub-window of a length, and the newest of these.
#[derive(Clone, PartialEq, Eq)]
struct Log {
    length: i128,
    newest: i128,
    taken: BTreeMap<i128, i128>,
}

impl Log {
    /// Whether its newest sub-window begins later than now by more than its length.
    fn lies_ahead(&self, now: i128) -> bool {
        // Ceiling.
        let begins = (self.newest * self.length + 15) / 16;
        begins > now && begins - now > self.length
    }

    fn number(&self, instant: i128) -> i128 {
        16 * instant / self.length
    }

    /// Returns the sub-window of a take at that time.
    fn newest_at(&self, instant: i128) -> i128 {
        self.number(instant).max(self.newest)
    }

    /// Returns the usage at a time.
    fn used_at(&self, instant: i128) -> i128 {
        let counted = self.newest_at(instant) - 16;
        self.taken.range(counted..).map(|(_, n)| n).sum()
    }

    /// Returns the first millisecond from `now` on at which at most `most` units count.
    fn first_with(&self, now: i128, most: i128) -> i128 {
        let (mut low, mut high) = (now, now + 4 * self.length + 4);
        assert!(self.used_at(high) <= most);
        while low < high {
            let middle = (low + high) / 2;
            if self.used_at(middle) <= most {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    fn used_now(length: i128, now: i128, used: i128) -> Self {
        let newest = 16 * now / length;
        Self {
            length,
            newest,
            taken: BTreeMap::from([(newest, used)]),
        }
    }

    fn written(&self, now: i128) -> After {
        let newest = self.newest_at(now);
        let stored = Stored::Sliding {
            length: u64::try_from(self.length).unwrap(),
            newest: u64::try_from(newest).unwrap(),
            taken: self.taken.clone(),
        };
        After::Written(stored.bytes(), small(self.first_with(now, 0)))
    }
}

fn sliding(
    limit: u64,
    length: u64,
    stored: Option<Stored>,
    now: i128,
    call: Call,
) -> Result<Outcome, Refusal> {
    let length = i128::from(length);
    let mut moved = false;
    let own = match stored {
        Some(Stored::Sliding {
            length,
            newest,
            taken,
        }) => {
            let newest = i128::from(newest);
            let length = i128::from(length);
            let log = Log {
                length,
                newest,
                taken,
            };
            if log.lies_ahead(now) {
                let used = log.taken.values().sum();
                moved = used > 0;
                Log::used_now(length, now, used)
            } else {
                log
            }
        }
        _ => Log::used_now(length, now, 0),
    };
    let used = own.used_at(now);
    let reply = |taken: i128, log: &Log, wait: i128| {
        let used = log.used_at(now);
        let reset = log.first_with(now, 0) - now;
        [
            small(taken),
            small(limit.into()),
            small((i128::from(limit) - used).max(0)),
            small(wait),
            small(reset),
        ]
    };
    let wait = |ask: Ask, log: &Log| match i128::from(limit) - ask.needed() {
        room if room < 0 => -1,
        room => log.first_with(now, room) - now,
    };
    let kept = |log: &Log| match moved {
        true => log.written(now),
        false => After::Kept,
    };
    let passes = |ask: Ask| used + ask.needed() <= limit.into();
    let untouched = |own: &Log| Outcome {
        reply: reply(0, own, 0),
        after: After::Kept,
    };
    Ok(match call {
        Call::Take(ask) if ask.takes_nothing() && (passes(ask) || ask.mode == Mode::Force) => {
            untouched(&own)
        }
        Call::Look(ask) if ask.takes_nothing() && passes(ask) => untouched(&own),
        Call::Take(ask) => match charged(limit, used, ask)? {
            0 => Outcome {
                reply: reply(0, &own, wait(ask, &own)),
                after: kept(&own),
            },
            taken => {
                // With another length all usage counts as used now.
                let mut log = match own.length == length {
                    true => own,
                    false => Log::used_now(length, now, used),
                };
                *log.taken.entry(log.newest_at(now)).or_default() += taken;
                Outcome {
                    reply: reply(taken, &log, 0),
                    after: log.written(now),
                }
            }
        },
        Call::Look(ask) => Outcome {
            reply: match passes(ask) {
                true => reply(ask.cost.into(), &own, 0),
                false => reply(0, &own, wait(ask, &own)),
            },
            after: kept(&own),
        },
        Call::Give(tokens, at) => {
            let mut log = own.clone();
            let counted = log.newest_at(now) - 16;
            let of = at.map(|at| {
                let at = i128::from(at).min(now);
                let stepped_back = log.newest > log.number(now);
                match stepped_back && at >= now - tolerance(log.length) {
                    true => log.newest..log.newest + 1,
                    false => log.number(at)..log.number(at) + 2,
                }
            });
            let mut left = i128::from(tokens);
            for (_, n) in log.taken.range_mut(counted..).filter(|(number, _)| {
                // Nothing comes back of a time that has left the window.
                of.as_ref()
                    .is_none_or(|of| of.start >= counted && of.contains(*number))
            }) {
                let given = left.min(*n);
                *n -= given;
                left -= given;
            }
            let given = i128::from(tokens) - left;
            Outcome {
                reply: reply(given, &log, 0),
                after: match given {
                    0 if tokens == 0 => After::Kept,
                    0 => kept(&own),
                    _ if log.used_at(now) == 0 => After::Removed,
                    _ => log.written(now),
                },
            }
        }
    })
}
