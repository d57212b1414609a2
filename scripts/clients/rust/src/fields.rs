//! The header fields of draft-ietf-httpapi-ratelimit-headers-11.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{Decision, Rate, Source};

/// The fields that a page of another origin may read.
const EXPOSED: HeaderValue = HeaderValue::from_static("RateLimit, RateLimit-Policy, Retry-After");

/// Returns RateLimit-Policy: the burst, and the seconds in which it fills.
pub(crate) fn policy(rate: &Rate, burst: u64) -> String {
    format!("\"default\";q={burst};w={}", rate.fill_seconds(burst))
}

/// Returns the fields of an answer. Those of the limit are missing if the policy decided, since then
/// nothing is known. On a denial RateLimit has the same time as Retry-After, which the draft says must not
/// be sooner. Rounded up.
pub(crate) fn of(decision: &Decision, policy: &str) -> Vec<(&'static str, String)> {
    let wait = decision.retry_after.filter(|_| !decision.allowed);
    let seconds = ceil_seconds(wait.unwrap_or(decision.reset_after));
    let mut fields = Vec::new();
    if decision.source != Source::Policy {
        let state = format!("\"default\";r={};t={seconds}", decision.remaining);
        fields.push(("ratelimit-policy", policy.to_owned()));
        fields.push(("ratelimit", state));
    }
    if wait.is_some() {
        fields.push(("retry-after", seconds.to_string()));
    }
    fields
}

/// Adds fields to an answer.
pub(crate) fn add(headers: &mut HeaderMap, fields: Vec<(&'static str, String)>, expose: bool) {
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    if expose {
        headers.append(http::header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

fn ceil_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
