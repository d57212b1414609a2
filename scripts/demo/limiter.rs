//! The limiter in front of a service: who is asking, may they, and what they are told.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{select, Either};
use hyper::header::{HeaderName, HeaderValue, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, RETRY_AFTER};
use hyper::{Method, StatusCode};
use tokio::time::{sleep, sleep_until, timeout, Instant};

use crate::caller::KeyBy;
use crate::fields::tell;
use crate::http::{text, Request, Response};
use crate::limit::Demand;
use crate::log::{log, Warnings};
use crate::metrics::{Metrics, Outcome};
use crate::stop::Stopping;
use crate::store::{Answer, Store};

/// When to come back if the limiter is not there, in seconds.
const SOON: HeaderValue = HeaderValue::from_static("1");

/// How long a store that is away is waited for, to give something back.
const GIVING_BACK: Duration = Duration::from_secs(10);

/// What becomes of a request that the store gives no answer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fail {
    /// It goes through.
    Open,
    /// It is refused with 503.
    Closed,
}

/// One shared limiter.
pub struct Limiter {
    pub store: Arc<dyn Store>,
    pub demand: Demand,
    pub key_by: KeyBy,
    /// How long the store may take to answer.
    pub timeout: Duration,
    pub fail: Fail,
    /// Whether a preflight is charged as any other request.
    pub charge_preflight: bool,
    pub stopping: Stopping,
    pub warnings: Warnings,
    pub metrics: Metrics,
}

impl Limiter {
    /// Has `request` answered by `service`, delays it or refuses it.
    pub async fn guard<F: Future<Output = Response>>(
        self: Arc<Self>,
        request: Request,
        service: impl FnOnce(Request) -> F,
    ) -> Response {
        if !self.charge_preflight && is_preflight(&request) {
            self.metrics.count(Outcome::Exempt);
            return service(request).await;
        }
        let key = match self.key_by.key(&request) {
            Ok(key) => key,
            Err(why) => {
                self.metrics.count(Outcome::Invalid);
                return text(StatusCode::BAD_REQUEST, why);
            }
        };
        let answer = self.ask(&key).await;
        let outcome = Outcome::of(&answer, self.fail);
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(reason) => {
                self.metrics.count(outcome);
                let failed = outcome.name().replace('_', " ");
                self.warnings.warn(&format!("limiter {failed}: {reason}"));
                return match outcome {
                    Outcome::FailedClosed => unavailable("Rate limiter unavailable\n"),
                    _ => service(request).await,
                };
            }
        };
        if outcome == Outcome::Delayed {
            let turn = Turn::reserved(&self, key);
            if !turn.comes_after(answer.wait).await {
                self.metrics.count(Outcome::Stopped);
                return unavailable("The server is stopping\n");
            }
            let limits = self.demand.limits.iter().zip(&mut answer.standings);
            for (limit, standing) in limits {
                *standing = limit.later(*standing, answer.wait);
            }
        }
        self.metrics.count(outcome);
        let mut response = if answer.allowed {
            service(request).await
        } else {
            log("Rate limit exceeded");
            text(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded\n")
        };
        tell(response.headers_mut(), &self.demand.limits, &answer);
        response
    }

    /// The store's answer in time, or why there is none.
    ///
    /// Where that means a refusal, a take that comes late is given back.
    async fn ask(self: &Arc<Self>, key: &str) -> Result<Answer, String> {
        let start = Instant::now();
        let (limiter, name) = (self.clone(), key.to_owned());
        let mut take =
            tokio::spawn(async move { limiter.store.take(&name, &limiter.demand).await });
        let answer = match timeout(self.timeout, &mut take).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(error))) => return Err(error.to_string()),
            Ok(Err(broken)) => return Err(broken.to_string()),
            Err(_) => Err(format!("no answer within {:?}", self.timeout)),
        };
        self.metrics.took(start.elapsed());
        match (&answer, self.fail) {
            (Err(_), Fail::Open) => take.abort(),
            (Err(_), Fail::Closed) => {
                let (limiter, key) = (self.clone(), key.to_owned());
                tokio::spawn(async move {
                    if matches!(take.await, Ok(Ok(late)) if late.allowed) {
                        limiter.give_back(&key).await;
                    }
                });
            }
            (Ok(_), _) => {}
        }
        answer
    }

    /// A store that is not there is waited for, but not for ever.
    async fn give_back(&self, key: &str) {
        let start = Instant::now();
        while !self.store.is_up() && start.elapsed() < GIVING_BACK {
            sleep(Duration::from_millis(50)).await;
        }
        if let Err(error) = self.store.give_back(key, &self.demand).await {
            self.warnings
                .warn(&format!("what was taken could not be given back: {error}"));
        }
    }
}

/// Tokens that are reserved for a request that waits for its turn. They go back if it never comes:
/// if the caller hangs up, or the server stops before.
struct Turn {
    limiter: Arc<Limiter>,
    /// `None` once they are used or given back.
    key: Option<String>,
}

impl Turn {
    fn reserved(limiter: &Arc<Limiter>, key: String) -> Self {
        let (limiter, key) = (limiter.clone(), Some(key));
        Self { limiter, key }
    }

    /// Waits so long; `false` if the server stops before.
    async fn comes_after(mut self, wait: Duration) -> bool {
        let turn = Instant::now() + wait;
        let stopped = pin!(self.limiter.stopping.ends_before(turn));
        let came = match select(pin!(sleep_until(turn)), stopped).await {
            Either::Left(_) => true,
            Either::Right(_) => false,
        };
        if let Some(key) = self.key.take().filter(|_| !came) {
            self.limiter.give_back(&key).await;
        }
        came
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            let limiter = self.limiter.clone();
            tokio::spawn(async move { limiter.give_back(&key).await });
        }
    }
}

fn unavailable(words: &'static str) -> Response {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, words);
    response.headers_mut().insert(RETRY_AFTER, SOON);
    response
}

/// What a browser asks by itself before it lets a page send its request.
fn is_preflight(request: &Request) -> bool {
    let has = |name: &HeaderName| request.headers().contains_key(name);
    request.method() == Method::OPTIONS && has(&ORIGIN) && has(&ACCESS_CONTROL_REQUEST_METHOD)
}

impl Outcome {
    fn of(answer: &Result<Answer, String>, fail: Fail) -> Self {
        match answer {
            Ok(answer) if !answer.allowed => Self::Refused,
            Ok(answer) if answer.wait.is_zero() => Self::Allowed,
            Ok(_) => Self::Delayed,
            Err(_) if fail == Fail::Open => Self::FailedOpen,
            Err(_) => Self::FailedClosed,
        }
    }
}
