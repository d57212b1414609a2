//! What operators see: `/metrics` for Prometheus, `/dashboard` for people, `/healthz` and
//! `/readyz` for whatever starts and stops the demo.
//!
//! Served apart from what the limiter guards, on a port that only this machine reaches unless a
//! token is set.

mod admission;
mod events;

use std::sync::Arc;

use hyper::body::Bytes;
use hyper::header::{
    HeaderName, HeaderValue, ALLOW, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, StatusCode};

use crate::census::SharedCensus;
use crate::http::{read, text, Body, Request, Response};
use crate::limiter::Limiter;
use crate::log::log;
use crate::metrics::Exposition;
use crate::store::StoreError;
use events::Pages;

/// A key as the page shows it is no longer: each of its bytes takes up to four characters.
const MAX_KEY: usize = 1024;

/// Nothing from elsewhere, nothing inline, and no page may frame this one.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
);

/// What the pages need.
pub struct Admin {
    limiter: Arc<Limiter>,
    /// Whoever has this may see and do everything here; `None`: whoever is on this machine.
    token: Option<String>,
    census: SharedCensus,
    pages: Pages,
}

/// Where something is, and who may ask for it how.
enum Place {
    File(&'static str, &'static str),
    Events,
    Metrics,
    Reset,
    Health,
    Readiness,
}

impl Place {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/dashboard" => Self::File(
                "text/html; charset=utf-8",
                include_str!("dashboard/page.html"),
            ),
            "/dashboard/script.js" => Self::File(
                "text/javascript; charset=utf-8",
                include_str!("dashboard/script.js"),
            ),
            "/dashboard/style.css" => Self::File(
                "text/css; charset=utf-8",
                include_str!("dashboard/style.css"),
            ),
            "/dashboard/events" => Self::Events,
            "/dashboard/reset" => Self::Reset,
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Health,
            "/readyz" => Self::Readiness,
            _ => return None,
        })
    }

    fn methods(&self) -> &'static str {
        match self {
            Self::Reset => "POST",
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
            Place::File(kind, content) => {
                let mut response = text(StatusCode::OK, content);
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
                headers.insert(CONTENT_SECURITY_POLICY, POLICY);
                response
            }
            Place::Events if request.method() == Method::HEAD => text(StatusCode::OK, ""),
            Place::Events => self.events(),
            Place::Metrics => self.metrics().await,
            Place::Reset => match read(request.body_mut(), MAX_KEY).await {
                Ok(key) => self.reset(&key).await,
                Err((status, why)) => text(status, why),
            },
            Place::Health => text(StatusCode::OK, "The demo runs\n"),
            Place::Readiness => self.readiness().await,
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

    /// Resets the key in the body, if it is among those denied most: nothing else of what the
    /// servers hold can be deleted from here.
    async fn reset(&self, shown: &[u8]) -> Response {
        let census = match self.limiter.store.census().await {
            Ok(census) => census,
            Err(error) => return failed(&error),
        };
        let mut top = census.top.into_iter();
        let found = top.find(|o| o.is_whole() && o.shown().as_bytes() == shown);
        let Some(offender) = found else {
            let words = "No such key among those denied most\n";
            return text(StatusCode::NOT_FOUND, words);
        };
        if let Err(error) = self.limiter.store.reset(&offender.key).await {
            return failed(&error);
        }
        log(&format!("Reset {}", offender.shown()));
        let mut response = Response::new(Body::Text(Bytes::new()));
        *response.status_mut() = StatusCode::NO_CONTENT;
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
