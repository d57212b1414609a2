//! The operators' pages: `/metrics` for Prometheus, `/dashboard` for people, `/healthz` and `/readyz`
//! for service managers.
//!
//! Served apart from what the limiter guards, on a port that only this machine reaches unless a
//! token is set.

mod admission;
mod board;
mod callers;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{unfold, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{
    HeaderName, HeaderValue, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, StatusCode};
use tokio::sync::watch::Receiver;
use tokio::sync::Mutex;
use tokio::time::{interval, MissedTickBehavior};

use crate::census;
use crate::http::{read, text, typed, Request, Response};
use crate::limiter::Limiter;
use crate::metrics::Exposition;
use board::{Board, Taken, BEAT};

const PAGE: &str = include_str!("dashboard/page.html");
const SCRIPT: &str = concat!(
    include_str!("dashboard/chart.js"),
    include_str!("dashboard/callers.js"),
    include_str!("dashboard/script.js"),
);
const STYLE: &str = include_str!("dashboard/style.css");
/// Nothing from elsewhere, nothing inline, and no page may frame this one.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
);

/// A census this young is as good as a new one.
const FRESH: Duration = Duration::from_millis(900);

/// The state of the pages.
pub struct Admin {
    limiter: Arc<Limiter>,
    /// Whoever has this may see and do everything here; `None`: whoever is on this machine.
    token: Option<String>,
    /// The last reading of the store's counters.
    census: Mutex<Option<Arc<Taken>>>,
    board: Board,
}

impl Admin {
    pub fn new(limiter: Arc<Limiter>, token: Option<String>) -> Self {
        Self {
            limiter,
            token,
            census: Mutex::default(),
            board: Board::default(),
        }
    }

    /// Answers a request for one of the pages.
    pub async fn answer(self: Arc<Self>, request: Request) -> Response {
        let mut response = self.find(request).await;
        let headers = response.headers_mut();
        for (name, value) in [
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (
                HeaderName::from_static("cross-origin-resource-policy"),
                "same-origin",
            ),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(CONTENT_SECURITY_POLICY, POLICY);
        response
    }

    async fn find(self: Arc<Self>, mut request: Request) -> Response {
        let path = request.uri().path().to_owned();
        // These two reply yes or no and nothing else, and whoever asks has no token.
        let public = ["/healthz", "/readyz"].contains(&path.as_str());
        if !public {
            if let Some(refusal) = admission::refuse(self.token.as_deref(), &request) {
                return refusal;
            }
        }
        let methods = match path.as_str() {
            "/dashboard/look" | "/dashboard/reset" => "POST",
            _ => "GET, HEAD",
        };
        let is_allowed = methods
            .split(", ")
            .any(|method| method == request.method().as_str());
        match path.as_str() {
            _ if !is_allowed => {
                let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Not by this method\n");
                let methods = HeaderValue::from_static(methods);
                response.headers_mut().insert(ALLOW, methods);
                response
            }
            "/dashboard" => typed("text/html; charset=utf-8", PAGE),
            "/dashboard/script.js" => typed("text/javascript; charset=utf-8", SCRIPT),
            "/dashboard/style.css" => typed("text/css; charset=utf-8", STYLE),
            "/dashboard/events" if request.method() == Method::HEAD => text(StatusCode::OK, ""),
            "/dashboard/events" => self.events(),
            "/dashboard/look" | "/dashboard/reset" => match read(request.body_mut()).await {
                Err(refusal) => refusal,
                Ok(asked) if path.ends_with("look") => callers::look(&self.limiter, &asked).await,
                Ok(asked) => callers::reset(&self.limiter, &asked).await,
            },
            "/metrics" => self.metrics().await,
            "/healthz" => text(StatusCode::OK, "The demo runs\n"),
            "/readyz" => self.readiness().await,
            _ => text(StatusCode::NOT_FOUND, "There is no such page\n"),
        }
    }

    async fn metrics(&self) -> Response {
        let mut exposition = Exposition::default();
        exposition.of(self.limiter.store.name());
        if let (_, Ok(census)) = &*self.census().await {
            census::expose(census, &mut exposition);
        }
        let limits = &self.limiter.demand.limits;
        self.limiter.metrics.expose(limits, &mut exposition);
        let up = u64::from(self.limiter.store.is_up());
        exposition.sample("demo_redis_up", "Whether Redis answers.", "", up);
        typed("text/plain; version=0.0.4", exposition.text())
    }

    /// Returns the store's counters, of now or of less than a second ago.
    async fn census(&self) -> Arc<Taken> {
        let mut last = self.census.lock().await;
        match &*last {
            Some(taken) if taken.0.elapsed() < FRESH => taken.clone(),
            _ => {
                let census = self.limiter.store.census().await;
                last.insert(Arc::new((Instant::now(), census))).clone()
            }
        }
    }

    async fn readiness(&self) -> Response {
        let (status, words) = if self.limiter.stopping.is_cancelled() {
            (StatusCode::SERVICE_UNAVAILABLE, "The demo is stopping\n")
        } else if self.limiter.store.ready().await.is_ok() {
            (StatusCode::OK, "Ready\n")
        } else {
            let words = "Redis with the module does not answer\n";
            (StatusCode::SERVICE_UNAVAILABLE, words)
        };
        text(status, words)
    }

    /// Sends the history, then a snapshot each second while the page is open, as server-sent
    /// events.
    fn events(self: Arc<Self>) -> Response {
        let events = unfold(None, move |snapshots: Option<Receiver<_>>| {
            let admin = self.clone();
            async move {
                let Some(mut snapshots) = snapshots else {
                    let (history, snapshots) = admin.board.open();
                    return Some((
                        format!("event: history\ndata: {history}\n\n"),
                        Some(snapshots),
                    ));
                };
                snapshots.changed().await.ok()?;
                let event = format!("data: {}\n\n", *snapshots.borrow_and_update());
                Some((event, Some(snapshots)))
            }
        });
        let frames = events.map(|event| Ok::<_, Infallible>(Frame::data(Bytes::from(event))));
        let mut response = typed("text/event-stream", "");
        *response.body_mut() = StreamBody::new(frames).boxed_unsync();
        let no_cache = HeaderValue::from_static("no-cache");
        response.headers_mut().insert(CACHE_CONTROL, no_cache);
        response
    }

    /// Keeps the board for as long as the demo runs. The store is asked only while a page is open,
    /// once a second however many there are.
    pub async fn keep_board(self: Arc<Self>) {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            let census = match self.board.is_watched() {
                true => Some(self.census().await),
                false => None,
            };
            self.board.note(&self.limiter, census.as_deref());
        }
    }
}
