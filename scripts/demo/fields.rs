//! The RateLimit fields, as draft-ietf-httpapi-ratelimit-headers-10 defines them.
//!
//! The draft speaks of a quota in a window. Of a bucket the quota `q` is the burst and the window
//! `w` the time in which an empty one fills: `q / w` is the rate, and `q` is never exceeded at
//! once. Of leases `q` are those that can be held at once, and there is no window.

use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};
use hyper::HeaderMap;

use crate::limit::Limit;
use crate::store::Answer;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Writes RateLimit-Policy and RateLimit and, if the answer is a refusal, Retry-After.
///
/// Section 4.1.2: `t` is "the number of seconds until additional quota associated with the quota
/// policy is made available", so each limit tells of its own next token. Section 6: "the
/// Retry-After field value SHOULD NOT reference a point in time earlier than the reset
/// parameter". Retry-After is when the whole cost is there in every limit that refused, so it is
/// never before their `t`. A limit that did not refuse has quota left, and keeps its `t` even
/// where that is later: it is no reason to stay away, and a caller can still see it.
pub fn tell(headers: &mut HeaderMap, limits: &[Box<dyn Limit>], answer: &Answer) {
    let policy = limits.iter().map(|limit| policy(limit.as_ref()));
    let standings = limits.iter().zip(&answer.standings);
    let state = standings.map(|(limit, &standing)| {
        let t = match limit.until_more(standing) {
            Some(time) => format!(";t={}", whole_seconds(time)),
            None => String::new(),
        };
        format!("\"{}\";r={}{t}", limit.name(), standing.remaining)
    });
    for (name, items) in [
        (POLICY, policy.collect::<Vec<_>>()),
        (STATE, state.collect()),
    ] {
        if let Ok(value) = HeaderValue::try_from(items.join(", ")) {
            headers.insert(name, value);
        }
    }
    let refused = limits
        .iter()
        .zip(&answer.standings)
        .filter(|(_, standing)| !standing.allows);
    let waits = refused.filter_map(|(limit, &standing)| limit.retry_after(standing));
    if let Some(wait) = waits.max().filter(|_| !answer.allowed) {
        headers.insert(RETRY_AFTER, whole_seconds(wait).into());
    }
}

/// Section 3.1.3: `w` is in whole seconds and not zero, so a shorter window is left out.
fn policy(limit: &dyn Limit) -> String {
    let window = limit.window();
    let window = window.filter(|window| *window >= Duration::from_secs(1));
    let w = window.map_or(String::new(), |w| format!(";w={}", whole_seconds(w)));
    format!("\"{}\";q={}{w}", limit.name(), limit.quota())
}

/// Rounded up, so that nobody is told to come back too early.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
