//! A token bucket: a rate and a burst.

use std::time::Duration;

use super::{command, counted, refusal, Ask, Command, Exact, Kind, Limit, Standing, MAX_TOKENS};

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
    exact: redis_rl_limits::kinds::bucket::Limit,
}

impl Bucket {
    /// # Errors
    /// The module would not accept it; then with the module's words.
    pub fn new(name: &str, rate: &str, burst: &str) -> Result<Self, String> {
        let exact = redis_rl_limits::grammar::bucket::limit(rate.as_bytes(), burst.as_bytes())
            .map_err(refusal)?;
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

    fn kind(&self) -> &'static str {
        "bucket"
    }

    fn exact(&self) -> Exact {
        Exact::Bucket(self.exact)
    }

    fn look(&self, key: &str) -> Command {
        let burst = self.exact.burst().to_string();
        command(["RL.PEEK", key, &self.rate, &burst])
    }

    fn quota(&self) -> u64 {
        self.exact.burst()
    }

    fn window(&self) -> Option<Duration> {
        Some(self.exact.fill_time())
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

    fn spec(&self, ask: &Ask) -> Command {
        let mut spec = command(["BUCKET"]);
        spec.extend(self.limit_and_cost(ask));
        spec
    }

    fn give_back(&self, key: &str, ask: &Ask) -> Command {
        let mut give = command(["RL.GIVE", key]);
        give.extend(self.limit_and_cost(ask));
        give
    }

    fn reset(&self, key: &str) -> Option<Command> {
        let (burst, all) = (self.quota().to_string(), MAX_TOKENS.to_string());
        Some(command(["RL.GIVE", key, &self.rate, &burst, "COST", &all]))
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
            ..standing
        }
    }

    fn bucket(&self) -> Option<&Bucket> {
        Some(self)
    }
}

impl Bucket {
    /// The command that takes what `ask` says from `key`, where there is no other limit.
    pub fn take(&self, key: &str, ask: &Ask) -> Command {
        let mut take = command(["RL.TAKE", key]);
        take.extend(self.limit_and_cost(ask));
        if let Some(wait) = ask.max_wait {
            take.extend(command(["MAXWAIT", &wait.as_millis().to_string()]));
        }
        take
    }

    fn limit_and_cost(&self, ask: &Ask) -> Command {
        let (burst, cost) = (self.exact.burst().to_string(), ask.cost.to_string());
        command([&self.rate, &burst, "COST", &cost])
    }
}
