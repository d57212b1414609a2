//! An estimate that is charged while a body runs, and settled once. Follows the four rules for callers: one id
//! for one piece of work; the call is repeated unchanged; whatever may be open is settled until a reply
//! arrives; on -1 what was used is charged with FORCE, once, within a minute.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::Value;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout, Instant};

use crate::slot::{repeated, unique, TRIES};
use crate::{Decisions, Error, Limit, Limiter};

/// After this time nobody knows any more what became of an id.
const MINUTE: Duration = Duration::from_secs(60);

/// An estimate to be charged: made by [`Limiter::reserve`].
#[must_use]
pub struct Reserve<C> {
    limiter: Limiter<C>,
    limits: Vec<Limit>,
    holds: String,
    ttl: Duration,
    id: String,
    charge: bool,
}

/// The link between the body and its reservation.
#[derive(Clone, Debug, Default)]
pub struct Reservation {
    used: Arc<Mutex<HashMap<String, u64>>>,
    denied: Arc<AtomicBool>,
}

impl Reservation {
    /// Sets the amount used of the limit of this key: it is charged even if the body fails. Without it, that is
    /// the cost, or 0 if the body fails.
    pub fn used(&self, key: impl Into<String>, amount: u64) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(key.into(), amount);
    }

    /// Returns whether a repeat was denied: a lease ended, or what was refunded did not fit any more. Finish or
    /// stop; it is settled either way.
    pub fn is_denied(&self) -> bool {
        self.denied.load(Ordering::Acquire)
    }

    fn amount(&self, limit: &Limit) -> Option<u64> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.get(&limit.key).copied()
    }

    /// Returns a key with an amount that belongs to none of these limits.
    fn stray(&self, limits: &[Limit]) -> Option<String> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let is_stray = |key: &&String| {
            !limits
                .iter()
                .any(|limit| limit.key == **key && limit.cost().is_some())
        };
        used.keys().find(is_stray).cloned()
    }
}

/// Why a body has no result.
#[derive(Clone, Debug)]
pub enum NotReserved<E> {
    /// A limit denies, and nothing is charged.
    Denied(Decisions),
    /// Somebody else settled the hold, and the body was dropped.
    Ended,
    /// The server does not answer, or refuses.
    Failed(Error),
    /// The body failed. The limits without an amount used were refunded.
    Body(E),
    /// The body set the amount used of a key that no bucket or window has. All others were settled.
    Stray(String),
}

impl<E: fmt::Display> fmt::Display for NotReserved<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(_) => f.write_str("a limit denies"),
            Self::Ended => f.write_str("the hold was settled"),
            Self::Failed(error) => error.fmt(f),
            Self::Body(error) => error.fmt(f),
            Self::Stray(key) => write!(f, "an amount was used of '{key}', which no limit has"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for NotReserved<E> {}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Limiter<C> {
    /// Prepares to charge an estimate while a body runs. `holds` is the key of the account's holds; what
    /// nobody settles is refunded after `ttl`.
    pub fn reserve(
        &self,
        limits: Vec<Limit>,
        holds: impl Into<String>,
        ttl: Duration,
    ) -> Reserve<C> {
        Reserve {
            limiter: self.clone(),
            limits,
            holds: holds.into(),
            ttl,
            id: unique(),
            charge: false,
        }
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Reserve<C> {
    /// Names the piece of work.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Leaves the estimate charged if nobody settles it.
    pub fn else_charge(mut self) -> Self {
        self.charge = true;
        self
    }

    /// Charges the estimate, runs the body, repeats the call at a third of the ttl, and settles what was used. A
    /// body that fails, or is dropped with this future, is settled with what it had used by then, otherwise with 0.
    ///
    /// # Errors
    /// A limit denies, somebody else settled the hold, or the body failed.
    pub async fn run<T, E, F>(
        self,
        body: impl FnOnce(Reservation) -> F,
    ) -> Result<T, NotReserved<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let hold = Limit::hold(self.holds, self.ttl, &self.id);
        let mut all = self.limits;
        all.push(if self.charge {
            hold.else_charge()
        } else {
            hold
        });
        let reservation = Reservation::default();
        let mut open = Open {
            limiter: self.limiter.clone(),
            all: all.clone(),
            reservation: reservation.clone(),
            is_settled: false,
        };
        let first = repeated(|| self.limiter.all(&all)).await;
        match first {
            Ok(decisions) if decisions.allowed => {}
            Ok(decisions) => {
                // A repeat was denied, if the hold is open.
                if decisions.each.last().is_some_and(|hold| hold.taken > 0) {
                    open.settle(false).await;
                }
                open.is_settled = true;
                return Err(NotReserved::Denied(decisions));
            }
            Err(error) => {
                // It may have been charged.
                if matches!(error, Error::Outage(_)) {
                    open.settle(false).await;
                }
                open.is_settled = true;
                return Err(NotReserved::Failed(error));
            }
        }
        let done = tokio::select! {
            done = body(reservation.clone()) => done.map_err(NotReserved::Body),
            () = repeat_until_ended(&self.limiter, &all, self.ttl, &reservation) => {
                open.is_settled = true;
                return Err(NotReserved::Ended);
            }
        };
        open.settle(done.is_ok()).await;
        match reservation.stray(&all) {
            Some(key) if done.is_ok() => Err(NotReserved::Stray(key)),
            _ => done,
        }
    }
}

/// Repeats the call at a third of the ttl. Returns when the hold was settled.
async fn repeat_until_ended<C: ConnectionLike + Clone + Send + Sync + 'static>(
    limiter: &Limiter<C>,
    all: &[Limit],
    ttl: Duration,
    reservation: &Reservation,
) {
    loop {
        sleep(ttl / 3).await;
        match limiter.all_within(all, ttl / 3).await {
            Ok(decisions) => reservation
                .denied
                .store(!decisions.allowed, Ordering::Release),
            // The hold stays open: the next repeat may reach the server.
            Err(Error::Outage(_)) => {}
            Err(Error::Mistake(_)) => return,
        }
    }
}

/// Settles at the latest when it is dropped.
struct Open<C: ConnectionLike + Clone + Send + Sync + 'static> {
    limiter: Limiter<C>,
    all: Vec<Limit>,
    reservation: Reservation,
    is_settled: bool,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Open<C> {
    /// Settles now, or, if the server does not answer, in the background until it does.
    async fn settle(&mut self, was_done: bool) {
        let longest = self.limiter.timeout() * TRIES;
        let _ = timeout(longest, self.start_settling(was_done)).await;
    }

    fn start_settling(&mut self, was_done: bool) -> JoinHandle<()> {
        self.is_settled = true;
        let (limiter, all) = (self.limiter.clone(), std::mem::take(&mut self.all));
        let reservation = self.reservation.clone();
        tokio::spawn(async move {
            let otherwise = |limit: &Limit| limit.cost().filter(|_| was_done).unwrap_or(0);
            let used = |limit| reservation.amount(limit).unwrap_or(otherwise(limit));
            let amounts: Vec<_> = all.iter().map(|limit| (limit, used(limit))).collect();
            settle_until_answered(&limiter, &amounts).await;
        })
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Drop for Open<C> {
    fn drop(&mut self) {
        if !self.is_settled && Handle::try_current().is_ok() {
            drop(self.start_settling(false));
        }
    }
}

async fn settle_until_answered<C: ConnectionLike + Clone + Send + Sync + 'static>(
    limiter: &Limiter<C>,
    amounts: &[(&Limit, u64)],
) {
    let began = Instant::now();
    let state = loop {
        match limiter.settle(amounts).await {
            Ok(settlement) => break settlement.state,
            Err(Error::Outage(_)) if began.elapsed() < MINUTE => {
                sleep(limiter.timeout().min(Duration::from_secs(1))).await;
            }
            Err(_) => return, // It is logged.
        }
    };
    if state >= 0 || began.elapsed() >= MINUTE {
        return;
    }
    for (limit, used) in amounts.iter().filter(|(_, used)| *used > 0) {
        if let Some(take) = limit.forced(*used) {
            // Not sent again after a lost reply. An error is logged.
            let _ = limiter.call_within::<Value>(take, limiter.timeout()).await;
        }
    }
}
