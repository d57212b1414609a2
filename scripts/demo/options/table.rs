//! The options as the command line and its help have them.

use clap::{Arg, ArgAction, Command};

use crate::fields::DRAFT;
use crate::limit::KINDS;

/// Each option's name, value, default or how it is given, and help.
const OPTIONS: &str = "\
listen | ADDRESS:PORT | =127.0.0.1:8080 | The address to listen on
admin | ADDRESS:PORT | =127.0.0.1:8081 | The address of /dashboard, /metrics, /healthz and /readyz
admin-token | TOKEN | once | The operators' token, required for a non-local address (or DEMO_ADMIN_TOKEN)
store | STORE | =redis | The store of the limits: redis, or memory (of this process)
redis | URL | once | redis://, rediss://, unix://, redis-sentinel:// or redis-cluster:// (or REDIS_URL); without it scripts/demo.sh starts its own server
rate | RATE | =2 | The refill rate: N a second, or N/PERIOD such as 100/m, 0.5/s, 1/15m, 5000/h
burst | N | =2 | The size of a bucket: how many requests may come at once
cost | N | =1 | The cost of a request
cost-header | NAME | once | The header in which a request may give its cost, such as X-Cost
key-by | HOW | =name:test-client | The identity of a caller: name:NAME (all are one), ip, header:NAME (hashed) or plain-header:NAME
prefix | TEXT | =rate:limiter: | The prefix of every key
ipv6-prefix | BITS | =64 | Bits of an IPv6 address that identify one caller, from 1 to 128
trust-proxy | NETWORK | often | A trusted proxy that writes --proxy-header: 10.0.0.1 or 10.0.0.0/8
proxy-header | NAME | =X-Forwarded-For | The header in which a proxy writes the address: X-Forwarded-For, Forwarded, or a header with one address
work | MS | =0 | Simulated work per request, in milliseconds
timeout | MS | =500 | The timeout of Redis, in milliseconds
grace | MS | =10000 | Milliseconds for which requests may continue after a stop
fail | HOW | =open | When Redis does not answer: apply the same limits in this process (open) or answer 503 (closed)";

const ABOUT: &str =
    "Answers every request with the time, or with 429 if a caller sends too many requests.";

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
