//! The options as the command line and its help have them.

use clap::{Arg, ArgAction, Command};

use crate::fields::DRAFT;
use crate::limit::KINDS;

/// Each option's name, value, default or how it is given, and help.
const OPTIONS: &str = "\
listen | ADDRESS:PORT | =127.0.0.1:8080 | Where to listen
admin | ADDRESS:PORT | =127.0.0.1:8081 | Where to serve /dashboard, /metrics, /healthz and /readyz
admin-token | TOKEN | once | What operators must know; needed beyond this machine (or DEMO_ADMIN_TOKEN)
store | STORE | =redis | Where the limits are kept: redis, or memory (of this process)
redis | URL | once | redis://, rediss://, unix://, redis-sentinel:// or redis-cluster:// (or REDIS_URL); scripts/demo.sh starts a server of its own without it
rate | RATE | =2 | Tokens that come back: N a second, or N/PERIOD such as 100/m, 0.5/s, 1/15m, 5000/h
burst | N | =2 | Tokens that a bucket holds: so many requests may come at once
cost | N | =1 | Tokens that a request takes
cost-header | NAME | once | Where a request may give its cost instead, such as X-Cost
key-by | HOW | =name:test-client | What tells callers apart: name:NAME (all are one), ip, header:NAME (hashed) or plain-header:NAME
prefix | TEXT | =rate:limiter: | What every key begins with
ipv6-prefix | BITS | =64 | Bits of an IPv6 address that are one caller, from 1 to 128
trust-proxy | NETWORK | often | Believes --proxy-header from there: 10.0.0.1 or 10.0.0.0/8
proxy-header | NAME | =X-Forwarded-For | Where a proxy writes the address: X-Forwarded-For, Forwarded, or a header with one address
work | MS | =0 | Milliseconds that an answer takes, as if there were something to do
timeout | MS | =500 | Milliseconds that Redis has to answer in
grace | MS | =10000 | Milliseconds that requests may go on when the demo is stopped
fail | HOW | =open | When Redis does not answer: apply the same limits in this process (open) or answer 503 (closed)";

const ABOUT: &str = "Answers every request with the time, until a caller asks too often.";

/// The options as the command line has them.
pub fn command() -> Command {
    let mut command = Command::new("demo")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(format!(
            "Replies are 200 'Request allowed: TIME' or 429 'Rate limit exceeded'. RateLimit-Policy, \
             RateLimit and Retry-After follow {DRAFT}. See scripts/demo/README.md."
        ));
    for line in OPTIONS.lines() {
        let mut cells = line.splitn(4, " | ");
        let mut cell = || cells.next().unwrap_or_default();
        let (name, value, how, help) = (cell(), cell(), cell(), cell());
        let option = Arg::new(name).long(name).value_name(value).help(help);
        let option = match name {
            "store" => option.value_parser(["redis", "memory"]),
            "fail" => option.value_parser(["open", "closed"]),
            _ => option,
        };
        command = command.arg(match how.strip_prefix('=') {
            Some(default) => option.default_value(default),
            None if how == "often" => option.action(ArgAction::Append),
            None => option,
        });
    }
    for kind in KINDS {
        let option = Arg::new(kind.option)
            .long(kind.option)
            .value_name(kind.value);
        let option = option.help(kind.help).action(ArgAction::Append);
        command = command.arg(option.conflicts_with_all(["rate", "burst"]));
    }
    command
}
