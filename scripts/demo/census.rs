//! What the store itself counts, and the keys denied most.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::metrics::{escaped, Exposition};
use crate::store::{Store, StoreError};

/// Keys that the store is asked for.
pub const TOP: usize = 1000;
/// Of these, so many become a label in Prometheus.
const RANKS: usize = 10;
/// `RL.TOP` tells no more of a key than so many bytes: one that long may stand for another.
const CUT: usize = 256;
/// A census this young is as good as a new one.
const FRESH: Duration = Duration::from_millis(900);

/// Fields of `INFO rl` that become a metric, with its help.
const COUNTERS: [(&str, &str); 20] = [
    ("rl_takes_allowed", "Takes that got their tokens."),
    ("rl_takes_denied", "Takes that got none."),
    ("rl_tokens_taken", "Tokens taken."),
    ("rl_tokens_given", "Tokens given back."),
    ("rl_tokens_forced", "Tokens taken into debt."),
    ("rl_tokens_reserved", "Tokens reserved with waiting."),
    ("rl_peeks", "Peeks."),
    ("rl_buckets_created", "Buckets created."),
    (
        "rl_window_takes_allowed",
        "Takes from windows that got what they asked for.",
    ),
    (
        "rl_window_takes_denied",
        "Takes from windows that got nothing.",
    ),
    ("rl_window_tokens_taken", "Charged to windows."),
    ("rl_window_tokens_given", "Given back to windows."),
    (
        "rl_window_tokens_forced",
        "Charged to windows beyond their limit.",
    ),
    ("rl_window_peeks", "Peeks at windows."),
    ("rl_window_created", "Windows opened."),
    ("rl_lease_acquired", "Leases acquired."),
    ("rl_lease_denied", "Acquires that got none."),
    ("rl_lease_renewed", "Leases renewed."),
    ("rl_lease_released", "Leases released."),
    (
        "rl_lease_trimmed",
        "Leases that ended by themselves and were cleared away.",
    ),
];
/// The fields that count errors begin so and go on with the kind.
const ERRORS: &str = "rl_errors_";

/// A key that was denied.
#[derive(Clone)]
pub struct Offender {
    pub key: Vec<u8>,
    pub denials: u64,
    /// By how much that may be too high.
    pub error: u64,
    /// Milliseconds since the last denial.
    pub since: u64,
}

impl Offender {
    /// The key in printable ASCII, no two keys alike.
    pub fn shown(&self) -> String {
        self.key.escape_ascii().to_string()
    }

    /// Whether this is the whole key.
    pub fn is_whole(&self) -> bool {
        self.key.len() < CUT
    }
}

/// All that the store tells.
#[derive(Clone)]
pub struct Census {
    /// The numbers of `INFO rl`, by field.
    pub counters: BTreeMap<String, u64>,
    /// Heaviest first.
    pub top: Vec<Offender>,
    /// Servers that share the keys.
    pub nodes: usize,
    /// The module's version.
    pub module: String,
    /// What the store is, with its version.
    pub server: String,
}

impl Census {
    /// The same as metrics.
    pub fn expose(&self, to: &mut Exposition) {
        for (field, help) in COUNTERS {
            if let Some(value) = self.counters.get(field) {
                let name = format!("{field}_total");
                to.metric(&name, "counter", help);
                to.sample(&name, "", value);
            }
        }
        let errors = "rl_errors_total";
        to.metric(
            errors,
            "counter",
            "Calls that ended with an error, by kind.",
        );
        for (field, value) in &self.counters {
            if let Some(kind) = field.strip_prefix(ERRORS) {
                to.sample(errors, &format!("kind=\"{}\"", escaped(kind)), value);
            }
        }
        let top = "rl_top_denials";
        to.metric(
            top,
            "gauge",
            "Denials of the keys denied most, at the most. RL.TOP names them.",
        );
        // Not the key: callers choose it, and each would be a series of its own for ever.
        for (rank, offender) in (1..).zip(self.top.iter().take(RANKS)) {
            let label = format!("rank=\"{rank}\"");
            to.sample(top, &label, offender.denials);
        }
    }
}

type Taken = Result<Census, StoreError>;

/// One census for all who look, so that however many they are the store is asked once a second.
pub struct SharedCensus {
    store: Arc<dyn Store>,
    last: Mutex<Option<(Instant, Arc<Taken>)>>,
}

impl SharedCensus {
    pub fn of(store: Arc<dyn Store>) -> Self {
        let last = Mutex::new(None);
        Self { store, last }
    }

    /// What the store tells, or told less than a second ago.
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
