//! The options: parsing and validation.

mod table;

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::ArgMatches;

use crate::caller::KeyBy;
use crate::cost::Costs;
use crate::limit::{bucket, Demand, Limit, KINDS};
use crate::limiter::Fail;
use crate::proxy::{network, Proxies};
use redis_rl_limits::bounds::{MAX_COST, MAX_LIMITS};
use table::command;

/// Every option, read and checked.
pub struct Options {
    pub listen: String,
    pub admin: String,
    pub admin_token: Option<String>,
    /// The URL of Redis; `None`: the limits are in this process.
    pub redis: Option<String>,
    pub demand: Demand,
    pub costs: Costs,
    pub key_by: KeyBy,
    pub timeout: Duration,
    pub grace: Duration,
    pub fail: Fail,
    /// The time that an answer takes.
    pub work: Duration,
}

impl Options {
    /// Reads the command line and the environment; ends the process if they are wrong, or only ask
    /// for help.
    pub fn read() -> Self {
        Given(command().get_matches())
            .options()
            .unwrap_or_else(|why| {
                let error = command().error(ErrorKind::ValueValidation, why);
                error.exit()
            })
    }
}

/// The given options, validated by the module's rules, so that a mistake shows at once.
struct Given(ArgMatches);

impl Given {
    fn options(&self) -> Result<Options, String> {
        let millis = |name| {
            self.parsed(name, "must be a whole number")
                .map(Duration::from_millis)
        };
        let ipv6_prefix = self.parsed("ipv6-prefix", "must be from 1 to 128")?;
        if !(1..=128).contains(&ipv6_prefix) {
            return Err("--ipv6-prefix must be from 1 to 128".to_owned());
        }
        let prefix = self.text("prefix").to_owned();
        if prefix.is_empty() {
            let why = "--prefix must not be empty: it marks the keys that are the demo's";
            return Err(why.to_owned());
        }
        let trusted = self.all("trust-proxy").map(|text| network(text));
        let trusted = trusted.collect::<Result<_, _>>();
        let demand = self.demand()?;
        let costs = self.costs(&demand)?;
        Ok(Options {
            listen: self.text("listen").to_owned(),
            admin: self.text("admin").to_owned(),
            admin_token: self.token()?,
            costs,
            demand,
            key_by: KeyBy {
                prefix,
                by: self.parsed("key-by", "")?,
                proxies: Proxies {
                    trusted: trusted.map_err(|why| format!("--trust-proxy: {why}"))?,
                    header: self.parsed("proxy-header", "")?,
                },
                ipv6_prefix,
            },
            timeout: millis("timeout")?,
            grace: millis("grace")?,
            fail: match self.text("fail") {
                "closed" => Fail::Closed,
                _ => Fail::Open,
            },
            work: millis("work")?,
            redis: self.redis()?,
        })
    }

    fn redis(&self) -> Result<Option<String>, String> {
        let url = self.or_environment("redis", "REDIS_URL");
        match (self.text("store"), url) {
            ("memory", _) if self.0.contains_id("redis") => {
                Err("--store memory needs no --redis".to_owned())
            }
            ("memory", _) => Ok(None),
            (_, url @ Some(_)) => Ok(url),
            (_, None) => Err("--redis URL or --store memory is needed".to_owned()),
        }
    }

    fn demand(&self) -> Result<Demand, String> {
        let mut limits: Vec<Limit> = Vec::new();
        for kind in KINDS {
            for text in self.all(kind.option) {
                let limit = (kind.parse)(text);
                let limit = limit.map_err(|why| format!("--{} {text}: {why}", kind.option))?;
                if limits.iter().any(|other| other.name == limit.name) {
                    return Err(format!("the limit {} is given twice", limit.name));
                }
                limits.push(limit);
            }
        }
        if limits.is_empty() {
            limits.push(bucket("default", self.text("rate"), self.text("burst"))?);
        }
        let count = limits.len();
        if count as u64 > MAX_LIMITS {
            return Err(format!(
                "{count} limits are given; {MAX_LIMITS} is the most"
            ));
        }
        Ok(Demand { limits })
    }

    fn costs(&self, demand: &Demand) -> Result<Costs, String> {
        let limits = demand.limits.iter().filter(|limit| limit.ttl().is_none());
        let most = limits.map(|limit| limit.quota).min().unwrap_or(MAX_COST);
        let usual = self.parsed("cost", "must be a whole number")?;
        if !(1..=most).contains(&usual) {
            return Err(format!(
                "--cost must be from 1 to the smallest limit, {most}"
            ));
        }
        let header = self.0.contains_id("cost-header");
        let header = header.then(|| self.parsed("cost-header", ""));
        Ok(Costs {
            usual,
            most,
            header: header.transpose()?,
        })
    }

    /// Returns the token, which must fit in a URL and in a cookie.
    fn token(&self) -> Result<Option<String>, String> {
        let token = self.or_environment("admin-token", "DEMO_ADMIN_TOKEN");
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        match &token {
            Some(token) if token.len() < 8 || !token.bytes().all(plain) => {
                Err("--admin-token must be at least 8 of letters, digits and -._~".to_owned())
            }
            _ => Ok(token),
        }
    }

    /// Returns the option, or the environment variable; an empty variable counts as unset.
    fn or_environment(&self, name: &str, variable: &str) -> Option<String> {
        let typed = self.0.get_one::<String>(name).cloned();
        typed.or_else(|| {
            std::env::var(variable)
                .ok()
                .filter(|value| !value.is_empty())
        })
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &String> {
        self.0.get_many::<String>(name).unwrap_or_default()
    }

    fn text(&self, name: &str) -> &str {
        self.0.get_one::<String>(name).map_or("", String::as_str)
    }

    /// Parses a value; the error gives `rule`, or the parser's own words.
    fn parsed<T: FromStr<Err: Display>>(&self, name: &str, rule: &str) -> Result<T, String> {
        let text = self.text(name);
        text.parse().map_err(|why: T::Err| match rule {
            "" => format!("--{name} {text}: {why}"),
            rule => format!("--{name} {rule}; got '{text}'"),
        })
    }
}
