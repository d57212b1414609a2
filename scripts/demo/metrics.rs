//! The demo's own counters, and their Prometheus text.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::limit::Limit;

/// The outcome of a request, in the order of [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Allowed,
    Refused,
    FailedOpen,
    FailedClosed,
    /// Not limited.
    Exempt,
    /// The caller is not identified clearly.
    Invalid,
}

/// The labels of outcomes in metrics, in their order.
const NAMES: [&str; 6] = [
    "allowed",
    "refused",
    "failed_open",
    "failed_closed",
    "exempt",
    "invalid",
];

/// Upper bounds of the histogram, in seconds; what took longer is in one more.
const BOUNDS: [f64; 13] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
];

/// The demo's own counters.
pub struct Metrics {
    /// Requests that each limit denied.
    pub denied: Vec<AtomicU64>,
    /// Requests that hold their slots now.
    pub holding: AtomicU64,
    requests: [AtomicU64; NAMES.len()],
    /// Takes between a bound and the one before.
    takes: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Metrics {
    /// Creates the counters of a demo with this number of limits.
    pub fn of(limits: usize) -> Self {
        Self {
            denied: (0..limits).map(|_| AtomicU64::new(0)).collect(),
            holding: AtomicU64::new(0),
            requests: Default::default(),
            takes: Default::default(),
            nanos: AtomicU64::new(0),
        }
    }

    /// Counts a request.
    pub fn count(&self, outcome: Outcome) {
        self.requests[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how long the store took.
    pub fn took(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = BOUNDS.partition_point(|&bound| bound < seconds);
        self.takes[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Requests so far: allowed, denied, failed open, failed closed.
    pub fn outcomes(&self) -> [u64; 4] {
        std::array::from_fn(|outcome| get(&self.requests[outcome]))
    }

    /// Returns the bounds in seconds, each with the number of takes up to it.
    pub fn takes(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let mut sum = 0;
        BOUNDS.iter().zip(&self.takes).map(move |(&bound, count)| {
            sum += get(count);
            (bound, sum)
        })
    }

    /// Returns the number of takes.
    pub fn all_takes(&self) -> u64 {
        self.takes.iter().map(get).sum()
    }

    /// Writes all metrics.
    pub fn expose(&self, limits: &[Limit], to: &mut Exposition) {
        for (outcome, count) in NAMES.iter().zip(&self.requests) {
            let help = "Requests by what became of them.";
            let outcome = label("outcome", outcome);
            to.sample("demo_requests_total", help, &outcome, get(count));
        }
        for (limit, denied) in limits.iter().zip(&self.denied) {
            let labels = label("kind", limit.kind()) + &label("limit", &limit.name);
            let help = "The most that the limit gives: a burst, a window's limit, slots.";
            to.sample("demo_limit_quota", help, &labels, limit.quota);
            let help = "Requests that this limit denied.";
            to.sample("demo_limit_denied_total", help, &labels, get(denied));
            if limit.ttl().is_some() {
                let help = "Slots that requests of this demo hold now.";
                to.sample("demo_leases_held", help, &labels, get(&self.holding));
            }
        }
        let take = "demo_take_duration_seconds";
        let help = "Time until the store answered, or was given up on.";
        let bounds = self
            .takes()
            .map(|(bound, count)| (bound.to_string(), count));
        for (bound, count) in bounds.chain([("+Inf".to_owned(), self.all_takes())]) {
            to.part(take, "_bucket", help, &label("le", &bound), count);
        }
        let seconds = Duration::from_nanos(get(&self.nanos)).as_secs_f64();
        to.part(take, "_sum", help, "", seconds);
        to.part(take, "_count", help, "", self.all_takes());
    }
}

/// Reads a counter.
pub fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// Prometheus' text format.
#[derive(Default)]
pub struct Exposition {
    /// Each metric by its name.
    metrics: BTreeMap<String, String>,
    /// The label of the store that samples are of.
    store: String,
}

impl Exposition {
    /// Sets the store of the samples that follow.
    pub fn of(&mut self, store: &str) {
        self.store = label("store", store);
    }

    /// Writes a number of a counter, whose name ends with `_total`, or of a gauge.
    pub fn sample(&mut self, name: &str, help: &str, labels: &str, value: impl Display) {
        self.part(name, "", help, labels, value);
    }

    /// Writes a number of a metric; only the parts of a histogram have a suffix.
    fn part(&mut self, name: &str, suffix: &str, help: &str, labels: &str, value: impl Display) {
        let kind = match suffix {
            "" if name.ends_with("_total") => "counter",
            "" => "gauge",
            _ => "histogram",
        };
        let header = || format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        let metric = self.metrics.entry(name.to_owned()).or_insert_with(header);
        let labels = format!("{labels}{}", self.store);
        let _ = writeln!(
            metric,
            "{name}{suffix}{{{}}} {value}",
            labels.trim_end_matches(',')
        );
    }

    /// Returns the text.
    pub fn text(self) -> String {
        self.metrics.into_values().collect()
    }
}

/// Returns a label and a comma, or nothing if its value is empty. Values are printable ASCII.
pub fn label(name: &str, value: &str) -> String {
    match value {
        "" => String::new(),
        value => format!("{name}={value:?},"),
    }
}
