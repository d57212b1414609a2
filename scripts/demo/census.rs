//! What the servers themselves count: `INFO rl` and `RL.TOP`, summed over the servers.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};
use redis::{FromRedisValue, RedisResult};
use serde::Serialize;
use tokio::time::timeout;

use crate::connection::Link;

/// How long a look at the servers may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Keys that are shown, and that become a label in Prometheus.
const TOP: usize = 10;

/// Fields of `INFO rl` that become a metric, with its help.
const COUNTERS: [(&str, &str); 8] = [
    ("rl_takes_allowed", "Takes that got their tokens."),
    ("rl_takes_denied", "Takes that got none."),
    ("rl_tokens_taken", "Tokens taken."),
    ("rl_tokens_given", "Tokens given back."),
    ("rl_tokens_forced", "Tokens taken into debt."),
    ("rl_tokens_reserved", "Tokens reserved with waiting."),
    ("rl_peeks", "Peeks."),
    ("rl_buckets_created", "Buckets created."),
];
/// The fields that count errors begin so and go on with the kind.
const ERRORS: &str = "rl_errors_";

/// A key that was denied, by `RL.TOP`.
#[derive(Serialize)]
pub struct Offender {
    #[serde(skip)]
    pub key: Vec<u8>,
    /// The key in printable ASCII, no two keys alike.
    #[serde(rename = "key")]
    pub shown: String,
    pub denials: u64,
    pub error: u64,
    /// Milliseconds since the last denial.
    pub since: u64,
}

/// All that the servers tell.
#[derive(Serialize)]
pub struct Census {
    /// The numbers of `INFO rl`, by field.
    pub counters: BTreeMap<String, u64>,
    /// Heaviest first.
    pub top: Vec<Offender>,
}

impl Census {
    /// Asks every server.
    ///
    /// # Errors
    /// There is no server, or one does not answer in time or not as expected.
    pub async fn take(link: &Link) -> RedisResult<Self> {
        let mut info = redis::cmd("INFO");
        info.arg("rl");
        let both = async { tokio::try_join!(link.call_all(info), top(link)) };
        let (infos, top) = timeout(PATIENCE, both)
            .await
            .map_err(std::io::Error::from)??;
        let mut counters = BTreeMap::new();
        for info in infos {
            for (field, value) in String::from_redis_value(info)?.lines().filter_map(number) {
                *counters.entry(field.to_owned()).or_default() += value;
            }
        }
        Ok(Self { counters, top })
    }

    /// The same as metrics.
    ///
    /// # Errors
    /// Two metrics of one name.
    pub fn metrics(&self) -> prometheus::Result<Registry> {
        let registry = Registry::new();
        for (field, help) in COUNTERS {
            if let Some(&value) = self.counters.get(field) {
                let counter = IntCounter::new(format!("{field}_total"), help)?;
                counter.inc_by(value);
                registry.register(Box::new(counter))?;
            }
        }
        let errors = Opts::new(
            "rl_errors_total",
            "Calls that ended with an error, by kind.",
        );
        let errors = IntCounterVec::new(errors, &["kind"])?;
        for (field, &value) in &self.counters {
            if let Some(kind) = field.strip_prefix(ERRORS) {
                errors.with_label_values(&[kind]).inc_by(value);
            }
        }
        let top = Opts::new(
            "rl_top_denials",
            "Denials of the keys denied most, at the most.",
        );
        let top = IntGaugeVec::new(top, &["key"])?;
        for offender in &self.top {
            top.with_label_values(&[&offender.shown])
                .set(offender.denials as i64);
        }
        registry.register(Box::new(errors))?;
        registry.register(Box::new(top))?;
        Ok(registry)
    }
}

/// The keys denied most.
///
/// # Errors
/// As [`Census::take`].
pub async fn top(link: &Link) -> RedisResult<Vec<Offender>> {
    let mut command = redis::cmd("RL.TOP");
    command.arg(TOP);
    let mut top = Vec::new();
    for answer in link.call_all(command).await? {
        for (key, denials, error, since) in
            <Vec<(Vec<u8>, u64, u64, u64)>>::from_redis_value(answer)?
        {
            top.push(Offender {
                shown: key.escape_ascii().to_string(),
                key,
                denials,
                error,
                since,
            });
        }
    }
    top.sort_by_key(|offender| std::cmp::Reverse(offender.denials));
    top.truncate(TOP);
    Ok(top)
}

fn number(line: &str) -> Option<(&str, u64)> {
    let (field, value) = line.split_once(':')?;
    Some((field, value.parse().ok()?))
}
