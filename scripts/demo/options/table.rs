//! The options as the command line and its help have them.

use clap::{Arg, ArgAction, Command};

use crate::fields::DRAFT;
use crate::limit::KINDS;

const ABOUT: &str = "Answers every request with the time, until a caller asks too often.";

/// What `--help` says after it.
fn more() -> String {
    format!(
        "{ABOUT}\n\n\
         200 'Request allowed: TIME' or 429 'Rate limit exceeded', decided by RL.TAKE, or with limits \
         of other kinds by RL.ALL, in a Redis server with the module redis-rl. RateLimit-Policy, \
         RateLimit and Retry-After follow {DRAFT}.\n\
         See scripts/demo/README.md."
    )
}

const REDIS: &str = "\
The Redis server to use; without it the demo starts one of its own

redis://[[USER]:PASSWORD@]HOST:PORT[/DB]
rediss://HOST:PORT (TLS)
unix:///PATH[?db=DB&user=USER&pass=PASSWORD]
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
pub fn command() -> Command {
    let one = |name: &'static str, value: &'static str, help: &'static str| {
        let (short, _) = help.split_once("\n\n").unwrap_or((help, ""));
        let arg = Arg::new(name).long(name).value_name(value);
        arg.help(short).long_help(help)
    };
    let mut command = Command::new("demo")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .long_about(more())
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
            "cost-header",
            "NAME",
            "Where a request may say what it takes instead, such as X-Cost\n\n\
             A whole number from 1 to the smallest limit; with anything else it gets 400.",
        ),
        one(
            "max-wait",
            "MS",
            "Rather than refuse a request, delay it by up to so many milliseconds; with one bucket",
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
        one("work", "MS", "Milliseconds that an answer takes, as if there were something to do")
            .default_value("0"),
        one("timeout", "MS", "Milliseconds that Redis has to answer in").default_value("500"),
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
            "When Redis does not answer: apply the same limits in this process (open) or answer 503 (closed)",
        )
        .value_parser(["open", "closed"])
        .default_value("open"),
    ])
}
