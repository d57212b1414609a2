//! Windows: quotas per day, hour or quarter of an hour, and per any interval.

use std::time::Duration;

use redis_rl_limits::bounds::{MILLIS_PER_DAY, MILLIS_PER_HOUR};
use redis_rl_limits::grammar::duration;
use redis_rl_limits::grammar::parameter::Parameter;
use redis_rl_limits::grammar::window::Quota;

use super::{
    command, counted, refusal, About, Ask, Command, Exact, Kind, Limit, Standing, MAX_TOKENS,
};

pub const FIXED: Kind = Kind {
    option: "window",
    value: "LIMIT WINDOW",
    help: "A limit in each window of RL.WTAKE, such as '1000 DAY OFFSET +02:00' or '5 15m'; several times",
    parse: |text| {
        let words: Command = text.split_whitespace().map(str::to_owned).collect();
        match words
            .get(1)
            .map(|word| word.to_ascii_uppercase())
            .as_deref()
        {
            Some("SLIDING") => {
                return Err("a sliding window is --sliding LIMIT/DURATION".to_owned())
            }
            Some("UNTIL") => {
                return Err("UNTIL names one window: after it there is none".to_owned())
            }
            _ => {}
        }
        let period = match words.get(1..) {
            Some([length]) if duration::parse(length.as_bytes()).is_some() => {
                format!("per {length}")
            }
            Some([unit, rest @ ..]) => {
                let unit = format!("per calendar {}", unit.to_ascii_lowercase());
                [&[unit], rest].concat().join(" ")
            }
            _ => String::new(),
        };
        Ok(Box::new(Window::new(words.join(" "), words, period)?))
    },
};

pub const SLIDING: Kind = Kind {
    option: "sliding",
    value: "LIMIT/DURATION",
    help: "A limit in any interval of a length, such as 60/1m; several times",
    parse: |text| {
        let (limit, length) = text.split_once('/').ok_or("expected LIMIT/DURATION")?;
        let words = command([limit, "SLIDING", length]);
        let period = format!("in any {length}");
        Ok(Box::new(Window::new(text.to_owned(), words, period)?))
    },
};

/// A quota in a window, or in any interval.
pub struct Window {
    about: About,
    /// The limit and the window, as commands name them.
    words: Command,
    /// The window as people say it.
    period: String,
}

impl Window {
    /// # Errors
    /// The module would reject it; contains the module's error.
    fn new(name: String, words: Command, period: String) -> Result<Self, String> {
        let bytes: Vec<_> = words.iter().map(String::as_bytes).collect();
        let (exact, rest) = Quota::parse(&bytes).map_err(refusal)?;
        if let [word, ..] = rest {
            let word = word.escape_ascii();
            return Err(format!("'{word}' is none of OFFSET and ANCHOR"));
        }
        let limit = bytes.first().copied().unwrap_or_default();
        let length = bytes.iter().skip(1).find_map(|word| length(word));
        let (kind, exact) = match exact {
            Quota::Fixed(limit) => ("window", Exact::Fixed(limit)),
            Quota::Sliding(limit) => ("sliding", Exact::Sliding(limit)),
        };
        let about = About {
            name,
            kind,
            quota: Parameter::LIMIT.integer(limit).map_err(refusal)?,
            window: length.map(Duration::from_millis),
            exact,
        };
        Ok(Self {
            about,
            words,
            period,
        })
    }

    fn call<const N: usize>(&self, first: [&str; N], more: Command) -> Command {
        [command(first), self.words.clone(), more].concat()
    }
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

impl Limit for Window {
    fn about(&self) -> &About {
        &self.about
    }

    fn words(&self, cost: u64) -> String {
        let count = counted(&self.about.quota.to_string(), cost);
        format!("{count} {}", self.period)
    }

    fn look(&self, key: &str) -> Command {
        self.call(["RL.WPEEK", key], Vec::new())
    }

    fn spec(&self, ask: &Ask) -> Command {
        self.call(["WINDOW"], command(["COST", &ask.cost.to_string()]))
    }

    /// Refunds with the time of the take, because the refund may come late: a window that began
    /// later keeps its usage, which others may have charged.
    fn give_back(&self, key: &str, ask: &Ask) -> Command {
        let (cost, at) = (ask.cost.to_string(), ask.asked_at.to_string());
        self.call(["RL.WGIVE", key], command(["COST", &cost, "AT", &at]))
    }

    fn reset(&self, key: &str) -> Option<Command> {
        let all = command(["COST", &MAX_TOKENS.to_string()]);
        Some(self.call(["RL.WGIVE", key], all))
    }

    /// Returns the time of the window's end, when everything is available. For a sliding window the
    /// reply contains only the time at which the whole cost is available, or at which nothing is
    /// used any more.
    fn until_more(&self, standing: Standing) -> Option<Duration> {
        let wait = standing.wait.filter(|_| !standing.allows);
        wait.or(Some(standing.reset).filter(|reset| !reset.is_zero()))
    }
}
