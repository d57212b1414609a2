//! A limit and a window twice: as the crate reads it, and as the oracle knows it.

#![allow(dead_code)] // The fuzzer uses its own part of it.

use std::fmt;

use redis_rl_limits::grammar::window::Quota;

use crate::calendar::Unit;
use crate::oracle::Named;

#[derive(Clone, Copy, PartialEq)]
pub struct Pair {
    pub limit: u64,
    pub named: Named,
    pub quota: Quota,
}

impl Pair {
    pub fn new(limit: u64, named: Named) -> Self {
        let text = format!("{limit} {}", words(named));
        let quota = quota(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        Self {
            limit,
            named,
            quota,
        }
    }

    pub fn with_limit(self, limit: u64) -> Self {
        Self::new(limit, self.named)
    }

    pub fn is_sliding(&self) -> bool {
        matches!(self.named, Named::Sliding(_))
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.limit, words(self.named))
    }
}

/// Parses a text as a limit and a window, or returns the error's text.
pub fn quota(text: &str) -> Result<Quota, String> {
    let (quota, rest) = prefix(text)?;
    assert_eq!(rest, 0, "words are left of: {text}");
    Ok(quota)
}

/// Parses the beginning of a text, and returns the number of words left.
pub fn prefix(text: &str) -> Result<(Quota, usize), String> {
    let words: Vec<&[u8]> = text.split_whitespace().map(str::as_bytes).collect();
    match Quota::parse(&words) {
        Ok((quota, rest)) => Ok((quota, rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

fn words(named: Named) -> String {
    match named {
        Named::For(ms) => format!("{ms}ms"),
        Named::Sliding(ms) => format!("SLIDING {ms}ms"),
        Named::Until(ms) => format!("UNTIL {ms}"),
        Named::Calendar(unit, offset) => {
            let (unit, anchor) = match unit {
                Unit::Hour => ("HOUR", None),
                Unit::Day => ("DAY", None),
                Unit::Week(day) => ("WEEK", Some(day)),
                Unit::Month(day) => ("MONTH", Some(day)),
                Unit::Year => ("YEAR", None),
            };
            let sign = if offset < 0 { '-' } else { '+' };
            let (hours, minutes) = (offset.abs() / 60, offset.abs() % 60);
            let mut words = format!("{unit} OFFSET {sign}{hours:02}:{minutes:02}");
            if let Some(anchor) = anchor {
                words += &format!(" ANCHOR {anchor}");
            }
            words
        }
    }
}
