//! A token bucket: a rate and a burst.

use std::time::Duration;

use redis_rl_limits::{grammar, kinds};

use super::{
    command, counted, refusal, About, Ask, Command, Exact, Kind, Limit, Standing, MAX_TOKENS,
};

pub const KIND: Kind = Kind {
    option: "limit",
    value: "RATE:BURST",
    help: "A limit as RATE:BURST, such as 100/m:20; of several, all apply at once",
    parse: |text| {
        let (rate, burst) = text.split_once(':').ok_or("expected RATE:BURST")?;
        Ok(Box::new(Bucket::new(text, rate, burst)?))
    },
};

/// A token bucket with a rate and a burst.
pub struct Bucket {
    about: About,
    rate: String,
    exact: kinds::bucket::Limit,
}

impl Bucket {
    /// # Errors
    /// The module would reject it; contains the module's error.
    pub fn new(name: &str, rate: &str, burst: &str) -> Result<Self, String> {
        let exact = grammar::bucket::limit(rate.as_bytes(), burst.as_bytes()).map_err(refusal)?;
        let about = About {
            name: name.to_owned(),
            kind: "bucket",
            quota: exact.burst(),
            window: Some(exact.fill_time()),
            exact: Exact::Bucket(exact),
        };
        Ok(Self {
            about,
            rate: rate.to_owned(),
            exact,
        })
    }

    /// Returns the time in which `tokens` refill, rounded up.
    fn time_for(&self, tokens: u64) -> Duration {
        let nanos = self.exact.fill_time().as_nanos() * u128::from(tokens);
        let nanos = nanos.div_ceil(u128::from(self.exact.burst().max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl Limit for Bucket {
    fn about(&self) -> &About {
        &self.about
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
        let (count, burst) = (counted(count, cost), self.exact.burst());
        format!("{count} per {period} on average, {burst} at once")
    }

    fn look(&self, key: &str) -> Command {
        let burst = self.exact.burst().to_string();
        command(["RL.PEEK", key, &self.rate, &burst])
    }

    fn spec(&self, ask: &Ask) -> Command {
        self.call(["BUCKET"], ask.cost)
    }

    fn give_back(&self, key: &str, ask: &Ask) -> Command {
        self.call(["RL.GIVE", key], ask.cost)
    }

    fn reset(&self, key: &str) -> Option<Command> {
        Some(self.call(["RL.GIVE", key], MAX_TOKENS))
    }

    /// `reset` is when the whole burst is there, so the next token is there earlier by the time
    /// of those that come after it.
    fn until_more(&self, standing: Standing) -> Option<Duration> {
        if standing.reset.is_zero() {
            return None;
        }
        let after = self.exact.burst().saturating_sub(standing.remaining + 1);
        Some(standing.reset.saturating_sub(self.time_for(after)))
    }

    fn bucket(&self) -> Option<&Bucket> {
        Some(self)
    }
}

impl Bucket {
    /// Returns the command that takes `ask` from `key`, if there is no other limit.
    pub fn take(&self, key: &str, ask: &Ask) -> Command {
        self.call(["RL.TAKE", key], ask.cost)
    }

    fn call<const N: usize>(&self, first: [&str; N], cost: u64) -> Command {
        let (burst, cost) = (self.exact.burst().to_string(), cost.to_string());
        let limit = command([&self.rate, &burst, "COST", &cost]);
        [command(first), limit].concat()
    }
}
