//! The limiter in front of a service: identifies callers, decides, and answers.

mod grant;
mod state;

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http_body_util::BodyExt;
use hyper::header::{HeaderName, HeaderValue, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, RETRY_AFTER};
use hyper::{Method, StatusCode};
use tokio::task::JoinHandle;
use tokio::time::{timeout, Instant};

use crate::fields::{self, expose};
use crate::http::{text, Request, Response};
use crate::limit::Ask;
use crate::log::log;
use crate::metrics::Outcome;
use crate::store::{Answer, StoreError};
use grant::Grant;
pub use state::{Fail, Limiter};

/// The retry time while the limiter is away, in seconds.
const SOON: HeaderValue = HeaderValue::from_static("1");

impl Limiter {
    /// Has `request` answered by `service`, or refuses it.
    pub async fn guard<F: Future<Output = Response>>(
        self: Arc<Self>,
        request: Request,
        service: impl FnOnce(Request) -> F,
    ) -> Response {
        if is_preflight(&request) {
            self.metrics.count(Outcome::Exempt);
            return text(StatusCode::NO_CONTENT, "");
        }
        let from_page = request.headers().contains_key(ORIGIN);
        let mut response = self.decide(request, service).await;
        if from_page {
            expose(response.headers_mut());
        }
        response
    }

    async fn decide<F: Future<Output = Response>>(
        self: Arc<Self>,
        request: Request,
        service: impl FnOnce(Request) -> F,
    ) -> Response {
        let ask = match self.ask_of(&request) {
            Ok(ask) => Arc::new(ask),
            Err(why) => {
                self.metrics.count(Outcome::Invalid);
                return text(StatusCode::BAD_REQUEST, why);
            }
        };
        let (answer, grant, outcome) = match self.ask(&ask).await {
            Ok((answer, grant)) => (answer, grant, Outcome::Allowed),
            Err(failure) => match self.fall_back(&ask, failure).await {
                Ok((answer, grant)) => (answer, grant, Outcome::FailedOpen),
                Err(refusal) => return refusal,
            },
        };
        let Some(grant) = grant else {
            return self.refuse(&answer);
        };
        self.metrics.count(outcome);
        let held = grant.spend();
        let mut response = service(request).await;
        if let Some(held) = held {
            // Until the last of the body is sent.
            response = response.map(|body| {
                let body = body.map_frame(move |frame| {
                    let _held = &held;
                    frame
                });
                body.boxed_unsync()
            });
        }
        fields::write(response.headers_mut(), &self.demand.limits, &answer);
        response
    }

    /// Returns the request to the limits.
    ///
    /// # Errors
    /// It does not identify its caller or its cost clearly; contains the answer.
    fn ask_of(&self, request: &Request) -> Result<Ask, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_millis();
        Ok(Ask {
            caller: self.key_by.key(request)?,
            cost: self.costs.of(request)?,
            token: Ask::new_token(),
            asked_at: u64::try_from(now).unwrap_or(u64::MAX),
        })
    }

    /// Returns the store's timely answer with its grant, or the reason why there is none.
    ///
    /// A late take is refunded, unless [`Failure::served`] is called.
    async fn ask(self: &Arc<Self>, ask: &Arc<Ask>) -> Result<Taken, Failure> {
        let start = Instant::now();
        let (limiter, asked) = (self.clone(), ask.clone());
        // Goes on after this is dropped, and then drops the grant.
        let mut take = tokio::spawn(async move {
            let answer = limiter.store.take(&limiter.demand, &asked).await?;
            let store = limiter.store.clone();
            let grant = answer.allowed.then(|| Grant::new(limiter, store, asked));
            Ok::<_, StoreError>((answer, grant))
        });
        let taken = timeout(self.timeout, &mut take).await;
        if !matches!(taken, Ok(Ok(Err(_)))) {
            self.metrics.took(start.elapsed());
        }
        let (reason, late) = match taken {
            Ok(Ok(Ok(taken))) => return Ok(taken),
            Ok(Ok(Err(error))) => (error.to_string(), None),
            Ok(Err(broken)) => (broken.to_string(), None),
            Err(_) => (format!("no answer within {:?}", self.timeout), Some(take)),
        };
        Err(Failure { reason, late })
    }

    /// Handles a request without the store's reply: with [`Fail::Open`] the same limits, kept in
    /// this process, decide.
    ///
    /// # Errors
    /// The request is refused; contains the response.
    async fn fall_back(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        failure: Failure,
    ) -> Result<Taken, Response> {
        let failed = match self.fail {
            Fail::Open => "failed open",
            Fail::Closed => "failed closed",
        };
        let reason = &failure.reason;
        self.warnings.warn(&format!("limiter {failed}: {reason}"));
        let taken = match self.fail {
            Fail::Open => self.fallback.take(&self.demand, ask).await,
            Fail::Closed => Err("not asked".into()),
        };
        let Ok(answer) = taken else {
            self.metrics.count(Outcome::FailedClosed);
            return Err(unavailable("Rate limiter unavailable\n"));
        };
        let store = self.fallback.clone();
        let grant = answer
            .allowed
            .then(|| Grant::new(self.clone(), store, ask.clone()));
        if grant.is_some() {
            failure.served();
        }
        Ok((answer, grant))
    }

    /// Responds to a denied request, and logs and counts the limits that denied it.
    fn refuse(&self, answer: &Answer) -> Response {
        self.metrics.count(Outcome::Refused);
        let mut names = Vec::new();
        let limits = self.demand.limits.iter().zip(&answer.standings);
        for ((limit, standing), count) in limits.zip(&self.metrics.denied) {
            if !standing.allows {
                count.fetch_add(1, Ordering::Relaxed);
                names.push(limit.name.as_str());
            }
        }
        match self.demand.limits.len() {
            1 => log("Rate limit exceeded"),
            _ => log(&format!("Rate limit exceeded: {}", names.join(", "))),
        }
        let mut response = text(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded\n");
        fields::write(response.headers_mut(), &self.demand.limits, answer);
        response
    }
}

/// An answer, and what it granted if it allowed the request.
type Taken = (Answer, Option<Grant>);

/// Why the store gave no answer.
struct Failure {
    reason: String,
    /// A take that may still come.
    late: Option<JoinHandle<Result<Taken, StoreError>>>,
}

impl Failure {
    /// Records that the request is served nevertheless, so a late take keeps its cost and only
    /// releases its slots.
    fn served(self) {
        let Some(late) = self.late else { return };
        tokio::spawn(async move {
            if let Ok(Ok((_, Some(grant)))) = late.await {
                drop(grant.spend());
            }
        });
    }
}

fn unavailable(words: &'static str) -> Response {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, words);
    response.headers_mut().insert(RETRY_AFTER, SOON);
    response
}

/// Returns whether the request is a browser's preflight. The answer is always the limiter's own
/// 204, which grants nothing: anybody can send these headers, so the service must not receive them.
/// A service that admits other origins puts its CORS layer in front of this one.
fn is_preflight(request: &Request) -> bool {
    let has = |name: &HeaderName| request.headers().contains_key(name);
    request.method() == Method::OPTIONS && has(&ORIGIN) && has(&ACCESS_CONTROL_REQUEST_METHOD)
}
