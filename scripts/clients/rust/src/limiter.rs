//! A limiter on the user's own connection. Each call is sent once, in bounded time and number.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::ConnectionLike;
use redis::{cmd, Cmd, FromRedisValue, RedisError, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::commands::{add_cost, add_keep, duration};
use crate::decision::{decision, decisions};
use crate::failure::{Ask, Policy};
use crate::fallback::{is_missing, BucketCall, Call};
use crate::{
    Counts, Decision, Decisions, Error, Fallback, Holds, Leases, Limit, OnError, OpenHold,
};
use crate::{Options, Rate, Settlement};

/// Parts of a time-out. Each counts as its nominal length even if the process was busy with other things
/// meanwhile: what counts is the time in which it could have read the reply.
const TICKS: u32 = 5;
/// Time-outs after which a call without an answer is given up.
const LONGEST: u32 = 20;
/// Time-outs that a call waits for its turn at most, while others are answered.
pub(crate) const QUEUE: u32 = 10;

/// How a limiter fails. `Settings::default()` waits for 50 ms, then a bucket in the process decides.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// For a call. Time in which the process was busy with other things does not count.
    pub timeout: Duration,
    /// The effect of an outage on a take. Every other call returns [`Error::Outage`].
    pub on_error: OnError,
    /// The part of the limit that the bucket in this process admits: 0.25 with four processes. At
    /// least one token of burst.
    pub share: f64,
    /// Calls that wait for the server at once; more wait for their turn.
    pub in_flight: usize,
    /// The replacement of the module where the server lacks it. By default a missing module is a mistake.
    pub fallback: Option<Fallback>,
    /// Prints a line about an outage or a mistake, at most one a second of each.
    pub log: fn(&str),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(50),
            on_error: OnError::Local,
            share: 1.0,
            in_flight: 64,
            fallback: None,
            log: |line| eprintln!("{line}"),
        }
    }
}

/// Limits by an asynchronous connection of redis-rs: a `ConnectionManager`, a `MultiplexedConnection` or a
/// `ClusterConnection`. A clone is another handle to the same limiter.
///
/// A cluster's connection sends again what was not answered, unless its client was built with
/// `retries(0)`.
pub struct Limiter<C> {
    shared: Arc<Shared<C>>,
}

impl<C> Clone for Limiter<C> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

struct Shared<C> {
    connection: C,
    settings: Settings,
    policy: Policy,
    places: Arc<Semaphore>,
    stuck: Arc<AtomicUsize>,
    answers: AtomicU64,
    /// Whether the server has refused a command that the script replaces.
    lacks_module: AtomicBool,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Limiter<C> {
    /// Limits by this connection.
    pub fn new(connection: C, settings: Settings) -> Self {
        let settings = Settings {
            share: if settings.share > 0.0 {
                settings.share.min(1.0)
            } else {
                1.0
            },
            in_flight: settings.in_flight.max(1),
            timeout: settings.timeout.max(Duration::from_micros(1)),
            ..settings
        };
        let shared = Shared {
            connection,
            policy: Policy::new(settings.on_error, settings.share, settings.log),
            places: Arc::new(Semaphore::new(settings.in_flight)),
            stuck: Arc::new(AtomicUsize::new(0)),
            answers: AtomicU64::new(0),
            lacks_module: AtomicBool::new(false),
            settings,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Returns what was answered, decided without the server, and failed so far.
    pub fn counts(&self) -> Counts {
        self.shared.policy.counts()
    }

    /// Takes tokens or none (RL.TAKE), by the policy where the server does not answer.
    ///
    /// # Errors
    /// [`Error::Mistake`]
    pub async fn take(
        &self,
        key: &str,
        rate: &Rate,
        burst: u64,
        options: Options,
    ) -> Result<Decision, Error> {
        let ask = Ask::of(key, rate, burst, options);
        if let Some(denied) = self.shared.policy.remembered(&ask) {
            return Ok(denied);
        }
        let call = Call::Bucket(BucketCall::Take, ask.clone());
        match self.run(call, self.timeout()).await {
            Ok(Answer::Reply(reply)) => Ok(decision(read(reply)?)),
            Ok(Answer::Denied(denied)) => Ok(denied),
            Err(Error::Outage(_)) => Ok(self.shared.policy.decide(&ask)),
            Err(mistake) => Err(mistake),
        }
    }

    /// Decides by the policy about a take that is not sent.
    pub(crate) fn decide(&self, ask: &Ask, reason: &str) -> Decision {
        let policy = &self.shared.policy;
        policy.failed(&Error::Outage(reason.to_owned()));
        policy.decide(ask)
    }

    /// Asks the server once. An outage is only logged.
    ///
    /// # Errors
    /// [`Error::Mistake`]: the server lacks the module or the permission.
    pub async fn check(&self, key: &str) -> Result<(), Error> {
        let often = "1000".parse().expect("a rate");
        let ask = Ask::of(key, &often, 1, Options::default());
        let call = Call::Bucket(BucketCall::Take, ask);
        match self.run(call, self.timeout()).await {
            Err(mistake @ Error::Mistake(_)) => Err(mistake),
            _ => Ok(()),
        }
    }

    /// Returns what a take would, and changes nothing (RL.PEEK).
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn peek(
        &self,
        key: &str,
        rate: &Rate,
        burst: u64,
        cost: u64,
    ) -> Result<Decision, Error> {
        let ask = Ask::of(key, rate, burst, Options::cost(cost));
        self.bucket(BucketCall::Peek, ask).await
    }

    /// Refunds tokens, at most up to full. Returns the number refunded (RL.GIVE).
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn give(&self, key: &str, rate: &Rate, burst: u64, cost: u64) -> Result<u64, Error> {
        let ask = Ask::of(key, rate, burst, Options::cost(cost));
        Ok(self.bucket(BucketCall::Give, ask).await?.taken)
    }

    /// Takes from every bucket or from none (RL.MTAKE).
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn take_each(
        &self,
        buckets: &[(&str, &Rate, u64)],
        cost: u64,
    ) -> Result<Decisions, Error> {
        let mut command = cmd("RL.MTAKE");
        command.arg(buckets.len());
        for (key, rate, burst) in buckets {
            command.arg(key).arg(rate.to_string()).arg(burst);
        }
        add_cost(&mut command, cost);
        Ok(decisions(self.call(command).await?))
    }

    /// Charges a window: `15m`, `SLIDING 1m`, `DAY OFFSET +02:00` (RL.WTAKE).
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn take_window(
        &self,
        key: &str,
        limit: u64,
        window: &str,
        options: Options,
    ) -> Result<Decision, Error> {
        let mut command = window_command("RL.WTAKE", key, limit, window);
        options.add_to(&mut command);
        Ok(decision(self.call(command).await?))
    }

    /// Returns what a charge would, and changes nothing (RL.WPEEK).
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn peek_window(
        &self,
        key: &str,
        limit: u64,
        window: &str,
        cost: u64,
    ) -> Result<Decision, Error> {
        let mut command = window_command("RL.WPEEK", key, limit, window);
        add_cost(&mut command, cost);
        Ok(decision(self.call(command).await?))
    }

    /// Refunds to a window, with `at` (Unix ms) only to the one charged then (RL.WGIVE). Returns what was
    /// refunded.
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn give_window(
        &self,
        key: &str,
        limit: u64,
        window: &str,
        cost: u64,
        at: Option<u64>,
    ) -> Result<u64, Error> {
        let mut command = window_command("RL.WGIVE", key, limit, window);
        add_cost(&mut command, cost);
        if let Some(at) = at {
            command.arg("AT").arg(at);
        }
        Ok(decision(self.call(command).await?).taken)
    }

    /// Acquires a slot for `token`, or renews the one that it holds (RL.ACQUIRE).
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn acquire(
        &self,
        key: &str,
        limit: u64,
        ttl: Duration,
        token: &str,
        keep: u64,
    ) -> Result<Decision, Error> {
        let mut command = cmd("RL.ACQUIRE");
        command.arg(key).arg(limit).arg(duration(ttl)).arg(token);
        add_keep(&mut command, keep);
        Ok(decision(self.call(command).await?))
    }

    /// Extends live leases. Returns how many (RL.RENEW).
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn renew(&self, key: &str, ttl: Duration, tokens: &[&str]) -> Result<u64, Error> {
        let mut command = cmd("RL.RENEW");
        command.arg(key).arg(duration(ttl)).arg(tokens);
        self.call(command).await
    }

    /// Frees slots. Returns how many were held (RL.RELEASE).
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn release(&self, key: &str, tokens: &[&str]) -> Result<u64, Error> {
        let mut command = cmd("RL.RELEASE");
        command.arg(key).arg(tokens);
        self.call(command).await
    }

    /// Returns the slots in use, with at most `count` tokens (RL.LEASES).
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn leases(&self, key: &str, limit: u64, count: u64) -> Result<Leases, Error> {
        let mut command = cmd("RL.LEASES");
        command.arg(key).arg(limit).arg("COUNT").arg(count);
        // More elements may follow.
        let reply: Vec<Value> = self.call(command).await?;
        let element = |n: usize| reply.get(n).cloned().unwrap_or(Value::Nil);
        let tokens: Vec<(String, u64)> = read(element(5))?;
        let tokens = tokens.into_iter();
        Ok(Leases {
            held: read(element(0))?,
            remaining: read(element(2))?,
            tokens: tokens
                .map(|(token, ms)| (token, Duration::from_millis(ms)))
                .collect(),
        })
    }

    /// Charges every limit or none (RL.ALL).
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn all(&self, limits: &[Limit]) -> Result<Decisions, Error> {
        self.all_within(limits, self.timeout()).await
    }

    pub(crate) async fn all_within(
        &self,
        limits: &[Limit],
        timeout: Duration,
    ) -> Result<Decisions, Error> {
        Ok(decisions(
            self.call_within(Limit::all(limits), timeout).await?,
        ))
    }

    /// Replaces each estimate of a hold by the amount used, and releases the leases (RL.SETTLE).
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn settle(&self, amounts: &[(&Limit, u64)]) -> Result<Settlement, Error> {
        let (state, _, each): (i64, i64, Vec<[i64; 5]>) = self.call(Limit::settle(amounts)).await?;
        Ok(Settlement {
            state,
            each: each.into_iter().map(|[charged, ..]| charged).collect(),
        })
    }

    /// Returns at most `count` open holds (RL.HOLDS).
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn holds(&self, key: &str, count: u64) -> Result<Holds, Error> {
        type Reply = (u64, u64, u64, u64, Vec<HoldReply>);
        type HoldReply = (String, i64, String, Vec<(String, u64)>);
        let mut command = cmd("RL.HOLDS");
        command.arg(key).arg("COUNT").arg(count);
        let (open, _, overdue, _, holds): Reply = self.call(command).await?;
        let read = |(id, left_ms, otherwise, held): HoldReply| OpenHold {
            id,
            left_ms,
            charge: otherwise == "CHARGE",
            held,
        };
        Ok(Holds {
            open,
            overdue,
            holds: holds.into_iter().map(read).collect(),
        })
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.shared.settings.timeout
    }

    /// Sends a call that the server answers late, on a connection of its own.
    pub(crate) async fn send_on(
        &self,
        mut connection: C,
        command: Cmd,
        wait: Duration,
    ) -> Result<Value, Error> {
        let longest = wait + self.timeout().max(Duration::from_secs(1));
        let sent = tokio::time::timeout(longest, connection.req_packed_command(&command)).await;
        let result = match sent {
            Ok(reply) => reply.and_then(Value::extract_error).map_err(Error::from),
            Err(_) => Err(Error::Outage(format!("no answer within {longest:?}"))),
        };
        if let Err(error) = &result {
            self.shared.policy.failed(error);
        }
        result
    }

    async fn bucket(&self, call: BucketCall, ask: Ask) -> Result<Decision, Error> {
        let reply = self.run(Call::Bucket(call, ask), self.timeout()).await?;
        reply.only().map(decision)
    }

    async fn call<V: FromRedisValue>(&self, command: Cmd) -> Result<V, Error> {
        self.call_within(command, self.timeout()).await
    }

    pub(crate) async fn call_within<V: FromRedisValue>(
        &self,
        command: Cmd,
        timeout: Duration,
    ) -> Result<V, Error> {
        self.run(Call::Other(command), timeout).await?.only()
    }

    async fn run(&self, call: Call, timeout: Duration) -> Result<Answer, Error> {
        let result = self.bounded(call, timeout).await;
        if let Err(error) = &result {
            self.shared.policy.failed(error);
        }
        result
    }

    async fn bounded(&self, call: Call, timeout: Duration) -> Result<Answer, Error> {
        let place = match self.turn(call.take()).await? {
            Turn::Place(place) => place,
            Turn::Denied(denied) => return Ok(Answer::Denied(denied)),
        };
        let shared = self.shared.clone();
        let parted = Arc::new(AtomicBool::new(false));
        let _waiter = Waiter {
            stuck: shared.stuck.clone(),
            parted: parted.clone(),
        };
        // A task of its own: a late reply is still read, and a caller that is gone cancels nothing.
        let mut task = tokio::spawn(async move {
            let result = shared.send(call).await;
            if parted.swap(true, Ordering::AcqRel) {
                shared.stuck.fetch_sub(1, Ordering::AcqRel);
            }
            drop(place);
            result
        });
        for _ in 0..TICKS {
            if let Ok(ended) = tokio::time::timeout(timeout / TICKS, &mut task).await {
                let result = ended.unwrap_or_else(|error| Err(Error::Outage(error.to_string())));
                return result.map(Answer::Reply);
            }
        }
        self.shared.policy.count(|counts| counts.late += 1);
        Err(Error::Outage(format!("no answer within {timeout:?}")))
    }

    /// Waits for a place, while the server answers others, or for a denial learnt meanwhile.
    async fn turn(&self, ask: Option<&Ask>) -> Result<Turn, Error> {
        let shared = &*self.shared;
        let Settings {
            timeout, in_flight, ..
        } = shared.settings;
        if shared.stuck.load(Ordering::Acquire) >= in_flight {
            return Err(Error::Outage(format!(
                "{in_flight} calls wait for a reply for longer than {timeout:?}"
            )));
        }
        if let Ok(place) = shared.places.clone().try_acquire_owned() {
            return Ok(Turn::Place(place));
        }
        let began = Instant::now();
        let mut silent = 0;
        let place = shared.places.clone().acquire_owned();
        tokio::pin!(place);
        loop {
            let seen = shared.answers.load(Ordering::Acquire);
            let waited = tokio::time::timeout(timeout / TICKS, &mut place).await;
            if let Some(denied) = ask.and_then(|ask| shared.policy.remembered(ask)) {
                return Ok(Turn::Denied(denied));
            }
            if let Ok(place) = waited {
                return place
                    .map(Turn::Place)
                    .map_err(|closed| Error::Outage(closed.to_string()));
            }
            let is_silent = shared.answers.load(Ordering::Acquire) == seen;
            silent = if is_silent { silent + 1 } else { 0 };
            let is_stuck = shared.stuck.load(Ordering::Acquire) >= in_flight;
            if is_stuck || silent >= TICKS || began.elapsed() > timeout * QUEUE {
                return Err(Error::Outage(format!(
                    "no turn among {in_flight} calls within {timeout:?}"
                )));
            }
        }
    }
}

impl<C: ConnectionLike + Clone> Shared<C> {
    async fn send(&self, call: Call) -> Result<Value, Error> {
        let sent = Instant::now();
        let longest = (self.settings.timeout * LONGEST).max(Duration::from_secs(1));
        let reply = tokio::time::timeout(longest, self.reply(&call)).await;
        let reply = reply.map_err(|_| Error::Outage(format!("no answer within {longest:?}")))??;
        self.answers.fetch_add(1, Ordering::AcqRel);
        self.policy.count(|counts| counts.answered += 1);
        if let Some(ask) = call.take() {
            self.policy
                .answered(ask, sent, decision(read(reply.clone())?));
        }
        Ok(reply)
    }

    /// Sends the command, or the script that replaces it. Once the server has refused a command that it does
    /// not know, the script is sent until the limiter ends: a bucket in each place would admit twice. A
    /// call that was refused has charged nothing.
    async fn reply(&self, call: &Call) -> Result<Value, RedisError> {
        let (bucket, ask) = match call {
            Call::Bucket(bucket, ask) => (bucket, ask),
            Call::Other(command) => return self.sent(command).await,
        };
        if !self.lacks_module.load(Ordering::Acquire) {
            match self.sent(&bucket.command(ask)).await {
                Err(error) if self.settings.fallback.is_some() && is_missing(&error) => {
                    if !self.lacks_module.swap(true, Ordering::AcqRel) {
                        (self.settings.log)(&format!(
                            "rate limiter: the module is missing, so buckets are scripts: {error}"
                        ));
                    }
                }
                other => return other,
            }
        }
        match self.sent(&bucket.known_script(ask)).await {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                self.sent(&bucket.whole_script(ask)).await
            }
            other => other,
        }
    }

    async fn sent(&self, command: &Cmd) -> Result<Value, RedisError> {
        let reply = self.connection.clone().req_packed_command(command).await?;
        // A reply may be an error itself.
        reply.extract_error()
    }
}

/// Counts a call as stuck from when nobody waits for it any more until it ends.
struct Waiter {
    stuck: Arc<AtomicUsize>,
    /// Whether the waiter has gone, or the call has ended: whichever comes second finds it set.
    parted: Arc<AtomicBool>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.stuck.fetch_add(1, Ordering::AcqRel);
        if self.parted.swap(true, Ordering::AcqRel) {
            self.stuck.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

enum Turn {
    Place(OwnedSemaphorePermit),
    Denied(Decision),
}

enum Answer {
    Reply(Value),
    Denied(Decision),
}

impl Answer {
    /// Reads the reply of a call that has no denials to remember.
    fn only<V: FromRedisValue>(self) -> Result<V, Error> {
        match self {
            Self::Reply(reply) => read(reply),
            Self::Denied(_) => Err(Error::Outage("denied".to_owned())),
        }
    }
}

fn window_command(name: &str, key: &str, limit: u64, window: &str) -> Cmd {
    let mut command = cmd(name);
    command.arg(key).arg(limit);
    for word in window.split_whitespace() {
        command.arg(word);
    }
    command
}

pub(crate) fn read<V: FromRedisValue>(reply: Value) -> Result<V, Error> {
    redis::from_redis_value(reply).map_err(|error| Error::Mistake(error.into()))
}
