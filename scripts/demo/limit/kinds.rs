//! The kinds of limits, as options ask for them.

use std::fmt::Display;
use std::time::Duration;

use redis_rl_limits::bounds::{MILLIS_PER_DAY, MILLIS_PER_HOUR};
use redis_rl_limits::grammar::parameter::Parameter;
use redis_rl_limits::grammar::window::Quota;
use redis_rl_limits::grammar::{self, duration, lease};

use super::algorithm::{Algorithm, Limit};

/// A kind of limit, as an option asks for it.
pub struct Kind {
    /// The option's name, without the dashes.
    pub option: &'static str,
    /// The placeholder of its value in the help.
    pub value: &'static str,
    pub help: &'static str,
    /// Reads the value.
    pub parse: fn(&str) -> Result<Limit, String>,
}

/// Every kind of limit.
pub const KINDS: &[Kind] = &[
    Kind {
        option: "limit",
        value: "RATE:BURST",
        help: "A limit as RATE:BURST, such as 100/m:20; of several, all apply at once",
        parse: |text| {
            let (rate, burst) = text.split_once(':').ok_or("expected RATE:BURST")?;
            bucket(text, rate, burst)
        },
    },
    Kind {
        option: "window",
        value: "LIMIT WINDOW",
        help: "A quota for each window, as in RL.WTAKE: '1000 DAY OFFSET +02:00' or '5 15m'; repeatable",
        parse: fixed,
    },
    Kind {
        option: "sliding",
        value: "LIMIT/DURATION",
        help: "A limit for any interval of that length, such as 60/1m; repeatable",
        parse: |text| {
            let (limit, length) = text.split_once('/').ok_or("expected LIMIT/DURATION")?;
            window(text.to_owned(), &[limit, "SLIDING", length], format!("in any {length}"))
        },
    },
    Kind {
        option: "concurrent",
        value: "LIMIT[/TTL]",
        help: "Maximum number of concurrent requests, such as 8; if the demo is killed, its slots are free after TTL",
        parse: slots,
    },
];

/// Reads a bucket.
///
/// # Errors
/// The module would reject it; contains the module's error.
pub fn bucket(name: &str, rate: &str, burst: &str) -> Result<Limit, String> {
    let exact = grammar::bucket::limit(rate.as_bytes(), burst.as_bytes()).map_err(words)?;
    let (count, period) = rate.split_once('/').unwrap_or((rate, "s"));
    let period = match period {
        "ms" => "millisecond",
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        other => other,
    };
    let rest = format!("per {period} on average, {} at once", exact.burst());
    Ok(Limit {
        name: name.to_owned(),
        words: vec![rate.to_owned(), burst.to_owned()],
        algorithm: Algorithm::Bucket(exact),
        quota: exact.burst(),
        window: Some(exact.fill_time()),
        sentence: (count.to_owned(), rest),
    })
}

fn fixed(text: &str) -> Result<Limit, String> {
    let words: Vec<_> = text.split_whitespace().collect();
    let rest = match words.get(1..) {
        Some([unit, ..]) if ["SLIDING", "UNTIL"].contains(&&*unit.to_ascii_uppercase()) => {
            let why = "a sliding window is --sliding LIMIT/DURATION; UNTIL is a single window";
            return Err(why.to_owned());
        }
        Some([length]) if duration::parse(length.as_bytes()).is_some() => format!("per {length}"),
        Some([unit, rest @ ..]) => {
            let unit = format!("per calendar {}", unit.to_ascii_lowercase());
            [&[&*unit], rest].concat().join(" ")
        }
        _ => String::new(),
    };
    window(words.join(" "), &words, rest)
}

fn window(name: String, given: &[&str], rest: String) -> Result<Limit, String> {
    let bytes: Vec<_> = given.iter().map(|word| word.as_bytes()).collect();
    let (exact, more) = Quota::parse(&bytes).map_err(words)?;
    if let [word, ..] = more {
        let word = word.escape_ascii();
        return Err(format!("unknown option '{word}'; use OFFSET or ANCHOR"));
    }
    let limit = given.first().copied().unwrap_or_default();
    let length = bytes.iter().skip(1).find_map(|word| length(word));
    Ok(Limit {
        name,
        words: given.iter().map(|&word| word.to_owned()).collect(),
        algorithm: match exact {
            Quota::Fixed(limit) => Algorithm::Window(limit),
            Quota::Sliding(limit) => Algorithm::Sliding(limit),
        },
        quota: Parameter::LIMIT.integer(limit.as_bytes()).map_err(words)?,
        window: length.map(Duration::from_millis),
        sentence: (limit.to_owned(), rest),
    })
}

/// Milliseconds of a window that is always as long: months and years are not.
fn length(word: &[u8]) -> Option<u64> {
    match word.to_ascii_uppercase().as_slice() {
        b"HOUR" => Some(MILLIS_PER_HOUR),
        b"DAY" => Some(MILLIS_PER_DAY),
        b"WEEK" => Some(7 * MILLIS_PER_DAY),
        _ => duration::parse(word),
    }
}

fn slots(text: &str) -> Result<Limit, String> {
    let (slots, ttl) = text.split_once('/').unwrap_or((text, "10s"));
    let limit = Parameter::SLOTS.integer(slots.as_bytes()).map_err(words)?;
    if limit == 0 {
        return Err("limit must be at least 1".to_owned());
    }
    let millis = lease::parse_ttl(ttl.as_bytes()).map_err(words)?;
    Ok(Limit {
        name: format!("{limit} at once"),
        words: vec![limit.to_string(), ttl.to_owned()],
        algorithm: Algorithm::Slots(limit, Duration::from_millis(millis)),
        quota: limit,
        window: None,
        sentence: (limit.to_string(), "at once".to_owned()),
    })
}

/// Returns the module's error for a value that it rejects.
fn words(error: impl Display) -> String {
    error.to_string()
}
