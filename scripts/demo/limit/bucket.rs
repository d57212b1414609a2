//! A token bucket: a rate and a burst.

use std::time::Duration;

use super::{Ask, Command, Kind, Limit, Standing};

pub const KIND: Kind = Kind {
    option: "limit",
    value: "RATE:BURST",
    help: "A limit as RATE:BURST, such as 100/m:20; given several times, all apply at once\n\n\
           A request passes if every limit has room for it, and is charged to all or to none.",
    parse: |text| {
        let (rate, burst) = text.split_once(':').ok_or("expected RATE:BURST")?;
        Ok(Box::new(Bucket::new(text, rate, burst)?))
    },
};

/// Tokens that come back at a rate, of which a burst is kept.
#[derive(Clone)]
pub struct Bucket {
    name: String,
    rate: String,
    /// As the module itself reads it.
    pub exact: redis_rl_limits::bucket::Limit,
}

impl Bucket {
    /// # Errors
    /// The module would not accept it; then with the module's words.
    pub fn new(name: &str, rate: &str, burst: &str) -> Result<Self, String> {
        let exact = redis_rl_limits::bucket::Limit::parse(rate.as_bytes(), burst.as_bytes())
            .map_err(|error| error.to_string().trim_start_matches("ERR ").to_owned())?;
        Ok(Self {
            name: name.to_owned(),
            rate: rate.to_owned(),
            exact,
        })
    }

    /// In which so many tokens come back, rounded up.
    fn time_for(&self, tokens: u64) -> Duration {
        let nanos = self.exact.fill_time().as_nanos() * u128::from(tokens);
        let nanos = nanos.div_ceil(u128::from(self.exact.burst().max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Tokens that come back in that time, a part of one counted as one.
    fn tokens_in(&self, time: Duration) -> u64 {
        let tokens = time.as_nanos() * u128::from(self.exact.burst());
        let tokens = tokens.div_ceil(self.exact.fill_time().as_nanos().max(1));
        u64::try_from(tokens).unwrap_or(u64::MAX)
    }
}

impl Limit for Bucket {
    fn name(&self) -> &str {
        &self.name
    }

    fn quota(&self) -> u64 {
        self.exact.burst()
    }

    fn window(&self) -> Duration {
        self.exact.fill_time()
    }

    fn words(&self, cost: u64) -> String {
        let (count, period) = self.rate.split_once('/').unwrap_or((&self.rate, "s"));
        let period = match period {
            "ms" => "millisecond",
            "s" => "second",
            "m" => "minute",
            "h" => "hour",
            "d" => "day",
            other => other,
        };
        let noun = if cost == 1 { "request" } else { "token" };
        let plural = if count == "1" { "" } else { "s" };
        let burst = self.exact.burst();
        format!("{count} {noun}{plural} per {period} on average, {burst} at once")
    }

    fn take(&self, key: &str, ask: Ask) -> Command {
        let mut command = self.command("RL.TAKE", key, ask.cost);
        if let Some(wait) = ask.max_wait {
            command.extend(["MAXWAIT".to_owned(), wait.as_millis().to_string()]);
        }
        command
    }

    fn give_back(&self, key: &str, ask: Ask) -> Command {
        self.command("RL.GIVE", key, ask.cost)
    }

    fn spec(&self) -> Vec<String> {
        vec![self.rate.clone(), self.exact.burst().to_string()]
    }

    /// `reset` is when the whole burst is there, so the next token is there earlier by the time
    /// of those that come after it.
    fn until_more(&self, standing: Standing) -> Option<Duration> {
        if standing.reset.is_zero() {
            return None;
        }
        let after = self.quota().saturating_sub(standing.remaining + 1);
        Some(standing.reset.saturating_sub(self.time_for(after)))
    }

    fn later(&self, standing: Standing, time: Duration) -> Standing {
        let reset = standing.reset.saturating_sub(time);
        let there = self.quota().saturating_sub(self.tokens_in(reset));
        Standing {
            remaining: there.max(standing.remaining),
            reset,
        }
    }

    fn bucket(&self) -> Option<Bucket> {
        Some(self.clone())
    }
}

impl Bucket {
    fn command(&self, name: &str, key: &str, cost: u64) -> Command {
        let mut command = vec![name.to_owned(), key.to_owned()];
        command.extend(self.spec());
        command.extend(["COST".to_owned(), cost.to_string()]);
        command
    }
}
