//! Parses a call into its request or into all its errors, any of which the server may report.

use std::cell::RefCell;
use std::collections::HashMap;
use std::thread::LocalKey;

use num_rational::BigRational;

use crate::oracle::{self, Limit, Mode, Refusal, MAX_TOKENS, SECOND};
use crate::windows::Hold;

/// The action on one bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verb {
    Take(Ask),
    Give(u64),
    Peek(u64),
    /// One of several limits, denied by another.
    Each(Ask),
    /// One of several limits of a retry.
    Again(Ask),
    Throttle(u64),
    /// Holds another amount.
    Hold(Hold),
}

/// A cost with a reserve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ask {
    pub cost: u64,
    pub keep: u64,
    pub mode: Mode,
}

impl Ask {
    /// Requests all or none.
    pub fn whole(cost: u64) -> Self {
        Self {
            cost,
            keep: 0,
            mode: Mode::Whole,
        }
    }
}

#[derive(Debug)]
pub struct Part {
    pub key: Vec<u8>,
    pub verb: Verb,
    /// `None` where the limit is wrong.
    pub limit: Option<Limit>,
}

/// A call as it was understood.
#[derive(Debug, Default)]
pub struct Call {
    pub parts: Vec<Part>,
    /// The possible beginnings of the error; empty if the words are valid.
    pub wrong: Vec<&'static str>,
    /// The crate may, and need not, find a rate too long.
    pub may_be_too_long: bool,
}

const USAGE: &str = "ERR usage: ";
const SYNTAX: &str = "ERR syntax error";

/// Parses a call; `None` if the model does not know its reply.
pub fn parse(words: &[Vec<u8>]) -> Option<Call> {
    let (name, arguments) = words.split_first()?;
    let mut call = Call::default();
    match name.to_ascii_uppercase().as_slice() {
        b"RL.TAKE" => call.one(arguments, |call, options| {
            Verb::Take(call.options(options, true))
        }),
        b"RL.GIVE" => call.one(arguments, |call, options| {
            Verb::Give(call.options(options, false).cost)
        }),
        b"RL.PEEK" => call.one(arguments, |call, options| {
            Verb::Peek(call.options(options, false).cost)
        }),
        b"RL.MTAKE" => call.several(arguments),
        b"CL.THROTTLE" => call.throttle(arguments),
        _ => return None,
    }
    Some(call)
}

/// Parses an integer in a range.
pub fn integer(text: &[u8], low: u64, high: u64) -> Option<u64> {
    let digits = (1..=18).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    let n = match std::str::from_utf8(text) {
        Ok(text) if digits => text.parse().ok()?,
        _ => u64::try_from(oracle::parse_whole(text)?).ok()?,
    };
    (low..=high).contains(&n).then_some(n)
}

/// A cache of parsed words: exact fractions take most of the time.
pub type Known<T> = RefCell<HashMap<Vec<u8>, T>>;

thread_local! {
    static LIMITS: Known<Result<Limit, Refusal>> = RefCell::default();
}

/// Returns the parsed words, from the cache if possible.
pub fn remembered<T: Clone>(
    known: &'static LocalKey<Known<T>>,
    words: &[u8],
    read: impl FnOnce() -> T,
) -> T {
    const MANY: usize = 100_000;
    known.with_borrow_mut(|known| {
        if known.len() >= MANY {
            known.clear();
        }
        if !known.contains_key(words) {
            known.insert(words.to_vec(), read());
        }
        known[words].clone()
    })
}

/// Parses a rate and a burst with the oracle.
pub fn limit(rate: &[u8], burst: &[u8]) -> Result<Limit, Refusal> {
    // No number has a zero byte in it.
    remembered(&LIMITS, &[rate, burst].join(&0), || {
        Limit::parse(rate, burst)
    })
}

impl Call {
    fn one(&mut self, arguments: &[Vec<u8>], verb: impl Fn(&mut Self, &[Vec<u8>]) -> Verb) {
        let [key, rate, burst, options @ ..] = arguments else {
            return self.wrong.push(USAGE);
        };
        let limit = self.limit(rate, burst);
        let is_rate = |text| !matches!(self::limit(text, b"1"), Err(Refusal::Rate));
        if integer(burst, 0, MAX_TOKENS).is_none() && is_rate(key) {
            self.wrong.push("ERR the key comes first");
        }
        let verb = verb(self, options);
        let key = key.clone();
        self.parts.push(Part { key, verb, limit });
    }

    fn limit(&mut self, rate: &[u8], burst: &[u8]) -> Option<Limit> {
        let is_burst = integer(burst, 0, MAX_TOKENS).is_some();
        let refused = match limit(rate, burst) {
            Ok(limit) => {
                self.may_be_too_long |= !oracle::has_few_digits(rate);
                return Some(limit);
            }
            Err(refused) => refused,
        };
        match refused {
            Refusal::Rate => self.wrong.push("ERR rate must be"),
            Refusal::Slow => self
                .wrong
                .extend(["ERR rate and burst", "ERR rate must be"]),
            // The rate was not checked in this case.
            Refusal::Burst => self.wrong.push("ERR rate must be"),
        }
        if !is_burst {
            self.wrong.push("ERR burst must be");
        }
        None
    }

    /// Parses the request, with or without the options of RL.TAKE.
    fn options(&mut self, mut options: &[Vec<u8>], modes: bool) -> Ask {
        let (mut cost, mut keep, mut mode) = (None, None, None);
        while let Some((name, rest)) = options.split_first() {
            options = rest;
            let name = name.to_ascii_uppercase();
            let valued = matches!(name.as_slice(), b"COST" | b"KEEP" | b"MAXWAIT");
            let value = rest.first();
            let found = match (name.as_slice(), value) {
                (b"COST", Some(value)) => {
                    let n = integer(value, 0, MAX_TOKENS);
                    if n.is_none() {
                        self.wrong.push("ERR COST must be");
                    }
                    cost.replace(n.unwrap_or(1)).is_none()
                }
                (b"KEEP", Some(value)) if modes => {
                    let n = integer(value, 0, MAX_TOKENS);
                    if n.is_none() {
                        self.wrong.push("ERR KEEP must be");
                    }
                    keep.replace(n.unwrap_or(1)).is_none()
                }
                (b"ATMOST", _) if modes => mode.replace(Mode::AtMost).is_none(),
                (b"FORCE", _) if modes => mode.replace(Mode::Force).is_none(),
                (b"MAXWAIT", Some(value)) if modes => {
                    let ms = integer(value, 0, 1_000_000_000_000);
                    if ms.is_none() {
                        self.wrong.push("ERR MAXWAIT must be");
                    }
                    mode.replace(Mode::MaxWait(ms.unwrap_or(0))).is_none()
                }
                _ => false,
            };
            if !found {
                self.wrong.push(SYNTAX);
                break;
            }
            if valued {
                options = &rest[1..];
            }
        }
        if keep.is_some() && matches!(mode, Some(Mode::Force | Mode::MaxWait(_))) {
            self.wrong.push(SYNTAX);
        }
        Ask {
            cost: cost.unwrap_or(1),
            keep: keep.unwrap_or(0),
            mode: mode.unwrap_or(Mode::Whole),
        }
    }

    fn several(&mut self, arguments: &[Vec<u8>]) {
        let [numkeys, rest @ ..] = arguments else {
            return self.wrong.push(USAGE);
        };
        if arguments.len() < 4 {
            return self.wrong.extend([USAGE, "ERR numkeys must be"]);
        }
        // The servers read it, too, and know digits only.
        let digits = numkeys.iter().all(u8::is_ascii_digit);
        let count = integer(numkeys, 1, 128).filter(|_| digits);
        let count = count.map(|n| n as usize * 3);
        let Some((buckets, options)) = count.and_then(|n| rest.split_at_checked(n)) else {
            return self.wrong.push("ERR numkeys must be");
        };
        let Ask { cost, .. } = self.options(options, false);
        for bucket in buckets.chunks_exact(3) {
            let key = bucket[0].clone();
            if self.parts.iter().any(|part| part.key == key) {
                self.wrong.push("ERR key '");
            }
            let limit = self.limit(&bucket[1], &bucket[2]);
            let verb = Verb::Each(Ask::whole(cost));
            self.parts.push(Part { key, verb, limit });
        }
    }

    fn throttle(&mut self, arguments: &[Vec<u8>]) {
        let (key, numbers) = match arguments {
            [key, numbers @ ..] if (3..=4).contains(&numbers.len()) => (key.clone(), numbers),
            _ => return self.wrong.push(USAGE),
        };
        let mut number = |at: usize, low, high, wrong| {
            let Some(text) = numbers.get(at) else {
                return 1;
            };
            integer(text, low, high).unwrap_or_else(|| {
                self.wrong.push(wrong);
                1
            })
        };
        let burst = number(0, 0, MAX_TOKENS - 1, "ERR max_burst must be") + 1;
        let count = number(1, 1, 10_u64.pow(18), "ERR count must be");
        let period = number(2, 1, 10_u64.pow(9), "ERR period must be");
        let quantity = number(3, 0, MAX_TOKENS, "ERR quantity must be");
        let limit = remembered(
            &LIMITS,
            format!("{count} {period} {burst}").as_bytes(),
            || {
                let count = BigRational::from_integer(count.into());
                Limit::new(count, period * SECOND, burst)
            },
        );
        match limit {
            Ok(_) => {}
            Err(Refusal::Slow) => self.wrong.push("ERR rate and burst"),
            Err(_) => self.wrong.push("ERR count and period"),
        }
        let verb = Verb::Throttle(quantity);
        let limit = limit.ok();
        self.parts.push(Part { key, verb, limit });
    }
}
