//! A layer for tower: axum, tonic, hyper.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use redis::aio::ConnectionLike;
use tower_layer::Layer;
use tower_service::Service;

use crate::{fields, Address, Caller, Decision, Error, Limiter, Local, Options, Rate, Source};

type Of<T> = Arc<dyn Fn(&Parts) -> T + Send + Sync>;

/// A [`Limiter`], or a [`Local`] in its place.
pub trait Takes: Clone + Send + Sync + 'static {
    /// Takes `cost` tokens or none.
    fn take_cost(
        &self,
        key: &str,
        rate: &Rate,
        burst: u64,
        cost: u64,
    ) -> impl Future<Output = Result<Decision, Error>> + Send;
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Takes for Limiter<C> {
    async fn take_cost(
        &self,
        key: &str,
        rate: &Rate,
        burst: u64,
        cost: u64,
    ) -> Result<Decision, Error> {
        self.take(key, rate, burst, Options::cost(cost)).await
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Takes for Local<C> {
    async fn take_cost(
        &self,
        key: &str,
        rate: &Rate,
        burst: u64,
        cost: u64,
    ) -> Result<Decision, Error> {
        self.take(key, rate, burst, cost).await
    }
}

/// Charges each request to its caller.
///
/// Place it inside the layer for CORS, or a 429 lacks the fields of CORS, and the page sees only a network
/// error. In axum the layer that is added last is outermost: add this one first. A preflight of CORS is never
/// charged. A mistake (a missing module, a missing permission) is answered with 500; call
/// [`Limiter::check`] at start.
#[derive(Clone)]
pub struct RateLimit<L> {
    limiter: L,
    rate: Rate,
    burst: u64,
    policy: Arc<str>,
    key: Of<String>,
    skip: Of<bool>,
    cost: Of<u64>,
    expose: bool,
}

impl<L> RateLimit<L> {
    /// Charges everybody to one bucket, unless [`caller`](Self::caller) or [`key`](Self::key) distinguishes them.
    pub fn new(limiter: L, rate: Rate, burst: u64) -> Self {
        Self {
            policy: fields::policy(&rate, burst).into(),
            limiter,
            rate,
            burst,
            key: Arc::new(|_| "limit:all".to_owned()),
            skip: Arc::new(|_| false),
            cost: Arc::new(|_| 1),
            expose: true,
        }
    }

    /// Charges each caller, by the address of its connection. In axum that is
    /// `|parts| parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip())`; without one, the
    /// connection counts as a Unix socket.
    pub fn caller<A, P>(self, caller: Caller, peer: P) -> Self
    where
        A: Into<std::net::IpAddr>,
        P: Fn(&Parts) -> Option<A> + Send + Sync + 'static,
    {
        self.key(move |parts| {
            let peer = peer(parts).map_or(Address::Unix, |address| Address::Ip(address.into()));
            caller.key_of(peer, &parts.headers)
        })
    }

    /// Charges the bucket of this key.
    pub fn key(mut self, key: impl Fn(&Parts) -> String + Send + Sync + 'static) -> Self {
        self.key = Arc::new(key);
        self
    }

    /// Leaves a request alone, such as a health check.
    pub fn skip(mut self, skip: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.skip = Arc::new(skip);
        self
    }

    /// Charges this much.
    pub fn cost(mut self, cost: impl Fn(&Parts) -> u64 + Send + Sync + 'static) -> Self {
        self.cost = Arc::new(cost);
        self
    }

    /// Sets whether pages of another origin may read the fields (default: true).
    pub fn expose(mut self, expose: bool) -> Self {
        self.expose = expose;
        self
    }
}

impl<S, L: Clone> Layer<S> for RateLimit<L> {
    type Service = RateLimited<S, L>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimited {
            inner,
            limit: self.clone(),
        }
    }
}

/// A service behind a [`RateLimit`].
#[derive(Clone)]
pub struct RateLimited<S, L> {
    inner: S,
    limit: RateLimit<L>,
}

impl<S, L, B, R> Service<Request<B>> for RateLimited<S, L>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    L: Takes,
    B: Send + 'static,
    R: From<&'static str> + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let limit = self.limit.clone();
        // The one that is ready serves this request, a clone the next.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            if is_preflight(&parts) || (limit.skip)(&parts) {
                return inner.call(Request::from_parts(parts, body)).await;
            }
            let cost = (limit.cost)(&parts);
            let key = (limit.key)(&parts);
            let taken = limit
                .limiter
                .take_cost(&key, &limit.rate, limit.burst, cost)
                .await;
            let Ok(decision) = taken else {
                let text = "Rate limiter misconfigured\n";
                return Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, text));
            };
            let expose = limit.expose && parts.headers.contains_key(http::header::ORIGIN);
            let fields = fields::of(&decision, &limit.policy);
            let mut response = match (decision.allowed, decision.source) {
                (true, _) => inner.call(Request::from_parts(parts, body)).await?,
                (false, Source::Policy) => refusal(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "Rate limiter unavailable\n",
                ),
                (false, _) => refusal(StatusCode::TOO_MANY_REQUESTS, "Too many requests\n"),
            };
            fields::add(response.headers_mut(), fields, expose);
            Ok(response)
        })
    }
}

fn is_preflight(parts: &Parts) -> bool {
    let has = |headers: &HeaderMap, name| headers.contains_key(name);
    parts.method == Method::OPTIONS
        && has(&parts.headers, http::header::ORIGIN)
        && has(&parts.headers, http::header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn refusal<R: From<&'static str>>(status: StatusCode, text: &'static str) -> Response<R> {
    let mut response = Response::new(R::from(text));
    *response.status_mut() = status;
    let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, plain);
    response
}
