//! Windows: so many in each day, hour or quarter of an hour; and so many in any interval.

use std::time::Duration;

use redis_rl_limits::bounds::{MILLIS_PER_DAY, MILLIS_PER_HOUR};
use redis_rl_limits::grammar::duration;
use redis_rl_limits::grammar::parameter::Parameter;
use redis_rl_limits::grammar::window::Quota;

use super::{command, counted, refusal, Ask, Command, Exact, Kind, Limit, Standing, MAX_TOKENS};

pub const FIXED: Kind = Kind {
    option: "window",
    value: "LIMIT WINDOW",
    help:
        "A limit in each window, such as '1000 DAY OFFSET +02:00' or '5 15m'; several times\n\n\
           A window is a duration, which begins with the first request after the last one ended, \
           or HOUR, DAY, WEEK, MONTH or YEAR, with OFFSET ±hh:mm and ANCHOR n as RL.WTAKE has them.",
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

/// So many in a window, or in any interval.
pub struct Window {
    name: String,
    /// The limit and the window, as commands name them.
    words: Command,
    exact: Quota,
    limit: u64,
    length: Option<Duration>,
    /// The window as people say it.
    period: String,
}

impl Window {
    /// # Errors
    /// The module would not accept it; then with the module's words.
    fn new(name: String, words: Command, period: String) -> Result<Self, String> {
        let bytes: Vec<_> = words.iter().map(String::as_bytes).collect();
        let (exact, rest) = Quota::parse(&bytes).map_err(refusal)?;
        if let [word, ..] = rest {
            let word = word.escape_ascii();
            return Err(format!("'{word}' is none of OFFSET and ANCHOR"));
        }
        let limit = bytes.first().copied().unwrap_or_default();
        let limit = Parameter::LIMIT.integer(limit).map_err(refusal)?;
        let length = bytes.iter().skip(1).find_map(|word| length(word));
        Ok(Self {
            name,
            exact,
            limit,
            length: length.map(Duration::from_millis),
            words,
            period,
        })
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
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        match self.exact {
            Quota::Sliding(_) => "sliding",
            Quota::Fixed(_) => "window",
        }
    }

    fn exact(&self) -> Exact {
        match self.exact {
            Quota::Fixed(limit) => Exact::Fixed(limit),
            Quota::Sliding(limit) => Exact::Sliding(limit),
        }
    }

    fn look(&self, key: &str) -> Command {
        let mut look = command(["RL.WPEEK", key]);
        look.extend(self.words.iter().cloned());
        look
    }

    fn quota(&self) -> u64 {
        self.limit
    }

    fn window(&self) -> Option<Duration> {
        self.length
    }

    fn words(&self, cost: u64) -> String {
        let count = counted(&self.limit.to_string(), cost);
        format!("{count} {}", self.period)
    }

    fn spec(&self, ask: &Ask) -> Command {
        let mut spec = command(["WINDOW"]);
        spec.extend(self.words.iter().cloned());
        spec.extend(command(["COST", &ask.cost.to_string()]));
        spec
    }

    /// It may come late, so it says when the take was asked for: a window that began later keeps
    /// what it was charged, since it might have been charged by others.
    fn give_back(&self, key: &str, ask: &Ask) -> Command {
        let mut give = command(["RL.WGIVE", key]);
        give.extend(self.words.iter().cloned());
        let (cost, at) = (ask.cost.to_string(), ask.asked_at.to_string());
        give.extend(command(["COST", &cost, "AT", &at]));
        give
    }

    fn reset(&self, key: &str) -> Option<Command> {
        let mut give = command(["RL.WGIVE", key]);
        give.extend(self.words.iter().cloned());
        give.extend(command(["COST", &MAX_TOKENS.to_string()]));
        Some(give)
    }

    /// When a window ends all is there again. Of a sliding one the answer tells only when the
    /// whole cost is there, or else when nothing is used any more.
    fn until_more(&self, standing: Standing) -> Option<Duration> {
        let wait = standing.wait.filter(|_| !standing.allows);
        wait.or(Some(standing.reset).filter(|reset| !reset.is_zero()))
    }
}
