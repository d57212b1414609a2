//! The demo's own counters, and their Prometheus text.

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

/// The counters of one limit.
struct OfLimit {
    name: String,
    kind: &'static str,
    quota: u64,
    denied: AtomicU64,
    /// Slots that requests hold now; `None` if it is not by them that it limits.
    held: Option<AtomicU64>,
}

/// The demo's own counters.
pub struct Metrics {
    limits: Vec<OfLimit>,
    requests: [AtomicU64; NAMES.len()],
    /// Takes between a bound and the one before.
    takes: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Metrics {
    /// Creates the counters of a demo with these limits.
    pub fn of(limits: &[Box<dyn Limit>]) -> Self {
        let limits = limits.iter().map(|limit| OfLimit {
            name: limit.name().to_owned(),
            kind: limit.about().kind,
            denied: AtomicU64::new(0),
            quota: limit.about().quota,
            held: limit.lease().map(|_| AtomicU64::new(0)),
        });
        Self {
            limits: limits.collect(),
            requests: Default::default(),
            takes: Default::default(),
            nanos: AtomicU64::new(0),
        }
    }

    /// Counts a request that some of the limits denied: for each whether it did.
    pub fn denied(&self, by: impl Iterator<Item = bool>) {
        for (limit, denied) in self.limits.iter().zip(by) {
            limit.denied.fetch_add(denied.into(), Ordering::Relaxed);
        }
    }

    /// Requests that each limit denied so far.
    pub fn denials(&self) -> impl Iterator<Item = u64> + '_ {
        let limits = self.limits.iter();
        limits.map(|limit| limit.denied.load(Ordering::Relaxed))
    }

    /// Records that a request holds its slots.
    pub fn holds(&self) {
        for held in self.limits.iter().filter_map(|limit| limit.held.as_ref()) {
            held.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records that it released them.
    pub fn freed(&self) {
        for held in self.limits.iter().filter_map(|limit| limit.held.as_ref()) {
            held.fetch_sub(1, Ordering::Relaxed);
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
        std::array::from_fn(|outcome| self.requests[outcome].load(Ordering::Relaxed))
    }

    /// Returns the bounds in seconds, each with the number of takes up to it.
    pub fn takes(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let mut sum = 0;
        BOUNDS.iter().zip(&self.takes).map(move |(&bound, count)| {
            sum += count.load(Ordering::Relaxed);
            (bound, sum)
        })
    }

    /// Returns the number of takes.
    pub fn all_takes(&self) -> u64 {
        self.takes.iter().map(|n| n.load(Ordering::Relaxed)).sum()
    }

    /// Writes all metrics.
    pub fn expose(&self, to: &mut Exposition) {
        let requests = "demo_requests_total";
        to.metric(requests, "counter", "Requests by what became of them.");
        for (outcome, count) in NAMES.iter().zip(&self.requests) {
            let count = count.load(Ordering::Relaxed);
            to.sample(requests, &format!("outcome=\"{outcome}\""), count);
        }
        self.expose_limits(to);
        let take = "demo_take_duration_seconds";
        let help = "Time until the store answered, or was given up on.";
        to.metric(take, "histogram", help);
        for (bound, count) in self.takes() {
            to.sample(&format!("{take}_bucket"), &format!("le=\"{bound}\""), count);
        }
        let all = self.all_takes();
        let seconds = Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64();
        to.sample(&format!("{take}_bucket"), "le=\"+Inf\"", all);
        to.sample(&format!("{take}_sum"), "", seconds);
        to.sample(&format!("{take}_count"), "", all);
    }

    /// Writes the metrics of each limit, labelled.
    fn expose_limits(&self, to: &mut Exposition) {
        let label =
            |limit: &OfLimit| format!("kind=\"{}\",limit=\"{}\"", limit.kind, escaped(&limit.name));
        let quota = "demo_limit_quota";
        let help = "The most that the limit gives: a burst, a window's limit, slots.";
        to.metric(quota, "gauge", help);
        for limit in &self.limits {
            to.sample(quota, &label(limit), limit.quota);
        }
        let denied = "demo_limit_denied_total";
        to.metric(denied, "counter", "Requests that this limit denied.");
        for limit in &self.limits {
            to.sample(denied, &label(limit), limit.denied.load(Ordering::Relaxed));
        }
        let mut leases = self.limits.iter();
        let held = "demo_leases_held";
        if leases.any(|limit| limit.held.is_some()) {
            to.metric(held, "gauge", "Slots that requests of this demo hold now.");
        }
        for limit in &self.limits {
            if let Some(count) = &limit.held {
                to.sample(held, &label(limit), count.load(Ordering::Relaxed));
            }
        }
    }
}

/// Prometheus' text format.
#[derive(Default)]
pub struct Exposition {
    pub text: String,
    /// The label of the store that samples are of.
    store: String,
}

impl Exposition {
    /// Sets the store of the samples that follow.
    pub fn of(&mut self, store: &str) {
        self.store = format!("store=\"{}\"", escaped(store));
    }

    /// Begins a metric; its samples follow.
    pub fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// Writes one number; `labels` comes without the braces.
    pub fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let comma = if labels.is_empty() { "" } else { "," };
        let _ = writeln!(self.text, "{name}{{{labels}{comma}{}}} {value}", self.store);
    }
}

/// Escapes printable ASCII for a label's quotes and for a JSON string.
pub fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
