//! A model of the token bucket, in exact arithmetic on integers of any size.
//!
//! Written from the contract and sharing no line with the crate's arithmetic, so that the two can
//! only agree by being right: no shifts, no word sizes, no shortcuts for speed.

#![forbid(unsafe_code)]
#![allow(dead_code)] // Each suite that includes this uses its own part of it.

use num_bigint::BigInt;
use num_rational::BigRational;

/// A level is counted in these parts of a token.
pub const UNIT: u64 = 1 << 24;
/// The largest burst, cost and debt.
pub const MAX_TOKENS: u64 = 100_000_000_000;
/// The fastest rate, in tokens a second.
pub const MAX_RATE: u64 = 1_000_000_000_000;
pub const SECOND: u64 = 1_000_000_000;
pub const MILLI: u64 = 1_000_000;
pub const DAY: u64 = 86_400 * SECOND;
/// The longest that a bucket may take to fill: 100 years of 365.25 days.
pub const MAX_FILL: u64 = 36_525 * DAY;

/// The stored state of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub updated_at: u64,
    pub tokens: i64,
}

impl State {
    /// Reads the stored form: 16 bytes, and no level beyond what may be held or owed.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = <[u8; 16]>::try_from(bytes).ok()?;
        let word = |at: usize| -> [u8; 8] { std::array::from_fn(|i| bytes[at + i]) };
        let tokens = i64::from_le_bytes(word(8));
        (tokens.unsigned_abs() <= MAX_TOKENS * UNIT).then_some(Self {
            updated_at: u64::from_le_bytes(word(0)),
            tokens,
        })
    }

    pub fn bytes(self) -> [u8; 16] {
        let (at, tokens) = (self.updated_at.to_le_bytes(), self.tokens.to_le_bytes());
        std::array::from_fn(|i| if i < 8 { at[i] } else { tokens[i - 8] })
    }
}

/// The behaviour if there are fewer tokens than requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Whole,
    AtMost,
    MaxWait(u64),
    Force,
}

/// The change of the stored state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Kept,
    /// Nothing is written if the key lives until then, in milliseconds.
    KeptUntil(i64),
    /// The state, and the millisecond at which the bucket is full: see [`Limit::expires`].
    Written(State, i64),
    Removed,
}

/// The outcome of a call without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// taken, limit, remaining, wait_ms, reset_ms
    pub reply: [i64; 5],
    pub after: After,
}

/// A rate and a burst.
#[derive(Clone, Debug)]
pub struct Limit {
    pub burst: u64,
    /// Units gained in a nanosecond.
    rate: BigRational,
}

/// Why a rate and a burst are no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Rate,
    Burst,
    /// It would take too long to fill.
    Slow,
}

impl Limit {
    /// `tokens` every `nanos`, and at most `burst` of them.
    pub fn new(tokens: BigRational, nanos: u64, burst: u64) -> Result<Self, Refusal> {
        let per_second = &tokens * exact(SECOND) / exact(nanos);
        if per_second <= exact(0) || per_second > exact(MAX_RATE) {
            return Err(Refusal::Rate);
        }
        let rate = rounded_down(&(tokens * exact(UNIT) / exact(nanos)));
        // A debt has to be repaid where nothing can be held as well.
        if exact(burst.max(1)) * exact(UNIT) > &rate * exact(MAX_FILL) {
            return Err(Refusal::Slow);
        }
        Ok(Self { burst, rate })
    }

    /// `N` or `N/P`, and an integer.
    pub fn parse(rate: &[u8], burst: &[u8]) -> Result<Self, Refusal> {
        let (tokens, nanos) = parse_rate(rate).ok_or(Refusal::Rate)?;
        let burst = parse_whole(burst).and_then(|n| u64::try_from(n).ok());
        let burst = burst.filter(|&burst| burst <= MAX_TOKENS);
        Self::new(tokens, nanos, burst.ok_or(Refusal::Burst)?)
    }

    pub fn burst_units(&self) -> BigInt {
        BigInt::from(self.burst) * UNIT
    }

    /// Returns when a key expires after a call that stores a bucket that is full at `full_at`, given
    /// when it expired before: at most a sixteenth of the time in which an empty bucket fills later.
    pub fn expires(&self, before: Option<i64>, full_at: i64) -> i64 {
        let slack = clock(self.nanos_for(&self.burst_units())) / (16 * MILLI);
        let latest = full_at + small(&slack);
        before
            .filter(|at| (full_at..=latest).contains(at))
            .unwrap_or(latest)
    }

    /// Returns when a key expires after a call that stores nothing, given the millisecond at which the
    /// bucket is full.
    pub fn kept(&self, before: i64, full_at: i64) -> i64 {
        match before < full_at {
            true => self.expires(None, full_at),
            false => before,
        }
    }

    /// Units gained in a nanosecond.
    pub fn rate(&self) -> &BigRational {
        &self.rate
    }

    /// Returns the units gained in that time, rounded down.
    pub fn gained(&self, nanos: u64) -> BigInt {
        BigInt::from(nanos) * self.rate.numer() / self.rate.denom()
    }

    /// Returns the whole nanoseconds in which `units` have been gained.
    pub fn nanos_for(&self, units: &BigInt) -> BigInt {
        ceil_div(&(units * self.rate.denom()), self.rate.numer())
    }

    /// `min(burst, tokens + max(0, now - updated_at) * rate)`, the product rounded down to the
    /// unit. What is not there is full.
    pub fn level(&self, stored: Option<State>, now: u64) -> BigInt {
        match stored {
            None => self.burst_units(),
            Some(s) => {
                (self.gained(now.saturating_sub(s.updated_at)) + s.tokens).min(self.burst_units())
            }
        }
    }

    /// Returns the fewest milliseconds after which the level is `target`; -1 if it never is.
    pub fn wait(&self, stored: Option<State>, now: u64, target: &BigInt) -> i64 {
        if *target > self.burst_units() {
            return -1;
        }
        let Some(stored) = stored else { return 0 };
        let missing = target - stored.tokens;
        if missing <= BigInt::ZERO {
            return 0;
        }
        let since = stored.updated_at.min(now);
        let left = clock(self.nanos_for(&missing)) - BigInt::from(now - since);
        millis(&left.max(BigInt::ZERO))
    }

    /// Returns the wait of a call that finds too few tokens: never 0, which would mean that it
    /// passed, not even in the last millisecond of the clock.
    fn wait_of_too_few(&self, stored: Option<State>, now: u64, target: &BigInt) -> i64 {
        match self.wait(stored, now, target) {
            0 => 1,
            wait => wait,
        }
    }

    pub fn take(&self, stored: Option<State>, now: u64, cost: u64, mode: Mode) -> Option<Outcome> {
        self.take_keeping(stored, now, cost, 0, mode)
    }

    /// Takes and leaves `keep` tokens, or takes none.
    pub fn take_keeping(
        &self,
        stored: Option<State>,
        now: u64,
        cost: u64,
        keep: u64,
        mode: Mode,
    ) -> Option<Outcome> {
        let level = self.level(stored, now);
        let units = |tokens: u64| BigInt::from(tokens) * UNIT;
        if cost == 0 {
            let passes = level >= units(keep) || matches!(mode, Mode::Force);
            return Some(match passes {
                true => self.untouched(stored, now),
                false => self.denied(stored, now, self.wait_of_too_few(stored, now, &units(keep))),
            });
        }
        if level >= units(cost) + units(keep) {
            return self.taken(now, level, cost, 0);
        }
        let wait = self.wait_of_too_few(stored, now, &(units(cost) + units(keep)));
        let denied = |wait| Some(self.denied(stored, now, wait));
        match mode {
            Mode::Whole => denied(wait),
            Mode::AtMost if level >= units(1) + units(keep) => {
                let whole = u64::try_from((&level - units(keep)) / UNIT);
                self.taken(now, level, whole.expect("at most the burst"), 0)
            }
            Mode::AtMost => denied(self.wait_of_too_few(stored, now, &(units(1) + units(keep)))),
            Mode::MaxWait(_) if wait == -1 => denied(-1),
            Mode::MaxWait(most) => match i128::from(wait) - i128::from(most) {
                later if later > 0 => denied(i64::try_from(later).expect("less than the wait")),
                _ => self.taken(now, level, cost, wait),
            },
            Mode::Force => self.taken(now, level, cost, 0),
        }
    }

    pub fn give(&self, stored: Option<State>, now: u64, tokens: u64) -> Outcome {
        let level = self.level(stored, now);
        let given = (BigInt::from(tokens) * UNIT).min(self.burst_units() - &level);
        if given == BigInt::ZERO || self.burst == 0 {
            return self.untouched(stored, now);
        }
        let counted = ceil_div(&given, &BigInt::from(UNIT));
        self.left(now, level + given, small(&counted), 0)
    }

    /// Lets the bucket hold `amount` instead of `held`, after whose charge it would have been full
    /// at `full_at`, in nanoseconds. The first number of the reply is negative if it is refunded.
    pub fn hold_instead(
        &self,
        stored: Option<State>,
        now: u64,
        [held, amount]: [u64; 2],
        full_at: i64,
    ) -> Outcome {
        let level = self.level(stored, now);
        let units = |tokens: u64| BigInt::from(tokens) * UNIT;
        let gained = if amount > held {
            // Whole tokens, down to the greatest debt.
            let most = (&level + units(MAX_TOKENS)) / UNIT * UNIT;
            -units(amount - held).min(most)
        } else if self.burst == 0 {
            BigInt::ZERO
        } else {
            let left = BigInt::from(full_at.max(0)) - now;
            let inflow = left.max(BigInt::ZERO) * self.rate.numer();
            let inflow = ceil_div(&inflow, self.rate.denom());
            let room = self.burst_units() - &level;
            units(held - amount).min(inflow).min(room)
        };
        if gained == BigInt::ZERO {
            return self.untouched(stored, now);
        }
        let moved = match gained > BigInt::ZERO {
            true => -small(&ceil_div(&gained, &BigInt::from(UNIT))),
            false => small(&(-&gained / UNIT)),
        };
        self.left(now, level + gained, moved, 0)
    }

    /// Returns the nanosecond at which the bucket would be full after a charge of `cost` now.
    pub fn full_after(&self, stored: Option<State>, now: u64, cost: u64) -> i64 {
        let left = self.level(stored, now) - BigInt::from(cost) * UNIT;
        let fill = clock(self.nanos_for(&(self.burst_units() - left)));
        i64::try_from(clock(fill + now)).unwrap_or(i64::MAX)
    }

    /// Returns the reply of a peek.
    pub fn look(&self, stored: Option<State>, now: u64, cost: u64) -> Outcome {
        let wanted = BigInt::from(cost) * UNIT;
        let wait = self.wait_of_too_few(stored, now, &wanted);
        let mut outcome = self.unchanged(stored, now, wait);
        if self.level(stored, now) >= wanted {
            outcome.reply[3] = 0;
            outcome.reply[0] = small(&BigInt::from(cost));
            if cost == 0 {
                return self.untouched(stored, now);
            }
        }
        outcome
    }

    /// Returns the unchanged state.
    pub fn untouched(&self, stored: Option<State>, now: u64) -> Outcome {
        Outcome {
            after: After::Kept,
            ..self.unchanged(stored, now, 0)
        }
    }

    /// Returns the state for GCRA's arrival time, the time at which the bucket is full.
    pub fn at_arrival_time(&self, arrival: u64, now: u64) -> State {
        let missing = BigInt::from(arrival.saturating_sub(now));
        let missing = ceil_div(&(missing * self.rate.numer()), self.rate.denom());
        let level = (self.burst_units() - missing).max(-BigInt::from(MAX_TOKENS) * UNIT);
        State {
            updated_at: now,
            tokens: small(&level),
        }
    }

    fn taken(&self, now: u64, level: BigInt, tokens: u64, wait: i64) -> Option<Outcome> {
        let left = level - BigInt::from(tokens) * UNIT;
        let owes_too_much = left < -BigInt::from(MAX_TOKENS) * UNIT;
        let taken = i64::try_from(tokens).expect("at most 10^11");
        (!owes_too_much).then(|| self.left(now, left, taken, wait))
    }

    fn left(&self, now: u64, left: BigInt, taken: i64, wait: i64) -> Outcome {
        let fill = clock(self.nanos_for(&(self.burst_units() - &left)));
        let full_at = clock(fill + now);
        let state = State {
            updated_at: now,
            tokens: small(&left),
        };
        Outcome {
            reply: [
                taken,
                self.limit(),
                whole(&left),
                wait,
                millis(&(&full_at - now)),
            ],
            after: if left == self.burst_units() {
                After::Removed
            } else {
                After::Written(state, millis(&full_at))
            },
        }
    }

    /// Takes nothing: a stored bucket must not expire before it is full.
    fn denied(&self, stored: Option<State>, now: u64, wait: i64) -> Outcome {
        let mut outcome = self.unchanged(stored, now, wait);
        if let (After::Kept, Some(s)) = (outcome.after, stored) {
            let missing = self.burst_units() - s.tokens;
            if missing <= BigInt::ZERO {
                return outcome;
            }
            let full_at = clock(clock(self.nanos_for(&missing)) + s.updated_at);
            outcome.after = After::KeptUntil(millis(&full_at));
        }
        outcome
    }

    fn unchanged(&self, stored: Option<State>, now: u64, wait: i64) -> Outcome {
        // The bucket's key does not live on when the clock ends.
        let left = millis(&BigInt::from(u64::MAX - now));
        let reset = self.wait(stored, now, &self.burst_units()).min(left);
        let remaining = whole(&self.level(stored, now));
        let after = match stored {
            // After a clock step back, the bucket refills from now on.
            Some(s) if s.updated_at > now => {
                let state = State {
                    updated_at: now,
                    ..s
                };
                let missing = (self.burst_units() - s.tokens).max(BigInt::ZERO);
                let full_at = clock(clock(self.nanos_for(&missing)) + now);
                After::Written(state, millis(&full_at))
            }
            _ => After::Kept,
        };
        Outcome {
            reply: [0, self.limit(), remaining, wait, reset],
            after,
        }
    }

    fn limit(&self) -> i64 {
        i64::try_from(self.burst).expect("at most 10^11")
    }
}

fn exact(n: u64) -> BigRational {
    BigRational::from_integer(n.into())
}

/// Returns the stored form of a rate: the rate itself if both parts of the reduced fraction fit 64
/// bits, otherwise over the smallest power of two with which they do, the numerator rounded down
/// and the denominator up.
fn rounded_down(rate: &BigRational) -> BigRational {
    let most = BigInt::from(u64::MAX);
    let mut power = BigInt::from(1);
    loop {
        let (above, below) = (rate.numer() / &power, ceil_div(rate.denom(), &power));
        if above <= most && below <= most {
            return BigRational::new(above, below);
        }
        power *= 2;
    }
}

fn ceil_div(a: &BigInt, b: &BigInt) -> BigInt {
    // Division truncates, which for a negative quotient is up.
    let up = a % b > BigInt::ZERO;
    a / b + BigInt::from(u8::from(up))
}

/// Times end where the clock's 64 bits do, in 2554.
fn clock(nanos: BigInt) -> BigInt {
    nanos.min(BigInt::from(u64::MAX))
}

fn millis(nanos: &BigInt) -> i64 {
    small(&ceil_div(nanos, &BigInt::from(MILLI)))
}

fn whole(level: &BigInt) -> i64 {
    small(&(level.max(&BigInt::ZERO) / UNIT))
}

fn small(n: &BigInt) -> i64 {
    i64::try_from(n).expect("within the bounds of a level or a time")
}

/// Tokens, and the nanoseconds in which they flow in.
pub fn parse_rate(text: &[u8]) -> Option<(BigRational, u64)> {
    let text = std::str::from_utf8(text).ok()?;
    let (amount, period) = text.split_once('/').unwrap_or((text, "s"));
    let tokens = parse_number(amount)?;
    let nanos = match unit_nanos(period) {
        Some(nanos) => nanos,
        None => parse_duration(period)?,
    };
    (nanos > 0).then_some((tokens, nanos))
}

/// Parses counts with their units, from the largest unit to the smallest. Only the last count may
/// have a fraction, and the sum is a whole number of milliseconds.
fn parse_duration(text: &str) -> Option<u64> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        // No unit begins with an e, so the longest number is the count.
        let ends = (1..=rest.len())
            .rev()
            .filter(|&end| rest.is_char_boundary(end));
        let mut counts = ends.filter_map(|end| Some((parse_number(&rest[..end])?, end)));
        let (count, end) = counts.next()?;
        let letters = rest[end..].find(|c: char| !c.is_ascii_alphabetic());
        let unit_end = letters.map_or(rest.len(), |length| end + length);
        parts.push((count, unit_nanos(&rest[end..unit_end])?));
        rest = &rest[unit_end..];
    }
    let (_, before) = parts.split_last()?;
    let is_descending = parts.windows(2).all(|pair| pair[0].1 > pair[1].1);
    let are_whole = before.iter().all(|(count, _)| count.is_integer());
    let nanos: BigRational = parts.iter().map(|(count, unit)| count * exact(*unit)).sum();
    let millis = &nanos / exact(MILLI);
    let nanos = u64::try_from(nanos.to_integer()).ok();
    nanos.filter(|_| is_descending && are_whole && millis.is_integer())
}

fn unit_nanos(unit: &str) -> Option<u64> {
    match unit {
        "ms" => return Some(MILLI),
        "m" => return Some(60 * SECOND),
        "M" => return None,
        _ => {}
    }
    match unit.to_ascii_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => Some(SECOND),
        "min" | "mins" | "minute" | "minutes" => Some(60 * SECOND),
        "h" | "hr" | "hrs" | "hour" | "hours" => Some(3_600 * SECOND),
        "d" | "day" | "days" => Some(DAY),
        "w" | "week" | "weeks" => Some(7 * DAY),
        _ => None,
    }
}

/// `12`, `0.5`, `1.5e-3`: digits, perhaps with others behind a point, and an exponent of at most 30.
pub fn parse_number(text: &str) -> Option<BigRational> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            let size = u32::try_from(parse_integer(digits.as_bytes())?).ok();
            let size = i32::try_from(size.filter(|&size| size <= 30)?).ok()?;
            (
                mantissa,
                if exponent.starts_with('-') {
                    -size
                } else {
                    size
                },
            )
        }
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let scale = BigInt::from(10).pow(u32::try_from(fraction.len()).ok()?);
    let digits = parse_integer(whole.as_bytes())? * &scale + parse_integer(fraction.as_bytes())?;
    let power = BigRational::from_integer(BigInt::from(10).pow(exponent.unsigned_abs()));
    let number = BigRational::new(digits, scale);
    Some(if exponent < 0 {
        number / power
    } else {
        number * power
    })
}

/// Parses an integer in any notation.
pub fn parse_whole(text: &[u8]) -> Option<BigInt> {
    let number = parse_number(std::str::from_utf8(text).ok()?)?;
    number.is_integer().then(|| number.to_integer())
}

/// Returns whether a rate has at most 19 significant digits, and therefore must be accepted. Others
/// may be rejected.
pub fn has_few_digits(rate: &[u8]) -> bool {
    let text = String::from_utf8_lossy(rate);
    let amount = text.split(['/', 'e', 'E']).next().unwrap_or_default();
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let digits = whole.to_owned() + fraction.trim_end_matches('0');
    digits.trim_start_matches('0').len() <= 19
}

/// Digits and nothing else.
pub fn parse_integer(text: &[u8]) -> Option<BigInt> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| BigInt::parse_bytes(text, 10)).flatten()
}
