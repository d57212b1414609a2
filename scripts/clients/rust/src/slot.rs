//! A slot that is held while a body runs.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::cmd;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout, Instant};

use crate::commands::{add_keep, duration};
use crate::decision::decision;
use crate::limiter::read;
use crate::{Decision, Error, Limiter};

/// Times that a call is sent whose repetition is free: an acquire by the same token, a release.
pub(crate) const TRIES: u32 = 3;

/// A slot to be held: made by [`Limiter::slot`].
#[must_use]
pub struct Slot<C> {
    limiter: Limiter<C>,
    key: String,
    limit: u64,
    ttl: Duration,
    token: String,
    keep: u64,
    line: Option<(C, Duration)>,
}

/// Why a body has no result.
#[derive(Clone, Debug)]
pub enum NotHeld {
    /// All slots are held. `retry_after` is a hint.
    Full(Decision),
    /// The slot ended while the body ran, and the body was dropped: somebody else may hold it.
    Lost,
    /// The server does not answer, or refuses.
    Failed(Error),
}

impl fmt::Display for NotHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(decision) => write!(f, "all {} slots are held", decision.limit),
            Self::Lost => f.write_str("the slot ended"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotHeld {}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Limiter<C> {
    /// Prepares to hold one of `limit` slots while a body runs.
    pub fn slot(&self, key: impl Into<String>, limit: u64, ttl: Duration) -> Slot<C> {
        Slot {
            limiter: self.clone(),
            key: key.into(),
            limit,
            ttl,
            token: unique(),
            keep: 0,
            line: None,
        }
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Slot<C> {
    /// Names the holder. Without it, each slot has a token of its own.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = token.into();
        self
    }

    /// Sets the number of slots that must remain free afterwards.
    pub fn keep(mut self, keep: u64) -> Self {
        self.keep = keep;
        self
    }

    /// Lets the server answer only when there is a slot, for up to this time, in line. `connection` must be used
    /// for nothing else, because whatever is sent behind the call waits too, and its response time-out must
    /// be longer.
    pub fn wait(mut self, connection: C, time: Duration) -> Self {
        self.line = Some((connection, time));
        self
    }

    /// Acquires the slot, runs the body, renews at a third of the ttl, and releases. If the slot is lost, or
    /// this future is dropped, the body is dropped too.
    ///
    /// # Errors
    /// There is no slot, or it was lost.
    pub async fn hold<T>(mut self, body: impl Future<Output = T>) -> Result<T, NotHeld> {
        let line = self.line.take();
        let asked = Instant::now();
        let granted = repeated(|| self.acquire(line.clone()));
        // The reply of an acquire may come too late for a body that is gone already.
        let mut held = Held::of(&self);
        let granted = granted.await.map_err(NotHeld::Failed)?;
        if !granted.allowed {
            held.is_released = true;
            return Err(NotHeld::Full(granted));
        }
        // By this machine's clock, from before the call, so it is over here before it is over there. After a
        // wait, from the reply: the ttl starts when the slot is granted.
        let start = if line.is_some() {
            Instant::now()
        } else {
            asked
        };
        let done = tokio::select! {
            done = body => Ok(done),
            () = self.renew_until_lost(start + self.ttl) => Err(NotHeld::Lost),
        };
        // The task goes on if this future is dropped.
        let _ = held.release().await;
        done
    }

    async fn acquire(&self, line: Option<(C, Duration)>) -> Result<Decision, Error> {
        let Some((connection, time)) = line else {
            let (limiter, key) = (&self.limiter, &self.key);
            return limiter
                .acquire(key, self.limit, self.ttl, &self.token, self.keep)
                .await;
        };
        let mut command = cmd("RL.ACQUIRE");
        command.arg(&self.key).arg(self.limit);
        command.arg(duration(self.ttl)).arg(&self.token);
        add_keep(&mut command, self.keep);
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        command.arg("WAIT").arg(milliseconds.max(1));
        let reply = self.limiter.send_on(connection, command, time).await?;
        Ok(decision(read(reply)?))
    }

    /// Renews at a third of the ttl, so that two renewals may fail. Returns when the slot has ended.
    async fn renew_until_lost(&self, mut ends: Instant) {
        loop {
            sleep((self.ttl / 3).min(ends.saturating_duration_since(Instant::now()))).await;
            let asked = Instant::now();
            if asked >= ends {
                return;
            }
            let mut renewal = cmd("RL.RENEW");
            renewal
                .arg(&self.key)
                .arg(duration(self.ttl))
                .arg(&self.token);
            let renewal = self.limiter.call_within::<u64>(renewal, self.ttl / 3);
            match timeout(ends - asked, renewal).await {
                Ok(Ok(1..)) => ends = asked + self.ttl,
                // The slot is still held: the next renewal may reach the server.
                Ok(Err(Error::Outage(_))) | Err(_) => {}
                Ok(Ok(0) | Err(Error::Mistake(_))) => return,
            }
        }
    }
}

/// Releases the slot at the latest when it is dropped.
struct Held<C: ConnectionLike + Clone + Send + Sync + 'static> {
    limiter: Limiter<C>,
    key: String,
    token: String,
    is_released: bool,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Held<C> {
    fn of(slot: &Slot<C>) -> Self {
        Self {
            limiter: slot.limiter.clone(),
            key: slot.key.clone(),
            token: slot.token.clone(),
            is_released: false,
        }
    }

    fn release(&mut self) -> JoinHandle<()> {
        self.is_released = true;
        let (limiter, key, token) = (self.limiter.clone(), self.key.clone(), self.token.clone());
        tokio::spawn(async move {
            // A late renewal cannot bring back what is released. At last the slot expires by itself.
            let tokens = [token.as_str()];
            let _ = repeated(|| limiter.release(&key, &tokens)).await;
        })
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Drop for Held<C> {
    fn drop(&mut self) {
        if !self.is_released && Handle::try_current().is_ok() {
            drop(self.release());
        }
    }
}

/// Sends a call whose repetition is free, up to three times.
pub(crate) async fn repeated<T, F>(send: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    for _ in 1..TRIES {
        match send().await {
            Err(Error::Outage(_)) => {}
            other => return other,
        }
    }
    send().await
}

/// Returns a name that nobody else has.
pub(crate) fn unique() -> String {
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", random(), random())
}
