//! The grant of a request, and its refund.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout, Instant};

use super::state::Limiter;
use crate::limit::Ask;
use crate::store::{Owed, Store};

/// Maximum time for which a refund waits for a missing store.
const GIVING_BACK: Duration = Duration::from_secs(10);
/// Maximum time for which refunds delay the end of the demo.
const LAST: Duration = Duration::from_secs(3);

/// The grant of a request. When it is dropped, because the reply came too late, the client has gone
/// or the request is done, everything owed is refunded.
pub struct Grant {
    limiter: Arc<Limiter>,
    /// The store that gave it.
    store: Arc<dyn Store>,
    ask: Arc<Ask>,
    owed: Owed,
    renewal: Option<JoinHandle<()>>,
}

impl Grant {
    pub fn new(limiter: Arc<Limiter>, store: Arc<dyn Store>, ask: Arc<Ask>) -> Self {
        limiter.metrics.holding.fetch_add(1, Ordering::Relaxed);
        Self {
            limiter,
            store,
            ask,
            owed: Owed::Everything,
            renewal: None,
        }
    }

    /// Records that the request is served: its cost is spent. Leases are renewed, and released when
    /// the response is sent.
    pub fn spend(mut self) -> Option<Self> {
        self.owed = Owed::Slots;
        let every = self.limiter.demand.renew_every()?;
        let (limiter, store, ask) = (self.limiter.clone(), self.store.clone(), self.ask.clone());
        let renewal = async move { limiter.renew(&*store, &ask, every).await };
        self.renewal = Some(tokio::spawn(renewal));
        Some(self)
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if let Some(renewal) = &self.renewal {
            renewal.abort();
        }
        let (limiter, store) = (self.limiter.clone(), self.store.clone());
        let (ask, owed) = (self.ask.clone(), self.owed);
        limiter.refunds.send_modify(|count| *count += 1);
        tokio::spawn(async move {
            if owed == Owed::Everything || limiter.demand.renew_every().is_some() {
                limiter.give_back(&*store, &ask, owed).await;
            }
            limiter.metrics.holding.fetch_sub(1, Ordering::Relaxed);
            limiter.refunds.send_modify(|count| *count -= 1);
        });
    }
}

impl Limiter {
    /// Refunds; waits for a missing store, but not for ever.
    async fn give_back(&self, store: &dyn Store, ask: &Ask, owed: Owed) {
        let start = Instant::now();
        while !store.is_up() && start.elapsed() < GIVING_BACK {
            sleep(Duration::from_millis(50)).await;
        }
        if let Err(error) = store.give_back(&self.demand, ask, owed).await {
            let what = "what was taken could not be given back";
            self.warnings.warn(&format!("{what}: {error}"));
        }
    }

    /// Renews the slots of a request for as long as it has them all.
    async fn renew(&self, store: &dyn Store, ask: &Ask, every: Duration) {
        loop {
            sleep(every).await;
            match store.renew(&self.demand, ask).await {
                Ok(true) => {}
                Ok(false) => {
                    let lost = "a slot was lost before its request ended";
                    return self.warnings.warn(lost);
                }
                Err(error) => {
                    let what = "a slot could not be renewed";
                    self.warnings.warn(&format!("{what}: {error}"));
                }
            }
        }
    }

    /// Waits until all refunds are made, but not for long.
    pub async fn is_settled(&self) {
        let mut refunds = self.refunds.subscribe();
        let _ = timeout(LAST, refunds.wait_for(|&count| count == 0)).await;
    }
}
