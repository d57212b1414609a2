//! What the page is sent, as JSON.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};

use super::board::Sample;
use crate::census::{Census, Offender};
use crate::limiter::{Fail, Limiter};
use crate::metrics::escaped;
use crate::store::Look;

/// Keys that the page lists; of the others it only tells how many.
const LISTED: usize = 20;
/// What the store counts as denied, of every kind.
const DENIED: [&str; 3] = [
    "rl_takes_denied",
    "rl_window_takes_denied",
    "rl_lease_denied",
];

/// A list of `[at, up, allowed, delayed, denied, failed open, failed closed]`.
pub fn history<'a>(samples: impl Iterator<Item = &'a Sample>) -> String {
    let rows = samples.map(|sample| {
        let [allowed, delayed, denied, open, closed] = sample.requests;
        let (at, up) = (sample.at, u8::from(sample.up));
        format!("[{at},{up},{allowed},{delayed},{denied},{open},{closed}]")
    });
    format!("[{}]", joined(rows))
}

/// All that is true now, and who was denied since the first of these censuses.
pub fn snapshot(
    limiter: &Limiter,
    at: u64,
    down_since: Option<u64>,
    censuses: &VecDeque<(u64, Census)>,
) -> String {
    let requests = limiter.metrics.requests();
    let requests = requests.map(|(outcome, count)| format!("\"{outcome}\":{count}"));
    let takes = limiter.metrics.takes();
    let takes = takes.map(|(bound, count)| format!("[{bound},{count}]"));
    format!(
        "{{\"at\":{at},\"up\":{},\"downSince\":{},\"requests\":{{{}}},\"takes\":[{}],\
         \"applies\":{},\"denied\":{}}}",
        down_since.is_none(),
        number(down_since),
        joined(requests),
        joined(takes),
        applies(limiter, censuses.back().map(|(_, census)| census)),
        denied(limiter, censuses).as_deref().unwrap_or("null"),
    )
}

/// The limits, and what holds for all of them.
fn applies(limiter: &Limiter, census: Option<&Census>) -> String {
    let cost = limiter.costs.usual;
    let limits = limiter.demand.limits.iter().map(|limit| {
        let (name, kind, words) = (limit.name(), limit.kind(), limit.words(cost));
        format!(
            "{{\"name\":{},\"kind\":\"{kind}\",\"words\":{}}}",
            quoted(name),
            quoted(&words)
        )
    });
    let fail = match limiter.fail {
        Fail::Open => "let through",
        Fail::Closed => "refused with 503",
    };
    let servers = census.map_or_else(
        || "\"server\":\"\",\"module\":\"\",\"nodes\":0".to_owned(),
        |census| {
            format!(
                "\"server\":{},\"module\":{},\"nodes\":{}",
                quoted(&census.server),
                quoted(&census.module),
                census.nodes
            )
        },
    );
    format!(
        "{{\"limits\":[{}],\"cost\":{cost},\"by\":{},\"fail\":\"{fail}\",\"timeout\":{},{servers}}}",
        joined(limits),
        quoted(&limiter.key_by.words()),
        limiter.timeout.as_millis(),
    )
}

/// Whom the store denied between the first and the last of these, by how often a second.
fn denied(limiter: &Limiter, censuses: &VecDeque<(u64, Census)>) -> Option<String> {
    let ((then, before), (now, last)) = (censuses.front()?, censuses.back()?);
    let seconds = now.saturating_sub(*then) as f64 / 1000.0;
    let known: HashMap<&[u8], &Offender> =
        before.top.iter().map(|o| (o.key.as_slice(), o)).collect();
    // Of a key that was not known then, it is not known what it was denied before: at least what
    // it did not take over from another.
    let since = |offender: &Offender| {
        let before = known.get(offender.key.as_slice());
        let before = before.map_or(offender.error, |before| before.denials.max(offender.error));
        offender.denials.saturating_sub(before)
    };
    let total = |census: &Census| -> u64 {
        DENIED
            .iter()
            .filter_map(|field| census.counters.get(*field))
            .sum()
    };
    let per_second = |count: u64| match seconds > 0.0 {
        true => format!("{:.3}", count as f64 / seconds),
        false => "null".to_owned(),
    };
    let mut top: Vec<_> = last
        .top
        .iter()
        .map(|offender| (since(offender), offender))
        .collect();
    top.sort_by_key(|(since, offender)| Reverse((*since, offender.denials)));
    let rows = top.iter().take(LISTED).map(|(since, offender)| {
        let whose = whose(limiter, offender);
        format!(
            "{{\"key\":{},{whose}\"denials\":{},\"error\":{},\"since\":{},\"rate\":{}}}",
            quoted(&offender.shown()),
            offender.denials,
            offender.error,
            offender.since,
            per_second(*since),
        )
    });
    Some(format!(
        "{{\"rate\":{},\"top\":[{}],\"rest\":{}}}",
        per_second(total(last).saturating_sub(total(before))),
        joined(rows),
        top.len().saturating_sub(LISTED),
    ))
}

/// The caller and the limit that a key is of, if it is one of the limiter's.
fn whose(limiter: &Limiter, offender: &Offender) -> String {
    let Some(key) = str::from_utf8(&offender.key)
        .ok()
        .filter(|_| offender.is_whole())
    else {
        return String::new();
    };
    let of_limit =
        |caller: &str, index: usize| format!("\"caller\":{},\"limit\":{index},", quoted(caller));
    if limiter.demand.lone_bucket().is_some() {
        return match key.starts_with(&limiter.key_by.prefix) {
            true => of_limit(key, 0),
            false => String::new(),
        };
    }
    let limits = limiter.demand.limits.iter().enumerate();
    let mut found = limits.filter_map(|(index, limit)| {
        let caller = key.strip_prefix('{')?.strip_suffix(limit.name())?;
        Some((caller.strip_suffix("}:")?.to_owned(), index))
    });
    let found = found.find(|(caller, _)| caller.starts_with(&limiter.key_by.prefix));
    found.map_or_else(String::new, |(caller, index)| of_limit(&caller, index))
}

/// How somebody stands with each limit.
pub fn standings(limiter: &Limiter, caller: &str, looks: &[Look]) -> String {
    let limits = limiter
        .demand
        .limits
        .iter()
        .zip(limiter.demand.keys(caller));
    let rows = limits.zip(looks).map(|((limit, key), look)| {
        let holders = look.holders.iter().map(|(token, left)| {
            let token = token.escape_ascii().to_string();
            format!("[{},{left}]", quoted(&token))
        });
        format!(
            "{{\"name\":{},\"kind\":\"{}\",\"key\":{},\"quota\":{},\"remaining\":{},\"wait\":{},\
             \"reset\":{},\"holders\":[{}]}}",
            quoted(limit.name()),
            limit.kind(),
            quoted(&key),
            limit.quota(),
            look.remaining,
            number(look.wait_ms),
            look.reset_ms,
            joined(holders),
        )
    });
    format!(
        "{{\"caller\":{},\"limits\":[{}]}}",
        quoted(caller),
        joined(rows)
    )
}

/// A string of JSON.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in escaped(text).chars() {
        match letter {
            '\0'..='\x1f' => quoted += &format!("\\u{:04x}", u32::from(letter)),
            letter => quoted.push(letter),
        }
    }
    quoted + "\""
}

fn number(n: Option<u64>) -> String {
    n.map_or_else(|| "null".to_owned(), |n| n.to_string())
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}
