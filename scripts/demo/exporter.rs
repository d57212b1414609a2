//! `demo metrics`: the counters of stores for Prometheus, whoever calls their limits.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, Command};
use futures_util::future::join_all;
use hyper::StatusCode;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::address::Address;
use crate::census::{count, expose, Census};
use crate::connection::Connection;
use crate::http::{listen, serve, text, typed, Request, Response};
use crate::log::log;
use crate::metrics::Exposition;
use crate::stop::on_signals;
use crate::store::StoreError;

/// Maximum time that a store may take, to connect and to answer.
const PATIENCE: Duration = Duration::from_secs(2);

const REDIS: &str = "\
A store: a server, a cluster or a Sentinel master, by one of the demo's URLs; repeatable

NAME is its label `store`; the default is the address. The user needs +info +rl.top +ping, in a cluster
+cluster|slots as well. Every user of the machine can see the arguments, so put a URL with a password into
REDIS_URL, where spaces separate several.";

/// A store. Each scrape opens a new connection, so no connection must be kept alive in between, and
/// after a failover the scrape finds the new master.
struct Source {
    name: String,
    address: Address,
    /// The last failure, so that it is logged once.
    failure: String,
}

fn command() -> Command {
    let one = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    let (short, _) = REDIS.split_once('\n').unwrap_or_default();
    Command::new("demo metrics")
        .about("Serves the counters of Redis servers with redis-rl on /metrics, for Prometheus")
        .args([
            one("listen", "ADDRESS:PORT")
                .help("The address to listen on")
                .default_value("127.0.0.1:9122"),
            one("redis", "[NAME=]URL")
                .help(short)
                .long_help(REDIS)
                .action(ArgAction::Append),
        ])
}

/// Serves until a signal ends it.
///
/// # Errors
/// An address that cannot be listened on, or is not accepted.
pub async fn run() -> Result<(), Box<dyn Error>> {
    let matches = command().get_matches_from(std::env::args().skip(1));
    let stopping = on_signals()?;
    let given = matches.get_many::<String>("redis").unwrap_or_default();
    let mut urls: Vec<String> = given.cloned().collect();
    if urls.is_empty() {
        let environment = std::env::var("REDIS_URL").unwrap_or_default();
        urls.extend(environment.split_whitespace().map(str::to_owned));
    }
    let sources = urls.iter().map(|url| Source::parse(url));
    let sources: Vec<_> = sources.collect::<Result<_, _>>()?;
    if sources.is_empty() {
        return Err("--redis or REDIS_URL must name a store".into());
    }
    let address = matches.get_one("listen").map_or("", String::as_str);
    let listener = listen(address).await?;
    let address = listener.local_addr()?;
    log(&format!("Metrics on http://{address}/metrics"));
    let sources = Arc::new(Mutex::new(sources));
    let answer = move |request| answer(request, sources.clone());
    serve(listener, answer, stopping.cancelled(), Duration::ZERO).await;
    Ok(())
}

async fn answer(request: Request, sources: Arc<Mutex<Vec<Source>>>) -> Response {
    match request.uri().path() {
        "/metrics" => typed(
            "text/plain; version=0.0.4",
            scrape(&mut sources.lock().await).await,
        ),
        "/healthz" => text(StatusCode::OK, "The endpoint runs\n"),
        _ => text(StatusCode::NOT_FOUND, "There is only /metrics\n"),
    }
}

async fn scrape(sources: &mut [Source]) -> String {
    // At once: one that does not answer holds up no other.
    let stores = join_all(sources.iter_mut().map(Source::census)).await;
    let mut to = Exposition::default();
    for (name, census) in &stores {
        to.of(name);
        let help = "Whether the store answers and has the module.";
        to.sample("rl_up", help, "", u64::from(census.is_some()));
        if let Some(census) = census {
            expose(census, &mut to);
        }
    }
    to.text()
}

impl Source {
    /// Reads `[NAME=]URL`. A URL may have a `=` too, but then behind its scheme.
    fn parse(text: &str) -> Result<Self, String> {
        let named = text.split_once('=').filter(|(name, _)| !name.contains(':'));
        let (name, url) = named.map_or(("", text), |(name, url)| (name, url));
        let address = Address::parse(url).map_err(|error| format!("--redis: {error}"))?;
        let name = match name {
            "" => address.to_string(),
            name => name.to_owned(),
        };
        Ok(Self {
            name,
            address,
            failure: String::new(),
        })
    }

    /// Returns its name and what it counted, or `None` if it does not answer.
    async fn census(&mut self) -> (String, Option<Census>) {
        let counted = async {
            let mut connection = Connection::open(&mut self.address, PATIENCE).await?;
            Ok::<_, StoreError>(count(&mut connection).await?)
        };
        let late = |_| Err("no answer in time".into());
        let counted = timeout(PATIENCE, counted).await.unwrap_or_else(late);
        let failure = match &counted {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        if failure != self.failure {
            match failure.as_str() {
                "" => log(&format!("{} answers again", self.name)),
                failure => log(&format!("warning: {}: {failure}", self.name)),
            }
            self.failure = failure;
        }
        (self.name.clone(), counted.ok())
    }
}
