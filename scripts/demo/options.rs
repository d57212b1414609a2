//! The options: what is accepted, and what the demo is told by it.

mod table;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ArgMatches;

use crate::caller::{By, KeyBy};
use crate::cost::Costs;
use crate::limit::{Bucket, Demand, Limit, KINDS, MAX_LIMITS, MAX_TOKENS, MAX_WAIT_MS};
use crate::limiter::Fail;
use crate::proxy::{Network, Proxies};
use table::command;

/// Every option, read and checked.
pub struct Options {
    pub listen: String,
    pub admin: String,
    pub admin_token: Option<String>,
    pub store: Place,
    pub demand: Demand,
    pub costs: Costs,
    pub key_by: KeyBy,
    pub timeout: Duration,
    pub grace: Duration,
    pub fail: Fail,
    /// What an answer takes.
    pub work: Duration,
}

/// Where the limits are kept.
pub enum Place {
    /// In the server, or servers, of this URL.
    Redis(String),
    /// In a server of the demo's own.
    OwnRedis {
        program: String,
        module: Option<PathBuf>,
    },
    /// In this process.
    Memory,
}

impl Options {
    /// Reads the command line and the environment; ends the process where they are wrong, or only
    /// ask for help.
    pub fn read() -> Self {
        let matches = command().get_matches();
        Self::from(&matches).unwrap_or_else(|why| {
            let error = command().error(clap::error::ErrorKind::ValueValidation, why);
            error.exit()
        })
    }

    /// Held to what the module accepts, so that a slip shows at once.
    fn from(matches: &ArgMatches) -> Result<Self, String> {
        let millis = |name| number(matches, name).map(Duration::from_millis);
        let ipv6_prefix = parsed::<u8>(matches, "ipv6-prefix")?;
        if !(1..=128).contains(&ipv6_prefix) {
            return Err("--ipv6-prefix must be from 1 to 128".to_owned());
        }
        let prefix = text(matches, "prefix").to_owned();
        if prefix.is_empty() {
            return Err(
                "--prefix must not be empty: it marks the keys that are the demo's".to_owned(),
            );
        }
        let trusted = matches.get_many::<String>("trust-proxy");
        let trusted = trusted
            .unwrap_or_default()
            .map(|text| text.parse::<Network>());
        let trusted = trusted.collect::<Result<_, _>>();
        let demand = demand(matches)?;
        Ok(Self {
            listen: text(matches, "listen").to_owned(),
            admin: text(matches, "admin").to_owned(),
            admin_token: token(matches)?,
            store: Place::of(matches)?,
            costs: costs(matches, &demand)?,
            demand,
            key_by: KeyBy {
                prefix,
                by: parsed::<By>(matches, "key-by")?,
                proxies: Proxies {
                    trusted: trusted.map_err(|why| format!("--trust-proxy: {why}"))?,
                    header: parsed(matches, "proxy-header")?,
                },
                ipv6_prefix,
            },
            timeout: millis("timeout")?,
            grace: millis("grace")?,
            fail: match text(matches, "fail") {
                "closed" => Fail::Closed,
                _ => Fail::Open,
            },
            work: millis("work")?,
        })
    }
}

impl Place {
    fn of(matches: &ArgMatches) -> Result<Self, String> {
        let url = given(matches, "redis").or_else(|| from_environment("REDIS_URL"));
        Ok(match (text(matches, "store"), url) {
            ("memory", _) if matches.contains_id("redis") => {
                return Err("--store memory needs no --redis".to_owned());
            }
            ("memory", _) => Self::Memory,
            (_, Some(url)) => Self::Redis(url),
            (_, None) => Self::OwnRedis {
                program: text(matches, "redis-server").to_owned(),
                module: given(matches, "module").map(PathBuf::from),
            },
        })
    }
}

fn demand(matches: &ArgMatches) -> Result<Demand, String> {
    let limits = limits(matches)?;
    for (i, limit) in limits.iter().enumerate() {
        if limits[..i].iter().any(|other| other.name() == limit.name()) {
            return Err(format!("the limit {} is given twice", limit.name()));
        }
    }
    if limits.len() as u64 > MAX_LIMITS {
        let count = limits.len();
        return Err(format!(
            "{count} limits are given; {MAX_LIMITS} is the most"
        ));
    }
    let max_wait = match matches.contains_id("max-wait") {
        true => Some(number(matches, "max-wait")?),
        false => None,
    };
    if max_wait.is_some_and(|wait| wait > MAX_WAIT_MS) {
        return Err(format!("--max-wait must be at most {MAX_WAIT_MS}"));
    }
    let max_wait = max_wait.map(Duration::from_millis);
    let demand = Demand { limits, max_wait };
    if demand.max_wait.is_some() && demand.lone_bucket().is_none() {
        return Err("--max-wait goes with one bucket only".to_owned());
    }
    Ok(demand)
}

fn costs(matches: &ArgMatches, demand: &Demand) -> Result<Costs, String> {
    let most = demand.limits.iter().filter_map(|limit| limit.max_cost());
    let most = most.min().unwrap_or(MAX_TOKENS);
    let usual = number(matches, "cost")?;
    if !(1..=most).contains(&usual) {
        return Err(format!(
            "--cost must be from 1 to the smallest limit, {most}"
        ));
    }
    let header = match matches.contains_id("cost-header") {
        true => Some(parsed(matches, "cost-header")?),
        false => None,
    };
    Ok(Costs {
        usual,
        most,
        header,
    })
}

fn limits(matches: &ArgMatches) -> Result<Vec<Box<dyn Limit>>, String> {
    let mut limits = Vec::new();
    for kind in KINDS {
        for text in matches.get_many::<String>(kind.option).unwrap_or_default() {
            let limit = (kind.parse)(text);
            limits.push(limit.map_err(|why| format!("--{} {text}: {why}", kind.option))?);
        }
    }
    if limits.is_empty() {
        let (rate, burst) = (text(matches, "rate"), text(matches, "burst"));
        limits.push(Box::new(Bucket::new("default", rate, burst)?));
    }
    Ok(limits)
}

/// A token must stand in a URL and in a cookie.
fn token(matches: &ArgMatches) -> Result<Option<String>, String> {
    let Some(token) =
        given(matches, "admin-token").or_else(|| from_environment("DEMO_ADMIN_TOKEN"))
    else {
        return Ok(None);
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    match token.len() >= 8 && token.bytes().all(plain) {
        true => Ok(Some(token)),
        false => Err("--admin-token must be at least 8 of letters, digits and -._~".to_owned()),
    }
}

/// A variable that is empty is as good as none.
fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn given(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).cloned()
}

fn text<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches.get_one::<String>(name).map_or("", String::as_str)
}

fn number(matches: &ArgMatches, name: &str) -> Result<u64, String> {
    let value = text(matches, name);
    let number = value.parse();
    number.map_err(|_| format!("--{name} must be a whole number; got '{value}'"))
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(
    matches: &ArgMatches,
    name: &str,
) -> Result<T, String> {
    let parsed = text(matches, name).parse();
    parsed.map_err(|why: T::Err| format!("--{name} {}: {why}", text(matches, name)))
}
