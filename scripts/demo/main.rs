//! An HTTP server whose requests are limited by `RL.TAKE`.

mod address;
mod admin;
mod caller;
mod census;
mod connection;
mod http;
mod limiter;
mod log;
mod metrics;
mod server;
mod store;

use std::env::consts::DLL_SUFFIX;
use std::error::Error;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::{middleware, Router};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{signal, SignalKind};

use address::Address;
use admin::Admin;
use caller::{By, KeyBy};
use connection::Link;
use limiter::{Demand, Fail, Limit, Limiter};
use log::{log, Warnings};
use metrics::Metrics;
use server::OwnServer;
use store::Buckets;

/// Answers every request with the time, until a caller asks too often.
///
/// 200 `Request allowed: <time>` or 429 `Rate limit exceeded`, decided by RL.TAKE in a Redis
/// server with the module redis-rl. Replies tell how a caller stands in RateLimit-Policy and
/// RateLimit, and when to come back in Retry-After.
#[derive(Parser)]
#[command(name = "demo", version)]
struct Flags {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: String,

    /// Where to serve /dashboard and /metrics
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8081")]
    admin: String,

    /// What whoever asks for /dashboard or /metrics must know; needed beyond this machine
    ///
    /// Open /dashboard?token=TOKEN, or send 'Authorization: Bearer TOKEN'.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "DEMO_ADMIN_TOKEN",
        hide_env_values = true
    )]
    #[arg(value_parser = token)]
    admin_token: Option<String>,

    /// The Redis server to use; without it the demo starts one of its own
    ///
    /// redis://[[USER]:PASSWORD@]HOST:PORT[/DB]
    /// rediss://HOST:PORT (TLS)
    /// redis-sentinel://HOST:PORT,HOST:PORT/MASTER[/DB]
    /// redis-cluster://HOST:PORT,HOST:PORT
    ///
    /// Each takes a user and password, which with Sentinel are those of the master; rediss-sentinel
    /// and rediss-cluster use TLS. The servers must have loaded the module.
    #[arg(long, value_name = "URL", verbatim_doc_comment)]
    redis: Option<String>,

    /// The program to start as the demo's own server
    #[arg(long, value_name = "PROGRAM", default_value = "redis-server")]
    redis_server: String,

    /// The module that the demo's own server loads [default: target/release's]
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,

    /// Tokens that come back: N a second, or N/PERIOD such as 100/m, 0.5/s, 1/15m, 5000/h
    #[arg(long, default_value = "2")]
    rate: String,

    /// Tokens that a bucket holds: so many requests may come at once
    #[arg(long, value_name = "N", default_value_t = 2)]
    burst: u64,

    /// A limit as RATE:BURST, such as 100/m:20; given several times, all apply at once
    ///
    /// A request passes if every limit has room for it, and is charged to all or to none.
    #[arg(long = "limit", value_name = "RATE:BURST", conflicts_with_all = ["rate", "burst"])]
    limits: Vec<Limit>,

    /// Tokens that a request takes
    #[arg(long, value_name = "N", default_value_t = 1)]
    cost: u64,

    /// Rather than refuse a request, delay it by up to so many milliseconds; with one limit
    #[arg(long, value_name = "MS")]
    max_wait: Option<u64>,

    /// What tells callers apart: name:NAME (all share one bucket), ip, or header:NAME
    ///
    /// A request without the header goes by its address. An IPv6 address counts as its /64. A
    /// header's value of over 64 bytes, or with other than letters, digits and -_.:~+/=@, is
    /// replaced by its SHA-256.
    #[arg(long, value_name = "HOW", default_value = "name:test-client")]
    key_by: By,

    /// What every key begins with
    #[arg(long, value_name = "TEXT", default_value = "rate:limiter:")]
    prefix: String,

    /// Believe X-Forwarded-For if it comes from this address; may be given several times
    #[arg(long, value_name = "IP")]
    trust_proxy: Vec<IpAddr>,

    /// Milliseconds that Redis has to answer in
    #[arg(long, value_name = "MS", default_value_t = 50)]
    timeout: u64,

    /// When Redis does not answer: let requests through (open) or refuse them with 503 (closed)
    #[arg(long, value_enum, default_value_t = Fail::Open)]
    fail: Fail,
}

/// A token must stand in a URL and in a cookie.
fn token(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    if text.len() >= 8 && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err("at least 8 of letters, digits and -._~".to_owned())
}

impl Flags {
    /// What is asked of the store, held to what it accepts so that a slip shows at once.
    fn demand(&mut self) -> Result<Demand, String> {
        let mut limits = std::mem::take(&mut self.limits);
        if limits.is_empty() {
            limits = vec![Limit::new("default", &self.rate, &self.burst.to_string())?];
        }
        for (i, limit) in limits.iter().enumerate() {
            if limits[..i].iter().any(|other| other.name == limit.name) {
                return Err(format!("--limit {} is given twice", limit.name));
            }
        }
        if limits.len() > 1 && self.max_wait.is_some() {
            return Err("--max-wait goes with one limit only".to_owned());
        }
        let burst = limits.iter().map(|limit| limit.burst).min().unwrap_or(0);
        if !(1..=burst).contains(&self.cost) {
            return Err(format!("--cost must be from 1 to the burst, {burst}"));
        }
        let max_wait = self.max_wait.map(Duration::from_millis);
        Ok(Demand {
            limits,
            cost: self.cost,
            max_wait,
        })
    }

    /// The server to use, and the demo's own if it had to start one.
    fn redis(&self) -> Result<(String, Option<OwnServer>), Box<dyn Error>> {
        if let Some(url) = &self.redis {
            return Ok((url.clone(), None));
        }
        let module = match &self.module {
            Some(module) => module.clone(),
            None => std::env::current_exe()?
                .with_file_name(format!("../release/libredis_rl{DLL_SUFFIX}")),
        };
        let module = module
            .canonicalize()
            .map_err(|error| format!("module {}: {error}", module.display()))?;
        let own = OwnServer::start(&self.redis_server, &module)
            .map_err(|error| format!("{}: {error}", self.redis_server))?;
        log(&format!(
            "Started {} on port {}",
            self.redis_server, own.port
        ));
        Ok((format!("redis://127.0.0.1:{}", own.port), Some(own)))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(mut flags: Flags) -> Result<(), Box<dyn Error>> {
    let demand = flags.demand()?;
    let mut stop = Stop::new()?;
    let listener = listen(&flags.listen).await?;
    let admin_listener = listen(&flags.admin).await?;
    if flags.admin_token.is_none() && !admin_listener.local_addr()?.ip().is_loopback() {
        return Err("--admin beyond this machine needs --admin-token".into());
    }
    let (url, own_server) = flags.redis()?;
    let address = Address::parse(&url).map_err(|error| format!("--redis: {error}"))?;

    let timeout = Duration::from_millis(flags.timeout);
    let limiter = Arc::new(Limiter {
        store: Buckets(Link::open(address, timeout)),
        demand,
        key_by: KeyBy {
            prefix: flags.prefix,
            by: flags.key_by,
            trusted_proxies: flags.trust_proxy,
        },
        timeout,
        fail: flags.fail,
        warnings: Warnings::default(),
        metrics: Metrics::default(),
    });
    let limited = middleware::from_fn_with_state(limiter.clone(), limiter::limit::<Buckets>);
    let router = Router::new().fallback(hello).layer(limited);
    log(&format!(
        "Dashboard on http://{}/dashboard",
        admin_listener.local_addr()?
    ));
    log(&format!("Listening on http://{}", listener.local_addr()?));
    let admin = admin::router(Admin {
        limiter,
        token: flags.admin_token,
    });
    tokio::select! {
        () = http::serve(listener, router, stop.asked()) => {}
        () = http::serve(admin_listener, admin, std::future::pending()) => {}
    }
    drop(own_server);
    Ok(())
}

async fn listen(address: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("{address}: {error}"))
}

/// What the limiter guards.
async fn hello() -> String {
    let now = jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z");
    let line = format!("Request allowed: {now}");
    log(&line);
    line + "\n"
}

/// Ctrl-C, or the signal that service managers send.
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    /// Listens from now on, so that no server is left behind however early the signal comes.
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
