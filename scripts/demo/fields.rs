//! The RateLimit fields, as [`DRAFT`] defines them. This is the one place that interprets it.
//!
//! - `q` and `w` (sections 3.1.1 and 3.1.3): of a bucket, `q` is the burst and `w` the time in which
//!   an empty bucket fills, so `q / w` is the rate. `w` must be a whole number of seconds above zero,
//!   so a shorter window is left out.
//! - `qu` (section 3.1.2): the quota of `--concurrent` is measured in `concurrent-requests`, and it
//!   has no window.
//! - `t` (section 4.1.2): "the number of seconds within which the client can use no more than the
//!   available quota". With a bucket that is exactly the time until its next token: a moment later
//!   the client can use `r + 1`. The time until the bucket is full would be too late: within it the
//!   client can use more than `r`. Section 8.5 warns of a client that takes `r / t` for its rate;
//!   here `r` can be used at once, so no such rate is an unwanted one.
//! - `Retry-After` (section 6): it "SHOULD NOT reference a point in time earlier than the end of the
//!   effective window". It is the time at which every limit that refused has the whole cost, which
//!   is never before their `t`. A limit that did not refuse may have a later one; the optional `t`
//!   is then left out.

use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue, ACCESS_CONTROL_EXPOSE_HEADERS, RETRY_AFTER};
use hyper::HeaderMap;

use crate::limit::Limit;
use crate::store::Answer;

/// The revision that is followed.
pub const DRAFT: &str = "draft-ietf-httpapi-ratelimit-headers-11";

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");
const EXPOSED: HeaderValue = HeaderValue::from_static("RateLimit, RateLimit-Policy, Retry-After");

/// Writes RateLimit-Policy and RateLimit and, if the answer is a refusal, Retry-After.
pub fn tell(headers: &mut HeaderMap, limits: &[Box<dyn Limit>], answer: &Answer) {
    let standings = || limits.iter().zip(&answer.standings);
    let refusing = standings().filter(|(_, standing)| !answer.allowed && !standing.allows);
    let retry_after = refusing.filter_map(|(limit, &standing)| limit.retry_after(standing));
    let retry_after = retry_after.max().map(whole_seconds);
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    let state = standings().map(|(limit, &standing)| {
        let t = limit.until_more(standing).map(whole_seconds);
        let t = t.filter(|&t| retry_after.is_none_or(|after| t <= after));
        let t = t.map_or(String::new(), |t| format!(";t={t}"));
        format!("\"{}\";r={}{t}", limit.name(), standing.remaining)
    });
    let policy = limits.iter().map(|limit| policy(limit.as_ref()));
    for (name, items) in [
        (POLICY, policy.collect::<Vec<_>>()),
        (STATE, state.collect()),
    ] {
        if let Ok(value) = HeaderValue::try_from(items.join(", ")) {
            headers.insert(name, value);
        }
    }
}

/// Lets the script of a page of another origin read these fields (Fetch, 3.2.5).
pub fn expose(headers: &mut HeaderMap) {
    headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

fn policy(limit: &dyn Limit) -> String {
    let unit = match limit.lease() {
        Some(_) => ";qu=\"concurrent-requests\"",
        None => "",
    };
    let window = limit
        .about()
        .window
        .filter(|w| *w >= Duration::from_secs(1));
    let window = window.map_or(String::new(), |w| format!(";w={}", whole_seconds(w)));
    format!(
        "\"{}\";q={}{unit}{window}",
        limit.name(),
        limit.about().quota
    )
}

/// Converts to seconds, rounded up, so that nobody retries too early.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
