//! Rate limits for axum, as a layer of tower, by RL.TAKE.
//! Needs axum, tower (util), tokio (full), redis (connection-manager, tokio-comp).

use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, Route, Router};
use redis::aio::{ConnectionManager as Redis, ConnectionManagerConfig};
use redis::{Client, RedisError};
use std::time::{Duration, Instant};
use std::{convert::Infallible, env, error::Error, net::SocketAddr, sync::Mutex};
use tower::{layer::layer_fn, service_fn, ServiceExt};

const LIMIT: [&str; 2] = ["100/m", "20"];
const POLICY: &str = "\"default\";q=20;w=12"; // w: seconds in which an empty bucket fills.
const TIMEOUT: Duration = Duration::from_millis(50);

async fn limit(redis: Redis, app: Route, request: Request) -> Result<Response, Infallible> {
    let reply = take(redis, key_of(&request)).await;
    let Ok([taken, _, left, wait_ms, reset_ms]) = reply.inspect_err(warn) else {
        return app.oneshot(request).await;
    };
    let ms = if taken > 0 { reset_ms } else { wait_ms };
    let seconds = (ms + 999) / 1000; // Rounded up.
    let response = if taken > 0 {
        app.oneshot(request).await?
    } else {
        let wait = [("Retry-After", seconds.to_string())];
        (StatusCode::TOO_MANY_REQUESTS, wait, "Too many requests\n").into_response()
    };
    let left = format!("\"default\";r={left};t={seconds}");
    let fields = [("RateLimit-Policy", POLICY), ("RateLimit", &left)];
    Ok((fields, response).into_response())
}

async fn take(mut redis: Redis, key: String) -> Result<[i64; 5], RedisError> {
    let mut command = redis::cmd("RL.TAKE");
    let answer = command.arg(key).arg(&LIMIT).query_async(&mut redis);
    let answer = tokio::time::timeout(TIMEOUT, answer).await;
    answer.map_err(std::io::Error::from)?
}

/// Returns the key of a request. Authenticate first: every invented API key gets a new bucket.
fn key_of(request: &Request) -> String {
    let name = request.headers().get("x-api-key");
    let name = name.and_then(|name| name.to_str().ok()).unwrap_or("");
    let plain = |c: char| c.is_ascii_alphanumeric() || "._~+/=-".contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(plain) {
        return format!("limit:key:{name}");
    }
    let peer: &ConnectInfo<SocketAddr> = request.extensions().get().expect("a peer");
    format!("limit:ip:{}", peer.ip().to_canonical())
}

fn warn(error: &RedisError) {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None); // A line a second is enough.
    let mut last = LAST.lock().expect("nobody panics who holds it");
    if last.is_none_or(|last| last.elapsed().as_secs() >= 1) {
        *last = Some(Instant::now());
        eprintln!("rate limiter failed open: {error}");
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::open(env::var("REDIS_URL").unwrap_or("redis://localhost".into()))?;
    // While Redis is away a call fails at once, rather than wait for one more try.
    let config = ConnectionManagerConfig::new().set_number_of_retries(0);
    let redis = Redis::new_lazy_with_config(client, config)?;
    let limited = layer_fn(move |app: Route| {
        let redis = redis.clone();
        service_fn(move |request| limit(redis.clone(), app.clone(), request))
    });
    let app = Router::new().route("/", get(|| async { "Hello\n" }));
    let app = app.layer(limited);
    let port = env::var("PORT").unwrap_or("8000".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}
