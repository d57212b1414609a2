//! A lease: limits the number of concurrent requests.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis_rl_limits::grammar::lease::parse_ttl;
use redis_rl_limits::grammar::parameter::Parameter;

use super::{command, counted, refusal, About, Ask, Command, Exact, Kind, Limit, Standing};

/// The default time for which a slot outlives a killed demo.
const TTL: &str = "10s";
/// A lease is renewed when this part of its time has passed: two renewals may fail.
const RENEWALS: u32 = 3;
/// A slot is free when a request is done, which nobody knows: so ask again soon.
const SOON: Duration = Duration::from_secs(1);

pub const KIND: Kind = Kind {
    option: "concurrent",
    value: "LIMIT[/TTL]",
    help: "Requests that are served at once, such as 8; a slot of a demo that was killed is free after TTL",
    parse: |text| Ok(Box::new(Lease::new(text)?)),
};

/// A slot, held while a request is served.
pub struct Lease {
    about: About,
    ttl: String,
    ttl_ms: u64,
}

impl Lease {
    fn new(text: &str) -> Result<Self, String> {
        let (slots, ttl) = text.split_once('/').unwrap_or((text, TTL));
        let limit = Parameter::SLOTS.integer(slots.as_bytes());
        let limit = limit.map_err(refusal)?;
        if limit == 0 {
            return Err("limit must be at least 1".to_owned());
        }
        let about = About {
            name: format!("{limit} at once"),
            kind: "lease",
            quota: limit,
            window: None,
            exact: Exact::Slots(limit),
        };
        Ok(Self {
            about,
            ttl: ttl.to_owned(),
            ttl_ms: parse_ttl(ttl.as_bytes()).map_err(refusal)?,
        })
    }

    /// Returns the command that releases the slot of `token`.
    pub fn release(&self, key: &str, token: &str) -> Command {
        command(["RL.RELEASE", key, token])
    }

    /// Returns the command that renews it; the reply is 0 if `token` has lost it.
    pub fn renew(&self, key: &str, token: &str) -> Command {
        command(["RL.RENEW", key, &self.ttl, token])
    }

    /// Returns the interval between two renewals.
    pub fn renew_every(&self) -> Duration {
        Duration::from_millis(self.ttl_ms) / RENEWALS
    }
}

impl Limit for Lease {
    fn about(&self) -> &About {
        &self.about
    }

    fn words(&self, _: u64) -> String {
        format!("{} at once", counted(&self.about.quota.to_string(), 1))
    }

    fn look(&self, key: &str) -> Command {
        command(["RL.LEASES", key, &self.about.quota.to_string()])
    }

    /// `ONCE`, so that a client library that sends the call again takes nothing twice.
    fn spec(&self, ask: &Ask) -> Command {
        let limit = self.about.quota.to_string();
        command(["LEASE", &limit, &self.ttl, &ask.token, "ONCE"])
    }

    fn give_back(&self, key: &str, ask: &Ask) -> Command {
        self.release(key, &ask.token)
    }

    fn reset(&self, _: &str) -> Option<Command> {
        None
    }

    fn until_more(&self, _: Standing) -> Option<Duration> {
        None
    }

    fn retry_after(&self, _: Standing) -> Option<Duration> {
        Some(SOON)
    }

    fn lease(&self) -> Option<&Lease> {
        Some(self)
    }
}

/// Unique names for requests, also among several demos.
pub struct Tokens {
    demo: u64,
    given: AtomicU64,
}

impl Default for Tokens {
    fn default() -> Self {
        // The hasher's own key is random.
        let demo = RandomState::new().hash_one(std::process::id());
        let given = AtomicU64::new(0);
        Self { demo, given }
    }
}

impl Tokens {
    /// Returns the next name.
    pub fn next(&self) -> String {
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}-{number}", self.demo)
    }
}
