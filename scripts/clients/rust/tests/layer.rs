//! The layer, with a real server behind.

#[path = "../../../../tests/common/mod.rs"]
mod common;

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use common::{Launch, Server};
use http::{Request, Response};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis_rl_client::{Caller, Limiter, Local, OnError, RateLimit, Settings, Takes};
use tower::{service_fn, Layer, ServiceExt};

type Layered = RateLimit<Limiter<ConnectionManager>>;

/// Returns a connection that outlasts a stall of the server.
async fn connection(server: &Server) -> ConnectionManager {
    let client = redis::Client::open(server.url()).expect("an address");
    let patience = Some(Duration::from_secs(60));
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(patience)
        .set_response_timeout(patience);
    let connection = ConnectionManager::new_with_config(client, config).await;
    connection.expect("a connection")
}

async fn layer(server: &Server, burst: u64, settings: Settings) -> Layered {
    let connection = connection(server).await;
    let settings = Settings {
        log: |_| {},
        ..settings
    };
    RateLimit::new(
        Limiter::new(connection, settings),
        "1/h".parse().expect("a rate"),
        burst,
    )
}

fn patient() -> Settings {
    Settings {
        timeout: Duration::from_secs(30),
        ..Settings::default()
    }
}

async fn ask<L: Takes>(layer: &RateLimit<L>, request: Request<String>) -> Response<String> {
    let app = service_fn(|_| async { Ok::<_, Infallible>(Response::new("Hello\n".to_owned())) });
    let Ok(response) = layer.layer(app).oneshot(request).await;
    response
}

fn get(path: &str, fields: &[(&str, &str)]) -> Request<String> {
    let mut request = Request::get(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(String::new()).expect("a request")
}

fn field<'a>(response: &'a Response<String>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

async fn status(layer: &Layered, path: &str, fields: &[(&str, &str)]) -> u16 {
    ask(layer, get(path, fields)).await.status().as_u16()
}

#[tokio::test]
async fn a_request_is_allowed_then_denied_with_its_fields() {
    let server = Server::start();
    let layer = layer(&server, 1, patient()).await;
    let first = ask(&layer, get("/", &[])).await;
    assert_eq!(
        (first.status().as_u16(), first.body().as_str()),
        (200, "Hello\n")
    );
    assert_eq!(
        field(&first, "RateLimit-Policy"),
        Some("\"default\";q=1;w=3600")
    );
    assert_eq!(field(&first, "RateLimit"), Some("\"default\";r=0;t=3600"));
    assert_eq!(field(&first, "Retry-After"), None);
    let denied = ask(&layer, get("/", &[("Origin", "https://page.example")])).await;
    assert_eq!(
        (denied.status().as_u16(), denied.body().as_str()),
        (429, "Too many requests\n")
    );
    let wait = field(&denied, "Retry-After").expect("a wait");
    assert_eq!(
        field(&denied, "RateLimit"),
        Some(format!("\"default\";r=0;t={wait}").as_str())
    );
    let exposed = field(&denied, "Access-Control-Expose-Headers");
    assert_eq!(exposed, Some("RateLimit, RateLimit-Policy, Retry-After"));
}

#[tokio::test]
async fn skip_cost_and_key_are_functions_and_a_preflight_is_not_charged() {
    let server = Server::start();
    let layer = layer(&server, 2, patient())
        .await
        .key(|parts| format!("limit:{}", parts.uri.path()))
        .skip(|parts| parts.uri.path() == "/healthz")
        .cost(|parts| if parts.uri.path() == "/big" { 2 } else { 1 });
    for _ in 0..4 {
        assert_eq!(status(&layer, "/healthz", &[]).await, 200);
        let mut preflight = get(
            "/small",
            &[("Origin", "x"), ("Access-Control-Request-Method", "POST")],
        );
        *preflight.method_mut() = http::Method::OPTIONS;
        assert_eq!(ask(&layer, preflight).await.status().as_u16(), 200);
    }
    for (path, expected) in [
        ("/big", 200),
        ("/big", 429),
        ("/small", 200),
        ("/small", 200),
        ("/small", 429),
    ] {
        assert_eq!(status(&layer, path, &[]).await, expected, "{path}");
    }
}

#[tokio::test]
async fn callers_are_identified_and_one_without_an_address_is_limited() {
    let server = Server::start();
    let caller = Caller::default()
        .header("X-Api-Key")
        .trust("127.0.0.1")
        .expect("a network");
    // The address is in the request's extensions, as axum has it.
    let layer = layer(&server, 1, patient())
        .await
        .caller(caller, |parts| parts.extensions.get::<IpAddr>().copied());
    let from = async |fields: &[(&str, &str)], peer: Option<&str>| {
        let mut request = get("/", fields);
        if let Some(peer) = peer {
            request
                .extensions_mut()
                .insert::<IpAddr>(peer.parse().expect("an address"));
        }
        ask(&layer, request).await.status().as_u16()
    };
    let proxy = Some("127.0.0.1");
    for (fields, peer, expected) in [
        (&[("X-Api-Key", "a")][..], proxy, 200),
        (&[("X-Api-Key", "a")], proxy, 429),
        (&[("X-Api-Key", "b")], proxy, 200),
        (&[("X-Forwarded-For", "203.0.113.7:40060")], proxy, 200),
        (
            &[("X-Forwarded-For", "203.0.113.7:40061")],
            Some("::ffff:127.0.0.1"),
            429,
        ),
        // A header given twice names nobody, so the address is charged.
        (&[("X-Api-Key", "c"), ("X-Api-Key", "d")], Some("::1"), 200),
        (&[("X-Api-Key", "c"), ("X-Api-Key", "c")], Some("::1"), 429),
        (&[("X-Api-Key", "c")], Some("::1"), 200),
        (&[("X-Forwarded-For", "unknown")], proxy, 200),
        (&[("X-Forwarded-For", "aaa")], proxy, 429),
        // On a Unix socket there is no address: the example panicked.
        (&[], None, 200),
        (&[], None, 429),
    ] {
        assert_eq!(from(fields, peer).await, expected, "{fields:?} {peer:?}");
    }
}

#[tokio::test]
async fn the_closed_policy_answers_503_and_a_missing_module_500() {
    let mut server = Server::start();
    let settings = Settings {
        on_error: OnError::Closed,
        ..Settings::default()
    };
    let closed = layer(&server, 1, settings).await;
    server.kill();
    let answer = ask(&closed, get("/", &[])).await;
    assert_eq!(
        (answer.status().as_u16(), field(&answer, "Retry-After")),
        (503, Some("1"))
    );
    assert_eq!(field(&answer, "RateLimit"), None);

    let bare = Launch::default().without_module().start();
    assert_eq!(
        status(&layer(&bare, 1, patient()).await, "/", &[]).await,
        500
    );
}

#[tokio::test]
async fn local_is_accepted_in_place_of_a_limiter() {
    let server = Server::start();
    let local = Local::new(Limiter::new(connection(&server).await, patient()));
    let layer = RateLimit::new(local, "1/h".parse().expect("a rate"), 10_000);
    let mut asked = Vec::new();
    for _ in 0..200 {
        let layer = layer.clone();
        asked.push(tokio::spawn(async move {
            ask(&layer, get("/", &[])).await.status()
        }));
    }
    for status in asked {
        assert_eq!(status.await.expect("no panic"), 200);
    }
    let stats: String = redis::cmd("INFO")
        .arg("commandstats")
        .query(&mut server.connection())
        .expect("statistics");
    let stats = stats.to_lowercase();
    let calls = stats
        .split_once("cmdstat_rl.take:calls=")
        .and_then(|(_, rest)| rest.split_once(','));
    let calls: u64 = calls.expect("a take").0.parse().expect("a number");
    assert!(calls < 100, "{calls}");
}
