//! The options: what there is, what is accepted, and the help.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::caller::{By, KeyBy};
use crate::limit::{Ask, Bucket, Demand, Limit, KINDS, MAX_LIMITS, MAX_WAIT_MS};
use crate::limiter::Fail;
use crate::proxy::{Network, Proxies};

/// Every option, read and checked.
pub struct Options {
    pub listen: String,
    pub admin: String,
    pub admin_token: Option<String>,
    pub store: Place,
    pub demand: Demand,
    pub key_by: KeyBy,
    pub charge_preflight: bool,
    pub timeout: Duration,
    pub grace: Duration,
    pub fail: Fail,
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

const ABOUT: &str = "\
Answers every request with the time, until a caller asks too often.

200 'Request allowed: TIME' or 429 'Rate limit exceeded', decided by RL.TAKE in a Redis server with
the module redis-rl. Replies tell how a caller stands in RateLimit-Policy and RateLimit, as
draft-ietf-httpapi-ratelimit-headers-10 has them, and when to come back in Retry-After.
scripts/demo/README.md tells more.";

const REDIS: &str = "\
The Redis server to use; without it the demo starts one of its own

redis://[[USER]:PASSWORD@]HOST:PORT[/DB]
rediss://HOST:PORT (TLS)
unix://[:PASSWORD@]/PATH[?db=DB]
redis-sentinel://HOST:PORT,HOST:PORT/MASTER[/DB][?sentinel_username=USER&sentinel_password=PASSWORD]
redis-cluster://HOST:PORT,HOST:PORT

Each takes a user and password, which with Sentinel are those of the master; rediss-sentinel and
rediss-cluster use TLS. The servers must have loaded the module. Arguments can be seen by every
user of the machine: a URL with a password belongs into the environment, as REDIS_URL.";

const KEY_BY: &str = "\
What tells callers apart: name:NAME (all share one bucket), ip, header:NAME or plain-header:NAME

A request without the header goes by its address; with it twice, or empty, it gets 400. The value
stands in keys as its SHA-256; with plain-header as it is, if it has at most 64 bytes, all of them
letters, digits or -_.:~+/=@.";

/// The options as the command line has them.
fn command() -> Command {
    let one = |name: &'static str, value: &'static str, help: &'static str| {
        let (short, _) = help.split_once("\n\n").unwrap_or((help, ""));
        let arg = Arg::new(name).long(name).value_name(value);
        arg.help(short).long_help(help)
    };
    let mut command = Command::new("demo")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT.split("\n\n").next().unwrap_or(ABOUT))
        .long_about(ABOUT)
        .args([
            one("listen", "ADDRESS:PORT", "Where to listen").default_value("127.0.0.1:8080"),
            one("admin", "ADDRESS:PORT", "Where to serve /dashboard, /metrics, /healthz and /readyz")
                .default_value("127.0.0.1:8081"),
            one(
                "admin-token",
                "TOKEN",
                "What whoever asks for /dashboard or /metrics must know; needed beyond this machine\n\n\
                 Open /dashboard?token=TOKEN, or send 'Authorization: Bearer TOKEN'. Or in the \
                 environment, as DEMO_ADMIN_TOKEN.",
            ),
            one("store", "STORE", "Where the limits are kept: redis, or memory (of this process)")
                .value_parser(["redis", "memory"])
                .default_value("redis"),
            one("redis", "URL", REDIS),
            one("redis-server", "PROGRAM", "The program to start as the demo's own server")
                .default_value("redis-server"),
            one(
                "module",
                "FILE",
                "The module that the demo's own server loads [default: target/release's]",
            ),
            one(
                "rate",
                "RATE",
                "Tokens that come back: N a second, or N/PERIOD such as 100/m, 0.5/s, 1/15m, 5000/h",
            )
            .default_value("2"),
            one("burst", "N", "Tokens that a bucket holds: so many requests may come at once")
                .default_value("2"),
        ]);
    for kind in KINDS {
        let option = one(kind.option, kind.value, kind.help).action(ArgAction::Append);
        command = command.arg(option.conflicts_with_all(["rate", "burst"]));
    }
    command.args([
        one("cost", "N", "Tokens that a request takes").default_value("1"),
        one(
            "max-wait",
            "MS",
            "Rather than refuse a request, delay it by up to so many milliseconds; with one limit",
        ),
        one("key-by", "HOW", KEY_BY).default_value("name:test-client"),
        one("prefix", "TEXT", "What every key begins with").default_value("rate:limiter:"),
        one(
            "ipv6-prefix",
            "BITS",
            "So many bits of an IPv6 address are one caller, from 1 to 128",
        )
        .default_value("64"),
        one(
            "trust-proxy",
            "NETWORK",
            "Believe --proxy-header if it comes from there; 10.0.0.1 or 10.0.0.0/8, several times",
        )
        .action(ArgAction::Append),
        one(
            "proxy-header",
            "NAME",
            "Where a proxy tells whom a request comes from: X-Forwarded-For, Forwarded, or a header \
             with one address such as X-Real-IP or CF-Connecting-IP",
        )
        .default_value("X-Forwarded-For"),
        one(
            "charge-preflight",
            "",
            "Charge a browser's preflight (OPTIONS) as any other request",
        )
        .action(ArgAction::SetTrue),
        one("timeout", "MS", "Milliseconds that Redis has to answer in").default_value("50"),
        one(
            "grace",
            "MS",
            "Milliseconds that requests may go on when the demo is stopped\n\n\
             Whose turn by --max-wait is later gets 503, and its tokens go back.",
        )
        .default_value("10000"),
        one(
            "fail",
            "HOW",
            "When Redis does not answer: let requests through (open) or refuse them with 503 (closed)",
        )
        .value_parser(["open", "closed"])
        .default_value("open"),
    ])
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
        let trusted = matches.get_many::<String>("trust-proxy");
        let trusted = trusted
            .unwrap_or_default()
            .map(|text| text.parse::<Network>());
        let trusted = trusted.collect::<Result<_, _>>();
        Ok(Self {
            listen: text(matches, "listen").to_owned(),
            admin: text(matches, "admin").to_owned(),
            admin_token: token(matches)?,
            store: Place::of(matches)?,
            demand: demand(matches)?,
            key_by: KeyBy {
                prefix: text(matches, "prefix").to_owned(),
                by: parsed::<By>(matches, "key-by")?,
                proxies: Proxies {
                    trusted: trusted.map_err(|why| format!("--trust-proxy: {why}"))?,
                    header: parsed(matches, "proxy-header")?,
                },
                ipv6_prefix,
            },
            charge_preflight: matches.get_flag("charge-preflight"),
            timeout: millis("timeout")?,
            grace: millis("grace")?,
            fail: match text(matches, "fail") {
                "closed" => Fail::Closed,
                _ => Fail::Open,
            },
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
    if limits.len() > MAX_LIMITS {
        let count = limits.len();
        return Err(format!(
            "{count} limits are given; {MAX_LIMITS} is the most"
        ));
    }
    let max_wait = match matches.contains_id("max-wait") {
        true => Some(number(matches, "max-wait")?),
        false => None,
    };
    if limits.len() > 1 && max_wait.is_some() {
        return Err("--max-wait goes with one limit only".to_owned());
    }
    if max_wait.is_some_and(|wait| wait > MAX_WAIT_MS) {
        return Err(format!("--max-wait must be at most {MAX_WAIT_MS}"));
    }
    let most = limits.iter().map(|limit| limit.quota()).min().unwrap_or(0);
    let cost = number(matches, "cost")?;
    if !(1..=most).contains(&cost) {
        return Err(format!("--cost must be from 1 to the burst, {most}"));
    }
    let max_wait = max_wait.map(Duration::from_millis);
    Ok(Demand {
        limits,
        ask: Ask { cost, max_wait },
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
