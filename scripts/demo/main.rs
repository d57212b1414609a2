//! An HTTP server whose requests are limited by `RL.TAKE`, or by `RL.ALL`.

mod address;
mod admin;
mod caller;
mod census;
mod connection;
mod cost;
mod exporter;
mod fields;
mod http;
mod limit;
mod limiter;
mod link;
mod log;
mod metrics;
mod options;
mod proxy;
mod stop;
mod store;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_seconds;
use hyper::StatusCode;
use tokio::time::sleep;

use address::Address;
use admin::Admin;
use http::{listen, serve, text, Request, Response};
use limiter::Limiter;
use link::{Link, Probe};
use log::{log, Warnings};
use metrics::Metrics;
use options::Options;
use store::{Memory, Remote, Store};

fn main() -> ExitCode {
    let is_exporter = std::env::args()
        .nth(1)
        .is_some_and(|word| word == "metrics");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = match &runtime {
        Ok(runtime) if is_exporter => runtime.block_on(exporter::run()),
        Ok(runtime) => runtime.block_on(run(Options::read())),
        Err(error) => Err(error.to_string().into()),
    };
    if let Err(error) = &ended {
        log(&format!("error: {error}"));
    }
    log::flush();
    if ended.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let stopping = stop::on_signals()?;
    let listener = listen(&options.listen).await?;
    let admin_listener = listen(&options.admin).await?;
    let admin_ip = admin_listener.local_addr()?.ip().to_canonical();
    if options.admin_token.is_none() && !admin_ip.is_loopback() {
        return Err("--admin beyond this machine needs --admin-token".into());
    }
    let store = open(&options)?;
    let limiter = Arc::new(Limiter {
        store,
        fallback: Arc::new(Memory::default()),
        metrics: Metrics::of(options.demand.limits.len()),
        demand: options.demand,
        key_by: options.key_by,
        costs: options.costs,
        timeout: options.timeout,
        fail: options.fail,
        stopping: stopping.clone(),
        warnings: Warnings::default(),
        refunds: Default::default(),
    });
    let admin_address = admin_listener.local_addr()?;
    log(&format!("Dashboard on http://{admin_address}/dashboard"));
    log(&format!("Listening on http://{}", listener.local_addr()?));
    let admin = Arc::new(Admin::new(limiter.clone(), options.admin_token));
    tokio::spawn(admin.clone().keep_board());
    let pages = move |request| admin.clone().answer(request);
    let never = std::future::pending();
    tokio::spawn(serve(admin_listener, pages, never, Duration::ZERO));
    let (limited, work) = (limiter.clone(), options.work);
    let service = move |request| {
        let hello = move |request| hello(request, work);
        limited.clone().guard(request, hello)
    };
    serve(listener, service, stopping.cancelled(), options.grace).await;
    limiter.is_settled().await;
    Ok(())
}

/// Opens the selected store.
fn open(options: &Options) -> Result<Arc<dyn Store>, String> {
    let Some(url) = &options.redis else {
        return Ok(Arc::new(Memory::default()));
    };
    let address = Address::parse(url).map_err(|error| format!("--redis: {error}"))?;
    let name = address.to_string();
    let key = format!("{}probe", options.key_by.prefix);
    let probe = Probe {
        call: options.demand.probe(&key),
        key: options.demand.route(&key),
    };
    let link = Link::open(address, options.timeout, probe);
    Ok(Arc::new(Remote { link, name }))
}

/// The service behind the limiter.
async fn hello(_: Request, work: Duration) -> Response {
    if !work.is_zero() {
        sleep(work).await;
    }
    let now = format_rfc3339_seconds(SystemTime::now()).to_string();
    let line = format!("Request allowed: {}+00:00", now.trim_end_matches('Z'));
    log(&line);
    text(StatusCode::OK, line + "\n")
}
