//! The one limiter that all requests share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::caller::KeyBy;
use crate::cost::Costs;
use crate::limit::Demand;
use crate::log::Warnings;
use crate::metrics::Metrics;
use crate::store::Store;

/// The treatment of requests while the store does not reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fail {
    /// The same limits apply, kept in this process.
    Open,
    /// The request is refused with 503.
    Closed,
}

/// One shared limiter.
pub struct Limiter {
    pub store: Arc<dyn Store>,
    /// Decides while the store gives no answer, by the same limits for this process alone.
    pub fallback: Arc<dyn Store>,
    pub demand: Demand,
    pub key_by: KeyBy,
    pub costs: Costs,
    /// The timeout of the store.
    pub timeout: Duration,
    pub fail: Fail,
    /// Cancelled when the demo is stopping.
    pub stopping: CancellationToken,
    pub warnings: Warnings,
    pub metrics: Metrics,
    /// The number of refunds in progress.
    pub refunds: watch::Sender<usize>,
}
