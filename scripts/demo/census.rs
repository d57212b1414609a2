//! A census shared by all readers, and its metrics.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::metrics::{escaped, Exposition};
use crate::store::{Census, Store, StoreError};

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
rl_lease_trimmed Leases that expired and were removed.";
/// The fields that count errors begin so and go on with the kind.
const ERRORS: &str = "rl_errors_";

/// Writes a census as metrics.
pub fn expose(census: &Census, to: &mut Exposition) {
    for (field, help) in COUNTERS.lines().filter_map(|line| line.split_once(' ')) {
        if let Some(value) = census.counters.get(field) {
            let name = format!("{field}_total");
            to.metric(&name, "counter", help);
            to.sample(&name, "", value);
        }
    }
    let errors = "rl_errors_total";
    to.metric(errors, "counter", "Calls that failed, by kind of error.");
    for (field, value) in &census.counters {
        if let Some(kind) = field.strip_prefix(ERRORS) {
            to.sample(errors, &format!("kind=\"{}\"", escaped(kind)), value);
        }
    }
    let top = "rl_top_denials";
    let help = "Denials of the top denied keys, at most. RL.TOP names the keys.";
    to.metric(top, "gauge", help);
    // Not the key: callers choose it, and each would be a series of its own for ever.
    for (rank, offender) in (1..).zip(census.top.iter().take(RANKS)) {
        to.sample(top, &format!("rank=\"{rank}\""), offender.denials);
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
