//! What operators see: `/metrics` for Prometheus, `/dashboard` for people, `/healthz` and
//! `/readyz` for whatever starts and stops the demo.
//!
//! Served apart from what the limiter guards, on a port that only this machine reaches unless a
//! token is set.

mod admission;
mod board;
mod callers;
mod events;
mod page;
mod snapshot;

use std::sync::Arc;

use hyper::header::{
    HeaderName, HeaderValue, ALLOW, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, StatusCode};

use crate::census::SharedCensus;
use crate::http::{read, text, Request, Response};
use crate::limiter::Limiter;
use crate::metrics::Exposition;
use crate::store::StoreError;
use board::Board;
use events::Pages;
use page::{PAGE, POLICY};

/// What a caller says of itself may be as long as all of its headers; with it comes a token.
const MAX_ASKED: usize = 17 * 1024;

/// What the pages need.
pub struct Admin {
    limiter: Arc<Limiter>,
    /// Whoever has this may see and do everything here; `None`: whoever is on this machine.
    token: Option<String>,
    census: SharedCensus,
    board: Board,
    pages: Pages,
}

/// Where something is, and who may ask for it how.
enum Place {
    Page,
    Events,
    Metrics,
    Look,
    Refill,
    Free,
    Forget,
    Health,
    Readiness,
}

impl Place {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/dashboard" => Self::Page,
            "/dashboard/events" => Self::Events,
            "/dashboard/look" => Self::Look,
            "/dashboard/refill" => Self::Refill,
            "/dashboard/free" => Self::Free,
            "/dashboard/forget" => Self::Forget,
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Health,
            "/readyz" => Self::Readiness,
            _ => return None,
        })
    }

    fn methods(&self) -> &'static str {
        match self {
            Self::Look | Self::Refill | Self::Free | Self::Forget => "POST",
            _ => "GET, HEAD",
        }
    }

    /// Whether anybody may ask: it tells yes or no and nothing else, and what asks has no token.
    fn is_public(&self) -> bool {
        matches!(self, Self::Health | Self::Readiness)
    }
}

impl Admin {
    pub fn new(limiter: Arc<Limiter>, token: Option<String>) -> Self {
        let census = SharedCensus::of(limiter.store.clone());
        Self {
            limiter,
            token,
            census,
            board: Board::default(),
            pages: Pages::default(),
        }
    }

    /// Answers a request for one of the pages.
    pub async fn answer(self: Arc<Self>, request: Request) -> Response {
        let mut response = self.find(request).await;
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("same-origin"),
        );
        response
    }

    async fn find(self: Arc<Self>, mut request: Request) -> Response {
        let place = Place::of(request.uri().path());
        if !place.as_ref().is_some_and(Place::is_public) {
            if let Some(refusal) = self.refuse(&request) {
                return refusal;
            }
        }
        let Some(place) = place else {
            return text(StatusCode::NOT_FOUND, "There is no such page\n");
        };
        let methods = place.methods();
        if !methods.split(", ").any(|m| m == request.method().as_str()) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Not by this method\n");
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static(methods));
            return response;
        }
        match place {
            Place::Page => {
                let mut response = text(StatusCode::OK, PAGE.as_str());
                let headers = response.headers_mut();
                let kind = HeaderValue::from_static("text/html; charset=utf-8");
                headers.insert(CONTENT_TYPE, kind);
                headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
                response
            }
            Place::Events if request.method() == Method::HEAD => text(StatusCode::OK, ""),
            Place::Events => self.events(),
            Place::Metrics => self.metrics().await,
            Place::Look | Place::Refill | Place::Free | Place::Forget => {
                match read(request.body_mut(), MAX_ASKED).await {
                    Ok(asked) => self.act(&place, &String::from_utf8_lossy(&asked)).await,
                    Err((status, why)) => text(status, why),
                }
            }
            Place::Health => text(StatusCode::OK, "The demo runs\n"),
            Place::Readiness => self.readiness().await,
        }
    }

    async fn act(&self, place: &Place, asked: &str) -> Response {
        match place {
            Place::Look => self.look(asked).await,
            Place::Refill => self.refill(asked).await,
            Place::Free => self.free(asked).await,
            _ => self.forget().await,
        }
    }

    async fn metrics(&self) -> Response {
        let mut exposition = Exposition::default();
        let census = self.census.get().await;
        self.limiter.metrics.expose(&mut exposition);
        exposition.metric("demo_redis_up", "gauge", "Whether Redis answers.");
        let up = u64::from(self.limiter.store.is_up());
        exposition.sample("demo_redis_up", "", up);
        if let Ok(census) = &*census {
            census.expose(&mut exposition);
        }
        let mut response = text(StatusCode::OK, exposition.0);
        let kind = HeaderValue::from_static("text/plain; version=0.0.4");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    async fn readiness(&self) -> Response {
        if self.limiter.stopping.is_asked() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "The demo is stopping\n");
        }
        match self.limiter.store.ready().await {
            Ok(()) => text(StatusCode::OK, "Ready\n"),
            Err(_) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "Redis with the module does not answer\n",
            ),
        }
    }
}

fn failed(error: &StoreError) -> Response {
    text(StatusCode::BAD_GATEWAY, format!("{error}\n"))
}
