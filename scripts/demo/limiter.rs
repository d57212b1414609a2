//! The limiter as an HTTP middleware: who is asking, may they, and what they are told.

use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{header::RETRY_AFTER, HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::{sleep, timeout};

use crate::caller::KeyBy;
use crate::log::{log, Warnings};
use crate::metrics::{Metrics, Outcome};

/// How much is allowed: the rate and burst of one bucket, and the name clients see.
#[derive(Clone, Debug)]
pub struct Limit {
    pub name: String,
    pub rate: String,
    pub burst: u64,
    /// How long an empty bucket takes to fill.
    pub fill: Duration,
}

impl Limit {
    /// # Errors
    /// The module would not accept it; then with the module's words.
    pub fn new(name: &str, rate: &str, burst: &str) -> Result<Self, String> {
        let limit = redis_rl_limits::bucket::Limit::parse(rate.as_bytes(), burst.as_bytes())
            .map_err(|error| error.to_string().trim_start_matches("ERR ").to_owned())?;
        Ok(Self {
            name: name.to_owned(),
            rate: rate.to_owned(),
            burst: limit.burst(),
            fill: limit.fill_time(),
        })
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rate, burst) = text.split_once(':').ok_or("expected RATE:BURST")?;
        Self::new(text, rate, burst)
    }
}

/// What every request asks of the store.
pub struct Demand {
    pub limits: Vec<Limit>,
    pub cost: u64,
    /// Rather than be refused, wait for the tokens up to this long.
    pub max_wait: Option<Duration>,
}

/// How a caller stands with one limit.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub remaining: u64,
    /// Until the bucket is full.
    pub reset: Duration,
}

/// The store's answer.
#[derive(Debug)]
pub struct Take {
    pub allowed: bool,
    /// Allowed: go on after this long. Refused: ask again after this long.
    pub wait: Duration,
    /// One for each limit of the demand, in its order.
    pub standings: Vec<Standing>,
}

/// Where the tokens are kept, and by which algorithm.
pub trait Store: Send + Sync + 'static {
    /// Takes what `demand` asks from the buckets of `key`, or nothing.
    fn take(
        &self,
        key: &str,
        demand: &Demand,
    ) -> impl Future<Output = Result<Take, redis::RedisError>> + Send;
}

/// What becomes of a request that the store gives no answer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fail {
    /// It goes through.
    Open,
    /// It is refused with 503.
    Closed,
}

/// One shared limiter.
pub struct Limiter<S> {
    pub store: S,
    pub demand: Demand,
    pub key_by: KeyBy,
    /// How long the store may take to answer.
    pub timeout: Duration,
    pub fail: Fail,
    pub warnings: Warnings,
    pub metrics: Metrics,
}

impl<S: Store> Limiter<S> {
    async fn ask(&self, key: &str) -> Result<Take, String> {
        let start = Instant::now();
        let answer = timeout(self.timeout, self.store.take(key, &self.demand)).await;
        if !matches!(answer, Ok(Err(_))) {
            self.metrics.took(start.elapsed());
        }
        match answer {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {:?}", self.timeout)),
        }
    }
}

/// The middleware: lets `request` pass, delays it or refuses it.
pub async fn limit<S: Store>(
    State(limiter): State<Arc<Limiter<S>>>,
    request: Request,
    next: Next,
) -> Response {
    let key = limiter.key_by.key(&request);
    let answer = limiter.ask(&key).await;
    let outcome = Outcome::of(&answer, limiter.fail);
    limiter.metrics.count(outcome);
    if let Err(reason) = &answer {
        let failed = outcome.name().replace('_', " ");
        limiter
            .warnings
            .warn(&format!("limiter {failed}: {reason}"));
    }
    if let (Outcome::Delayed, Ok(take)) = (outcome, &answer) {
        sleep(take.wait).await;
    }
    let mut response = match outcome {
        Outcome::Allowed | Outcome::Delayed | Outcome::FailedOpen => next.run(request).await,
        Outcome::Refused => {
            log("Rate limit exceeded");
            (StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded\n").into_response()
        }
        Outcome::FailedClosed => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Rate limiter unavailable\n",
        )
            .into_response(),
    };
    if let Ok(take) = answer {
        tell(response.headers_mut(), &limiter.demand.limits, &take);
    }
    response
}

impl Outcome {
    fn of(answer: &Result<Take, String>, fail: Fail) -> Self {
        match answer {
            Ok(take) if !take.allowed => Self::Refused,
            Ok(take) if take.wait.is_zero() => Self::Allowed,
            Ok(_) => Self::Delayed,
            Err(_) if fail == Fail::Open => Self::FailedOpen,
            Err(_) => Self::FailedClosed,
        }
    }
}

/// Writes the fields of draft-ietf-httpapi-ratelimit-headers, and `Retry-After` if refused.
///
/// The draft speaks of a quota in a window. Here the quota `q` is the burst and the window `w` the
/// time in which an empty bucket fills: `q / w` is the rate, and `q` is never exceeded at once.
/// `t` is when the quota is whole again or, as the draft asks, the moment of `Retry-After`.
fn tell(headers: &mut HeaderMap, limits: &[Limit], take: &Take) {
    let policy = limits
        .iter()
        .map(|l| format!("\"{}\";q={};w={}", l.name, l.burst, whole_seconds(l.fill)));
    let state = limits.iter().zip(&take.standings).map(|(limit, standing)| {
        let t = if take.allowed {
            standing.reset
        } else {
            take.wait
        };
        let r = standing.remaining;
        format!("\"{}\";r={r};t={}", limit.name, whole_seconds(t))
    });
    for (name, value) in [
        ("ratelimit-policy", policy.collect::<Vec<_>>()),
        ("ratelimit", state.collect()),
    ] {
        let value = HeaderValue::try_from(value.join(", ")).expect("names were checked");
        headers.insert(HeaderName::from_static(name), value);
    }
    if !take.allowed {
        headers.insert(RETRY_AFTER, whole_seconds(take.wait).into());
    }
}

/// Rounded up, so that nobody is told to come back too early.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
