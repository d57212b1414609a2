//! Batches of tokens, for callers of thousands a second on one key.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::ConnectionLike;
use tokio::sync::{watch, Mutex as Turn};
use tokio::time::Instant;

use crate::failure::{Ask, Recent};
use crate::limiter::QUEUE;
use crate::{Decision, Error, Limiter, Options, Rate, Source};

/// Time in which a batch is spent, and over which the use is counted.
const HOLD: Duration = Duration::from_millis(100);
/// Time that a refund may take until the server has it.
const LATE: Duration = Duration::from_millis(50);
/// A batch is at most this part of the burst.
const PART: u64 = 8;

/// Takes batches by a [`Limiter`], and spends them in this process. [`RateLimit`](crate::RateLimit) accepts it
/// in place of a limiter. A clone is another handle to the same batches.
///
/// A batch is as large as the use of the last tenth of a second, at most an eighth of the burst, so it saves
/// calls only where the burst is large. After a short answer tokens are taken one call at a time, until
/// the bucket would be full again. A batch that is not spent after a tenth of a second is refunded, less the
/// bucket's gain meanwhile. So over all processes at most burst + rate × (t + 0.1 s) is spent in any time t,
/// and a process that dies loses its batch.
pub struct Local<C> {
    shared: Arc<Shared<C>>,
}

impl<C> Clone for Local<C> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

struct Shared<C> {
    limiter: Limiter<C>,
    of: Mutex<Recent<Arc<Stash>>>,
    /// The number of refunds that the server has not answered.
    refunds: watch::Sender<usize>,
}

/// The batch of one key and limit.
struct Stash {
    key: String,
    rate: Rate,
    burst: u64,
    /// Held by the one call in flight.
    turn: Arc<Turn<()>>,
    /// The number of calls that the server did not answer.
    outages: AtomicU64,
    batch: Mutex<Batch>,
}

/// `taken_at` is the time before the batch's call, so that nothing is spent too late.
struct Batch {
    tokens: u64,
    taken_at: Instant,
    decision: Option<Decision>,
    short_until: Instant,
    since: Instant,
    used: u64,
    used_before: u64,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Local<C> {
    /// Takes batches by this limiter.
    pub fn new(limiter: Limiter<C>) -> Self {
        let shared = Shared {
            limiter,
            of: Mutex::new(Recent::new()),
            refunds: watch::Sender::new(0),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Takes `cost` tokens or none. One call is in flight a key: the others wait for it, and then look into the
    /// batch. If the server does not answer that call, the failure policy decides about them too.
    ///
    /// # Errors
    /// [`Error::Mistake`]
    pub async fn take(
        &self,
        key: &str,
        rate: &Rate,
        burst: u64,
        cost: u64,
    ) -> Result<Decision, Error> {
        let stash = self.shared.stash(key, rate, burst);
        stash.batch().count(cost);
        if let Some(decision) = stash.batch().spend(cost) {
            return Ok(decision);
        }
        let outages = stash.outages.load(Ordering::Acquire);
        let longest = self.shared.limiter.timeout() * QUEUE;
        let turn = tokio::time::timeout(longest, stash.turn.clone().lock_owned()).await;
        if let Some(decision) = stash.batch().spend(cost) {
            return Ok(decision);
        }
        let is_answered = stash.outages.load(Ordering::Acquire) == outages;
        let Some(turn) = turn.ok().filter(|_| is_answered) else {
            let ask = Ask::of(key, rate, burst, Options::cost(cost));
            return Ok(self
                .shared
                .limiter
                .decide(&ask, "no turn among the calls of one key"));
        };
        let shared = self.shared.clone();
        // A task of its own: a caller that is gone loses no batch.
        let taken = tokio::spawn(async move {
            let decision = shared.take(&stash, cost).await;
            drop(turn);
            decision
        });
        let ended = taken.await;
        ended.unwrap_or_else(|error| Err(Error::Outage(error.to_string())))
    }

    /// Asks the server once. An outage is only logged.
    ///
    /// # Errors
    /// [`Error::Mistake`]: the server lacks the module or the permission.
    pub async fn check(&self, key: &str) -> Result<(), Error> {
        self.shared.limiter.check(key).await
    }

    /// Refunds every batch, and returns after the server's replies. The limiter remains open.
    pub async fn close(&self) {
        let stashes: Vec<_> = self.shared.of().values().cloned().collect();
        for stash in &stashes {
            self.shared.refund(stash);
        }
        // The sender is there.
        let _ = self.shared.refunds.subscribe().wait_for(|n| *n == 0).await;
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Shared<C> {
    fn of(&self) -> MutexGuard<'_, Recent<Arc<Stash>>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stash(self: &Arc<Self>, key: &str, rate: &Rate, burst: u64) -> Arc<Stash> {
        // Neither of the first two contains a space.
        let name = format!("{burst} {rate} {key}");
        let mut of = self.of();
        if let Some(stash) = of.get(&name) {
            return stash.clone();
        }
        let stash = Arc::new(Stash::new(key, rate, burst));
        // A batch of one that is forgotten is refunded at its end.
        of.set(&name, stash.clone());
        stash
    }

    async fn take(self: &Arc<Self>, stash: &Arc<Stash>, cost: u64) -> Result<Decision, Error> {
        let asked = Instant::now();
        let size = stash.batch().size(stash.burst);
        if (1..size).contains(&cost) {
            let options = Options {
                at_most: true,
                ..Options::cost(size)
            };
            let decision = self.ask(stash, options).await?;
            if decision.taken < size {
                stash.batch().is_short(decision);
            }
            if decision.taken > 0 {
                self.refund(stash);
                stash.batch().begin(decision, asked);
                self.clone().end(stash.clone(), asked);
                if let Some(spent) = stash.batch().spend(cost) {
                    return Ok(spent);
                }
            } else if cost == 1 {
                return Ok(decision);
            }
        }
        // The server decides about this cost alone, and must have what is left of the batch.
        self.refund(stash);
        let decision = self.ask(stash, Options::cost(cost)).await?;
        if !decision.allowed {
            stash.batch().is_short(decision);
        }
        Ok(decision)
    }

    async fn ask(&self, stash: &Stash, options: Options) -> Result<Decision, Error> {
        let limiter = &self.limiter;
        let decision = limiter
            .take(&stash.key, &stash.rate, stash.burst, options)
            .await?;
        if matches!(decision.source, Source::Local | Source::Policy) {
            stash.outages.fetch_add(1, Ordering::AcqRel);
        }
        Ok(decision)
    }

    /// Refunds the batch that was taken at this time once it is over.
    fn end(self: Arc<Self>, stash: Arc<Stash>, taken_at: Instant) {
        tokio::spawn(async move {
            tokio::time::sleep_until(taken_at + HOLD).await;
            let is_same = stash.batch().taken_at == taken_at;
            if is_same {
                self.refund(&stash);
            }
        });
    }

    fn refund(self: &Arc<Self>, stash: &Arc<Stash>) {
        let refund = stash.batch().refund(&stash.rate);
        if refund == 0 {
            return;
        }
        self.refunds.send_modify(|n| *n += 1);
        let (shared, stash) = (self.clone(), stash.clone());
        tokio::spawn(async move {
            let limiter = &shared.limiter;
            // An error is logged, and the tokens are lost.
            let _ = limiter
                .give(&stash.key, &stash.rate, stash.burst, refund)
                .await;
            shared.refunds.send_modify(|n| *n -= 1);
        });
    }
}

impl Stash {
    fn new(key: &str, rate: &Rate, burst: u64) -> Self {
        let now = Instant::now();
        let batch = Batch {
            tokens: 0,
            taken_at: now,
            decision: None,
            short_until: now,
            since: now,
            used: 0,
            used_before: 0,
        };
        Self {
            key: key.to_owned(),
            rate: rate.clone(),
            burst,
            turn: Arc::default(),
            outages: AtomicU64::new(0),
            batch: Mutex::new(batch),
        }
    }

    /// Returns the batch, which nobody else spends from meanwhile.
    fn batch(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    fn begin(&mut self, decision: Decision, taken_at: Instant) {
        self.tokens = decision.taken;
        self.taken_at = taken_at;
        self.decision = Some(decision);
    }

    /// Takes tokens one call at a time until the bucket would be full.
    fn is_short(&mut self, decision: Decision) {
        self.short_until = Instant::now() + decision.reset_after;
    }

    /// Counts the use in spans of `HOLD`.
    fn count(&mut self, cost: u64) {
        let now = Instant::now();
        let passed = now - self.since;
        if passed >= HOLD {
            self.used_before = if passed < 2 * HOLD { self.used } else { 0 };
            (self.since, self.used) = (now, 0);
        }
        self.used = self.used.saturating_add(cost);
    }

    /// Returns the size of the next batch.
    fn size(&self, burst: u64) -> u64 {
        let now = Instant::now();
        if now < self.short_until {
            return 0;
        }
        let passed = (now - self.since).as_secs_f64() / HOLD.as_secs_f64();
        let before = self.used_before as f64 * (1.0 - passed).max(0.0);
        self.used.saturating_add(before as u64).min(burst / PART)
    }

    /// Spends from the batch. Returns `None` if it is too small, or was taken too long ago.
    fn spend(&mut self, cost: u64) -> Option<Decision> {
        let now = Instant::now();
        let of = self.decision?;
        if cost == 0 || cost > self.tokens || now >= self.taken_at + HOLD {
            return None;
        }
        self.tokens -= cost;
        Some(Decision {
            allowed: true,
            remaining: of.remaining + self.tokens,
            retry_after: Some(Duration::ZERO),
            reset_after: of.reset_after.saturating_sub(now - self.taken_at),
            taken: cost,
            source: Source::Batch,
            ..of
        })
    }

    /// Ends the batch. Returns its tokens less what the bucket has gained since it was taken: it might have been
    /// full then, and have gained nothing. Only the server's are refunded.
    fn refund(&mut self, rate: &Rate) -> u64 {
        let tokens = std::mem::take(&mut self.tokens);
        let held = self.taken_at.elapsed() + LATE;
        let gain = held.as_secs_f64() * rate.per_second();
        match self.decision {
            // A negative number is 0.
            Some(of) if of.source == Source::Server => (tokens as f64 - gain) as u64,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests;
