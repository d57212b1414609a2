//! The counters of stores: their form, their reading from servers, and their metrics.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use redis::{cmd, FromRedisValue, RedisResult};

use crate::connection::{useless, Connection, NO_MODULE};
use crate::metrics::{label, Exposition};

/// Number of top denied keys that a store is asked for.
pub const TOP: usize = 1000;
/// Number of top denied keys that become a series in Prometheus.
const RANKS: usize = 10;
/// `RL.TOP` replies with no more bytes of a key: one that long may be the start of another.
const CUT: usize = 256;

/// A store's own counters.
#[derive(Clone, Default)]
pub struct Census {
    /// The numbers of `INFO rl` of each master, by its address if there are several, and by field.
    pub counters: BTreeMap<String, BTreeMap<String, u64>>,
    /// Heaviest first.
    pub top: Vec<Offender>,
    /// The store's name and version, and the module's.
    pub about: String,
    /// The run of the store; another run starts from zero.
    pub run: String,
}

/// A key that was denied.
#[derive(Clone)]
pub struct Offender {
    pub key: Vec<u8>,
    pub denials: u64,
    /// The largest possible overcount.
    pub error: u64,
    /// Milliseconds since the last denial.
    pub since: u64,
}

impl Offender {
    /// Returns the key in printable ASCII; different keys give different texts.
    pub fn shown(&self) -> String {
        self.key.escape_ascii().to_string()
    }

    /// Returns whether this is the whole key.
    pub fn is_whole(&self) -> bool {
        self.key.len() < CUT
    }
}

/// Reads the counters of every master.
///
/// # Errors
/// One does not answer, or does not have the module.
pub async fn count(connection: &mut Connection) -> RedisResult<Census> {
    let mut census = Census::default();
    let (mut module, mut server) = (String::new(), String::new());
    for (node, info) in info(connection, "rl").await? {
        let version = field(&info, "rl_version");
        let version = version.ok_or_else(|| useless(&format!("{node} {NO_MODULE}")))?;
        version.clone_into(&mut module);
        let fields = info.lines().filter_map(|line| line.split_once(':'));
        let numbers = fields.filter_map(|(name, n)| Some((name.to_owned(), n.parse().ok()?)));
        census.counters.insert(node, numbers.collect());
    }
    for (_, info) in info(connection, "server").await? {
        server = match (
            field(&info, "valkey_version"),
            field(&info, "redis_version"),
        ) {
            (Some(version), _) => format!("Valkey {version}"),
            (None, version) => format!("Redis {}", version.unwrap_or("")),
        };
        census.run += field(&info, "run_id").unwrap_or("");
    }
    let nodes = match census.counters.len() {
        1 => String::new(),
        several => format!(", {several} masters"),
    };
    census.about = format!("{server}, redis-rl {module}{nodes}");
    let top = connection.send_to_all(cmd("RL.TOP").arg(TOP).take());
    for (_, top) in top.await? {
        let top = <Vec<(Vec<u8>, u64, u64, u64)>>::from_redis_value(top)?;
        census.top.extend(
            top.into_iter()
                .map(|(key, denials, error, since)| Offender {
                    key,
                    denials,
                    error,
                    since,
                }),
        );
    }
    census.top.sort_by_key(|offender| Reverse(offender.denials));
    census.top.truncate(TOP);
    Ok(census)
}

/// Returns a section of `INFO` of every master, in a fixed order.
async fn info(connection: &mut Connection, section: &str) -> RedisResult<BTreeMap<String, String>> {
    let infos = connection
        .send_to_all(cmd("INFO").arg(section).take())
        .await?;
    let infos = infos.into_iter();
    let infos = infos.map(|(node, info)| Ok((node, String::from_redis_value(info)?)));
    infos.collect()
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = info.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// Writes a store's counters: every number of `INFO rl`, and the denials of the top denied keys.
pub fn expose(census: &Census, to: &mut Exposition) {
    for (node, counters) in &census.counters {
        let node = label("node", node);
        for (field, value) in counters {
            let help = format!("{field} of INFO rl.");
            if let Some(kind) = field.strip_prefix("rl_errors_") {
                let labels = label("kind", kind) + &node;
                to.sample(
                    "rl_errors_total",
                    "Calls that failed, by kind.",
                    &labels,
                    value,
                );
            } else if field == "rl_lease_waiting" {
                to.sample(field, &help, &node, value);
            } else {
                to.sample(&format!("{field}_total"), &help, &node, value);
            }
        }
    }
    // Not the key: callers choose it, and each would be a series of its own for ever.
    for (rank, offender) in (1..=RANKS).zip(&census.top) {
        let help = "Denials of the top denied keys, at most. RL.TOP names the keys.";
        let rank = label("rank", &rank.to_string());
        to.sample("rl_top_denials", help, &rank, offender.denials);
    }
}
