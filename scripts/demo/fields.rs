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

use crate::limit::{Algorithm, Limit, Standing};
use crate::store::Answer;

/// The revision that is followed.
pub const DRAFT: &str = "draft-ietf-httpapi-ratelimit-headers-11";

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");
const EXPOSED: HeaderValue = HeaderValue::from_static("RateLimit, RateLimit-Policy, Retry-After");

/// A slot is free when a request is done, at an unknown time: so ask again soon.
const SOON: Duration = Duration::from_secs(1);

/// Writes RateLimit-Policy and RateLimit and, if the answer is a refusal, Retry-After.
pub fn write(headers: &mut HeaderMap, limits: &[Limit], answer: &Answer) {
    let standings = || limits.iter().zip(&answer.standings);
    let refusing = standings().filter(|(_, standing)| !answer.allowed && !standing.allows);
    let retry_after = refusing.filter_map(|(limit, standing)| match limit.algorithm {
        Algorithm::Slots(..) => Some(SOON),
        _ => standing.wait,
    });
    let retry_after = retry_after.max().map(whole_seconds);
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    let state = standings().map(|(limit, &standing)| {
        let t = until_more(limit, standing).map(whole_seconds);
        let t = t.filter(|&t| retry_after.is_none_or(|after| t <= after));
        let t = t.map_or(String::new(), |t| format!(";t={t}"));
        format!("\"{}\";r={}{t}", limit.name, standing.remaining)
    });
    let fields = [
        (POLICY, limits.iter().map(policy).collect::<Vec<_>>()),
        (STATE, state.collect()),
    ];
    for (name, items) in fields {
        if let Ok(value) = HeaderValue::try_from(items.join(", ")) {
            headers.insert(name, value);
        }
    }
}

/// Lets the script of a page of another origin read these fields (Fetch, 3.2.5).
pub fn expose(headers: &mut HeaderMap) {
    headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

fn policy(limit: &Limit) -> String {
    let unit = match limit.algorithm {
        Algorithm::Slots(..) => ";qu=\"concurrent-requests\"",
        _ => "",
    };
    let window = limit.window.filter(|w| *w >= Duration::from_secs(1));
    let window = window.map_or(String::new(), |w| format!(";w={}", whole_seconds(w)));
    format!("\"{}\";q={}{unit}{window}", limit.name, limit.quota)
}

/// Returns the time until more can be taken; `None` if nothing is used, or it is unknown.
fn until_more(limit: &Limit, standing: Standing) -> Option<Duration> {
    let reset = Some(standing.reset).filter(|reset| !reset.is_zero());
    match limit.algorithm {
        // `reset` is the time until the whole burst is there. The next token is there earlier, by
        // the refill time of the tokens after it.
        Algorithm::Bucket(bucket) => {
            let after = bucket.burst().saturating_sub(standing.remaining + 1);
            let nanos = bucket.fill_time().as_nanos() * u128::from(after);
            let nanos = nanos.div_ceil(u128::from(bucket.burst().max(1)));
            let after = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            reset.map(|reset| reset.saturating_sub(after))
        }
        // The end of the window. For a sliding one the reply contains only the time at which the
        // whole cost is available, or at which nothing is used any more.
        Algorithm::Window(_) | Algorithm::Sliding(_) => {
            standing.wait.filter(|_| !standing.allows).or(reset)
        }
        Algorithm::Slots(..) => None,
    }
}

/// Converts to seconds, rounded up, so that nobody retries too early.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
