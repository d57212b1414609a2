//! The counters of stores, shared by all readers, and as metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redis::FromRedisValue;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::connection::{Connection, NO_MODULE};
use crate::metrics::{escaped, Exposition};
use crate::store::{Census, Offender, Store, StoreError, TOP};

/// Number of top denied keys that become a series in Prometheus.
const RANKS: usize = 10;
/// A census this young is as good as a new one.
const FRESH: Duration = Duration::from_millis(900);

/// Fields of `INFO rl` that become a metric, each with its help.
const COUNTERS: &str = "\
rl_takes_allowed Takes that got their tokens.
rl_takes_denied Takes that got none.
rl_tokens_taken Tokens taken.
rl_tokens_given Tokens refunded.
rl_tokens_forced Tokens taken into debt.
rl_tokens_reserved Tokens reserved with waiting.
rl_peeks Peeks.
rl_buckets_created Buckets created.
rl_window_takes_allowed Takes from windows that got what they asked for.
rl_window_takes_denied Takes from windows that got nothing.
rl_window_tokens_taken Charged to windows.
rl_window_tokens_given Refunded to windows.
rl_window_tokens_forced Charged to windows beyond their limit.
rl_window_peeks Peeks at windows.
rl_window_created Windows opened.
rl_lease_acquired Leases acquired.
rl_lease_denied Acquires that got none.
rl_lease_renewed Leases renewed.
rl_lease_released Leases released.
rl_lease_trimmed Leases that expired and were removed.
rl_lease_waits Calls that had to wait for a slot.
rl_lease_waits_granted Waits that ended with a slot.
rl_lease_waits_timed_out Waits that ended in a denial.
rl_lease_waits_left Waits that ended otherwise.
rl_holds_made Holds made.
rl_holds_repeated Holds made again by a repeat.
rl_holds_settled Holds settled.
rl_holds_settled_late Holds settled after their deadline.
rl_holds_unknown Settlements of a hold that is not known.
rl_holds_returned Overdue holds that were refunded.
rl_holds_dropped Records dropped from a full table.
rl_holds_walks Walks over the records of a holds key.";
/// The same for gauges.
const GAUGES: &str = "rl_lease_waiting Callers that wait for a slot now.";
/// The fields that count errors begin so and go on with the kind.
const ERRORS: &str = "rl_errors_";

/// Reads the counters of every master.
///
/// # Errors
/// One does not answer, or does not have the module.
pub async fn count(connection: &mut Connection) -> Result<Census, StoreError> {
    let mut census = Census::default();
    let (mut module, mut server) = (String::new(), String::new());
    for (node, info) in info(connection, "rl").await? {
        let version = field(&info, "rl_version");
        let version = version.ok_or_else(|| StoreError::Refused(format!("{node} {NO_MODULE}")))?;
        version.clone_into(&mut module);
        let numbers = info.lines().filter_map(number);
        let numbers = numbers.map(|(field, value)| (field.to_owned(), value));
        census.counters.insert(node, numbers.collect());
    }
    for (_, info) in info(connection, "server").await? {
        server = named(&info);
        census.run += field(&info, "run_id").unwrap_or("");
    }
    let nodes = match census.counters.len() {
        1 => String::new(),
        several => format!(", {several} masters"),
    };
    census.about = format!("{server}, redis-rl {module}{nodes}");
    census.top = top(connection).await?;
    Ok(census)
}

/// Returns a section of `INFO` of every master, in a fixed order.
async fn info(
    connection: &mut Connection,
    section: &str,
) -> Result<BTreeMap<String, String>, StoreError> {
    let mut info = redis::cmd("INFO");
    info.arg(section);
    let infos = connection.send_to_all(info).await?.into_iter();
    let infos = infos.map(|(node, info)| Ok((node, String::from_redis_value(info)?)));
    infos.collect()
}

async fn top(connection: &mut Connection) -> Result<Vec<Offender>, StoreError> {
    let mut command = redis::cmd("RL.TOP");
    command.arg(TOP);
    let mut top = Vec::new();
    for (_, answer) in connection.send_to_all(command).await? {
        for (key, denials, error, since) in
            <Vec<(Vec<u8>, u64, u64, u64)>>::from_redis_value(answer)?
        {
            top.push(Offender {
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

/// `Redis 7.0.15`, or `Valkey 9.1.0`, from `INFO server`.
fn named(info: &str) -> String {
    match (field(info, "valkey_version"), field(info, "redis_version")) {
        (Some(version), _) => format!("Valkey {version}"),
        (None, Some(version)) => format!("Redis {version}"),
        (None, None) => String::new(),
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = info.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

fn number(line: &str) -> Option<(&str, u64)> {
    let (field, value) = line.split_once(':')?;
    Some((field, value.parse().ok()?))
}

/// Writes the counters of stores, each with its name, as metrics.
pub fn expose(stores: &[(&str, &Census)], to: &mut Exposition) {
    let counters = COUNTERS.lines().map(|line| (line, "counter", "_total"));
    let gauges = GAUGES.lines().map(|line| (line, "gauge", ""));
    for (line, kind, suffix) in counters.chain(gauges) {
        let (field, help) = line.split_once(' ').unwrap_or((line, ""));
        let name = format!("{field}{suffix}");
        to.metric(&name, kind, help);
        for (store, census) in stores {
            to.of(store);
            for (node, counters) in &census.counters {
                let value = counters.get(field).copied().unwrap_or(0);
                to.sample(&name, &label("node", node), value);
            }
        }
    }
    let errors = "rl_errors_total";
    to.metric(errors, "counter", "Calls that failed, by kind of error.");
    for (store, census) in stores {
        to.of(store);
        for (node, counters) in &census.counters {
            for (field, value) in counters {
                if let Some(kind) = field.strip_prefix(ERRORS) {
                    let labels = [label("kind", kind), label("node", node)];
                    to.sample(errors, labels.join(",").trim_end_matches(','), value);
                }
            }
        }
    }
    let top = "rl_top_denials";
    let help = "Denials of the top denied keys, at most. RL.TOP names the keys.";
    to.metric(top, "gauge", help);
    for (store, census) in stores {
        to.of(store);
        // Not the key: callers choose it, and each would be a series of its own for ever.
        for (rank, offender) in (1..=RANKS).zip(&census.top) {
            to.sample(top, &label("rank", &rank.to_string()), offender.denials);
        }
    }
}

/// Returns a label, or nothing if its value is empty.
fn label(name: &str, value: &str) -> String {
    match value {
        "" => String::new(),
        value => format!("{name}=\"{}\"", escaped(value)),
    }
}

type Taken = Result<Census, StoreError>;

/// A census shared by all readers, so that the store is asked once a second.
pub struct SharedCensus {
    store: Arc<dyn Store>,
    last: Mutex<Option<(Instant, Arc<Taken>)>>,
}

impl SharedCensus {
    pub fn of(store: Arc<dyn Store>) -> Self {
        let last = Mutex::new(None);
        Self { store, last }
    }

    /// Returns the store's counters, of now or of less than a second ago.
    pub async fn get(&self) -> Arc<Taken> {
        let mut last = self.last.lock().await;
        if let Some((at, census)) = &*last {
            if at.elapsed() < FRESH {
                return census.clone();
            }
        }
        let census = Arc::new(self.store.census().await);
        *last = Some((Instant::now(), census.clone()));
        census
    }
}
