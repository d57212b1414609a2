//! What the demo counts about itself, for Prometheus and for the dashboard.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Allowed,
    Delayed,
    Refused,
    FailedOpen,
    FailedClosed,
}

impl Outcome {
    const ALL: [Self; 5] = [
        Self::Allowed,
        Self::Delayed,
        Self::Refused,
        Self::FailedOpen,
        Self::FailedClosed,
    ];

    /// The label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Delayed => "delayed",
            Self::Refused => "refused",
            Self::FailedOpen => "failed_open",
            Self::FailedClosed => "failed_closed",
        }
    }
}

/// The demo's own counters.
pub struct Metrics {
    pub registry: Registry,
    requests: IntCounterVec,
    take: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let requests = IntCounterVec::new(
            Opts::new("demo_requests_total", "Requests by what became of them."),
            &["outcome"],
        );
        let take = Histogram::with_opts(
            HistogramOpts::new(
                "demo_take_duration_seconds",
                "Time until the store answered, or was given up on.",
            )
            .buckets(vec![
                0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                1.0,
            ]),
        );
        let (requests, take) = (requests.expect("a valid name"), take.expect("a valid name"));
        let registry = Registry::new();
        let both: [Box<dyn Collector>; 2] = [Box::new(requests.clone()), Box::new(take.clone())];
        for collector in both {
            registry.register(collector).expect("names differ");
        }
        // So that a rate is known from the first request of each kind on.
        for outcome in Outcome::ALL {
            requests.with_label_values(&[outcome.name()]);
        }
        Self {
            registry,
            requests,
            take,
        }
    }
}

impl Metrics {
    /// Counts a request.
    pub fn count(&self, outcome: Outcome) {
        self.requests.with_label_values(&[outcome.name()]).inc();
    }

    /// Notes how long the store took.
    pub fn took(&self, time: Duration) {
        self.take.observe(time.as_secs_f64());
    }

    /// Requests so far, by outcome.
    pub fn requests(&self) -> [(&'static str, u64); 5] {
        Outcome::ALL.map(|o| (o.name(), self.requests.with_label_values(&[o.name()]).get()))
    }

    /// How many takes so far took at most how many seconds.
    pub fn takes(&self) -> Vec<(f64, u64)> {
        let families = self.take.collect();
        let histograms = families.iter().flat_map(|family| family.get_metric());
        let buckets = histograms.flat_map(|metric| metric.get_histogram().get_bucket());
        buckets
            .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()))
            .collect()
    }
}
