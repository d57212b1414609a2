//! The grant of a request, and its refund.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout, Instant};

use super::Limiter;
use crate::limit::Ask;
use crate::store::{Store, StoreError};

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

/// The part to be refunded.
#[derive(Clone, Copy)]
enum Owed {
    /// All, since the request is not served.
    Everything,
    /// Only the leases, which are held while the request is served.
    Leases,
}

impl Grant {
    pub fn new(limiter: Arc<Limiter>, store: Arc<dyn Store>, ask: Arc<Ask>) -> Self {
        limiter.metrics.holds();
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
        self.owed = Owed::Leases;
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
        let has_leases = self.limiter.demand.renew_every().is_some();
        if has_leases || matches!(self.owed, Owed::Everything) {
            let back = GoingBack::begins(self.limiter.clone());
            let (store, ask, owed) = (self.store.clone(), self.ask.clone(), self.owed);
            tokio::spawn(async move { back.0.give_back(&*store, &ask, owed).await });
        }
    }
}

impl Limiter {
    /// Refunds; waits for a missing store, but not for ever.
    async fn give_back(&self, store: &dyn Store, ask: &Ask, owed: Owed) {
        let start = Instant::now();
        while !store.is_up() && start.elapsed() < GIVING_BACK {
            sleep(Duration::from_millis(50)).await;
        }
        let back = match owed {
            Owed::Everything => store.give_back(&self.demand, ask),
            Owed::Leases => store.release(&self.demand, ask),
        };
        if let Err(error) = back.await {
            let what = "what was taken could not be given back";
            self.warnings.warn(&format!("{what}: {error}"));
        }
    }

    /// Renews what a request holds for as long as it holds it all.
    async fn renew(&self, store: &dyn Store, ask: &Ask, every: Duration) {
        loop {
            sleep(every).await;
            match store.renew(&self.demand, ask).await {
                Ok(true) => {}
                Ok(false) => {
                    return self
                        .warnings
                        .warn("a slot was lost before its request ended")
                }
                Err(error) => self.warn_of_renewal(&error),
            }
        }
    }

    fn warn_of_renewal(&self, error: &StoreError) {
        let what = "a slot could not be renewed";
        self.warnings.warn(&format!("{what}: {error}"));
    }

    /// Waits until what goes back has gone, but not for long.
    pub async fn is_settled(&self) {
        let mut going_back = self.going_back.subscribe();
        let _ = timeout(LAST, going_back.wait_for(|&count| count == 0)).await;
    }
}

/// The number of refunds in progress.
pub type Count = watch::Sender<usize>;

/// Something that is going back, until this is dropped.
struct GoingBack(Arc<Limiter>);

impl GoingBack {
    fn begins(limiter: Arc<Limiter>) -> Self {
        limiter.going_back.send_modify(|count| *count += 1);
        Self(limiter)
    }
}

impl Drop for GoingBack {
    fn drop(&mut self) {
        self.0.metrics.freed();
        self.0.going_back.send_modify(|count| *count -= 1);
    }
}
