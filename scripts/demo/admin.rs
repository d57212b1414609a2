//! What operators see: `/metrics` for Prometheus, `/dashboard` for people.
//!
//! Served apart from what the limiter guards, on a port that only this machine reaches unless a
//! token is set.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::Router;
use futures_util::stream::{self, Stream};
use prometheus::{IntGauge, TextEncoder};
use ring::digest::{digest, SHA256};
use serde::Serialize;
use tokio::time::{interval, MissedTickBehavior};

use crate::census::{self, Census};
use crate::limiter::Limiter;
use crate::log::log;
use crate::store::Buckets;

/// Between two events of the dashboard.
const BEAT: Duration = Duration::from_secs(1);

/// `RL.TOP` tells no more of a key than so many bytes: one that long may stand for another.
const CUT: usize = 256;

/// What the pages need.
pub struct Admin {
    pub limiter: Arc<Limiter<Buckets>>,
    /// Whoever has this may see and do everything here; `None`: whoever is on this machine.
    pub token: Option<String>,
}

/// The pages.
pub fn router(admin: Admin) -> Router {
    let admin = Arc::new(admin);
    let file = |kind: &'static str, text: &'static str| {
        get(move || async move {
            (
                [(CONTENT_TYPE, kind), (CONTENT_SECURITY_POLICY, POLICY)],
                text,
            )
        })
    };
    let page = include_str!("dashboard/page.html");
    let script = include_str!("dashboard/script.js");
    let style = include_str!("dashboard/style.css");
    Router::new()
        .route("/dashboard", file("text/html; charset=utf-8", page))
        .route(
            "/dashboard/script.js",
            file("text/javascript; charset=utf-8", script),
        )
        .route(
            "/dashboard/style.css",
            file("text/css; charset=utf-8", style),
        )
        .route("/dashboard/events", get(events))
        .route("/dashboard/reset", post(reset))
        .route("/metrics", get(metrics))
        .layer(middleware::from_fn_with_state(admin.clone(), admit))
        .with_state(admin)
}

/// Nothing from elsewhere, nothing inline, and no page may frame this one.
const POLICY: &str =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Lets in who may come in.
async fn admit(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let Some(token) = &admin.token else {
        // A page elsewhere whose name was made to lead here says that name.
        if names_this_machine(request.headers()) {
            return next.run(request).await;
        }
        return (
            StatusCode::FORBIDDEN,
            "Only as localhost, or set --admin-token\n",
        )
            .into_response();
    };
    let headers = request.headers();
    let in_query = request
        .uri()
        .query()
        .and_then(|query| query.strip_prefix("token="));
    if is(token, said(headers, AUTHORIZATION, "Bearer "))
        || is(token, said(headers, COOKIE, "token="))
    {
        return next.run(request).await;
    }
    if is(token, in_query) {
        let cookie = format!("token={token}; HttpOnly; SameSite=Strict; Path=/");
        let to = request.uri().path().to_owned();
        return (
            StatusCode::SEE_OTHER,
            [(SET_COOKIE, cookie), (LOCATION, to)],
        )
            .into_response();
    }
    let hint = "A token is needed: /dashboard?token=TOKEN, or 'Authorization: Bearer TOKEN'\n";
    (StatusCode::UNAUTHORIZED, hint).into_response()
}

/// What follows `before` in a header.
fn said<'a>(headers: &'a HeaderMap, name: HeaderName, before: &str) -> Option<&'a str> {
    let value = headers.get(name)?.to_str().ok()?;
    value.split("; ").find_map(|part| part.strip_prefix(before))
}

/// Digests are compared so that the time it takes tells nothing of the token.
fn is(token: &str, said: Option<&str>) -> bool {
    said.is_some_and(|said| {
        digest(&SHA256, said.as_bytes()).as_ref() == digest(&SHA256, token.as_bytes()).as_ref()
    })
}

fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("");
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    ["localhost", "127.0.0.1", "[::1]"].contains(&name)
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    let limiter = &admin.limiter;
    let census = Census::take(&limiter.store.0).await;
    let up = IntGauge::new("demo_redis_up", "Whether Redis answers.")?;
    up.set(i64::from(limiter.store.0.is_up()));
    let mut families = limiter.metrics.registry.gather();
    families.extend(prometheus::core::Collector::collect(&up));
    if let Ok(census) = census {
        families.extend(census.metrics()?.gather());
    }
    let kind = [(CONTENT_TYPE, prometheus::TEXT_FORMAT)];
    Ok((kind, TextEncoder::new().encode_to_string(&families)?).into_response())
}

/// What an event of the dashboard carries. The counts only grow, until a restart.
#[derive(Serialize)]
struct Snapshot {
    /// Whether Redis answers.
    up: bool,
    /// Each as rate and burst.
    limits: Vec<(String, u64)>,
    /// Tokens that a request takes.
    cost: u64,
    requests: BTreeMap<&'static str, u64>,
    /// Takes that took at most so many seconds.
    takes: Vec<(f64, u64)>,
    /// What the servers tell, if they do.
    census: Option<Census>,
}

async fn events(
    State(admin): State<Arc<Admin>>,
) -> Sse<impl Stream<Item = Result<Event, axum::Error>>> {
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let snapshots = stream::unfold((admin, beat), |(admin, mut beat)| async {
        beat.tick().await;
        let limiter = &admin.limiter;
        let snapshot = Snapshot {
            census: Census::take(&limiter.store.0).await.ok(),
            up: limiter.store.0.is_up(),
            limits: limiter
                .demand
                .limits
                .iter()
                .map(|l| (l.rate.clone(), l.burst))
                .collect(),
            cost: limiter.demand.cost,
            requests: limiter.metrics.requests().into(),
            takes: limiter.metrics.takes(),
        };
        Some((Event::default().json_data(snapshot), (admin, beat)))
    });
    Sse::new(snapshots)
}

/// Deletes the bucket of the key in the body, if it is among those denied most: nothing else of
/// what the servers hold can be deleted from here.
async fn reset(State(admin): State<Arc<Admin>>, body: String) -> Result<Response, Failure> {
    let link = &admin.limiter.store.0;
    let Some(offender) = census::top(link)
        .await?
        .into_iter()
        .find(|o| o.shown == body && o.key.len() < CUT)
    else {
        return Ok((
            StatusCode::NOT_FOUND,
            "No such key among those denied most\n",
        )
            .into_response());
    };
    let mut delete = redis::cmd("DEL");
    delete.arg(&offender.key);
    link.call(delete, &offender.key).await?;
    log(&format!("Reset {}", offender.shown));
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Something that should work did not.
struct Failure(String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (StatusCode::BAD_GATEWAY, self.0 + "\n").into_response()
    }
}
