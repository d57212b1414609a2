//! Rates as text, for the bucket in the process and the header fields; the server parses its own.

use std::fmt;
use std::str::FromStr;

/// A rate: `10` (per second), `100/m`, `1/15m`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    text: String,
    tokens: f64,
    period_ms: f64,
}

impl Rate {
    /// Returns the tokens, and the milliseconds in which they flow back.
    pub(crate) fn as_numbers(&self) -> (f64, f64) {
        (self.tokens, self.period_ms)
    }

    /// Returns the tokens that flow back in a second.
    pub fn per_second(&self) -> f64 {
        self.tokens * 1000.0 / self.period_ms
    }

    /// Returns the seconds in which an empty bucket fills, rounded up.
    pub fn fill_seconds(&self, burst: u64) -> u64 {
        let seconds = burst as f64 * self.period_ms / self.tokens / 1000.0;
        (seconds - 1e-9).ceil().max(0.0) as u64
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text is not a rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotARate(String);

impl fmt::Display for NotARate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        write!(
            f,
            "'{text}' is not a rate; write 10 (per second), 100/m or 1/15m"
        )
    }
}

impl std::error::Error for NotARate {}

impl FromStr for Rate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        parse(text).ok_or_else(|| NotARate(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Rate> {
    let (tokens, period_ms) = match text.split_once('/') {
        Some((tokens, period)) => (number(tokens)?, period_ms(period)?),
        None => (number(text)?, 1000.0),
    };
    let is_positive = tokens > 0.0 && tokens.is_finite() && period_ms > 0.0;
    is_positive.then(|| Rate {
        text: text.to_owned(),
        tokens,
        period_ms,
    })
}

/// Parses digits, with a decimal part and an exponent; none of the other forms that `f64` has.
fn number(text: &str) -> Option<f64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let exponent = exponent.map_or("0", |e| e.strip_prefix(['+', '-']).unwrap_or(e));
    if [whole, part, exponent].into_iter().all(digits) {
        text.parse().ok()
    } else {
        None
    }
}

fn period_ms(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut total = 0.0;
    loop {
        let unit_at = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (count, after) = rest.split_at(unit_at);
        let end = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let count = match count {
            // Only a period of one unit may leave out its count.
            "" if unit.len() == text.len() => 1.0,
            _ if count.contains(['e', 'E']) => return None,
            _ => number(count)?,
        };
        total += count * unit_ms(unit)?;
        if next.is_empty() {
            return Some(total);
        }
        rest = next;
    }
}

fn unit_ms(name: &str) -> Option<f64> {
    match name {
        "ms" => return Some(1.0),
        "m" => return Some(60_000.0),
        _ => {}
    }
    let low = name.to_ascii_lowercase();
    let singular = match low.strip_suffix('s') {
        Some(singular) if low.len() > 3 || low == "hrs" => singular,
        _ => &low,
    };
    match singular {
        "s" | "sec" | "second" => Some(1000.0),
        "min" | "minute" => Some(60_000.0),
        "h" | "hr" | "hour" => Some(3_600_000.0),
        "d" | "day" => Some(86_400_000.0),
        "w" | "week" => Some(604_800_000.0),
        _ => None,
    }
}
