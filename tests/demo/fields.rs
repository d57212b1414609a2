//! RateLimit-Policy, RateLimit and Retry-After, as draft-ietf-httpapi-ratelimit-headers-11 has them.

use crate::common::Server;
use crate::driver::{call, command, Demo, Response};

/// Starts a demo whose first request will reach Redis.
fn demo(redis: &Server, flags: &str) -> Demo {
    let demo = Demo::with(redis, flags);
    demo.wait_for_log("Connected");
    demo
}

fn state(response: &Response) -> &str {
    response.header("ratelimit").expect("a RateLimit field")
}

fn retry_after(response: &Response) -> Option<u64> {
    response.header("retry-after")?.parse().ok()
}

#[test]
fn header_fields_report_the_callers_limit() {
    let redis = Server::start();
    let demo = Demo::with(&redis, "--rate 100/h --burst 3 --cost 2");
    demo.wait_for_log("Connected");
    let allowed = demo.get();
    assert_eq!(allowed.status(), 200);
    assert_eq!(
        allowed.header("ratelimit-policy"),
        Some("\"default\";q=3;w=108")
    );
    assert_eq!(allowed.header("ratelimit"), Some("\"default\";r=1;t=36"));
    assert_eq!(allowed.header("retry-after"), None);
    let refused = demo.get();
    assert_eq!(
        (refused.status(), refused.body()),
        (429, "Rate limit exceeded\n")
    );
    assert_eq!(
        refused.header("ratelimit-policy"),
        Some("\"default\";q=3;w=108")
    );
    let wait: u32 = refused
        .header("retry-after")
        .and_then(|s| s.parse().ok())
        .expect("seconds");
    assert!((10..=36).contains(&wait), "{wait}");
    let state = format!("\"default\";r=1;t={wait}");
    assert_eq!(refused.header("ratelimit"), Some(state.as_str()));
}

#[test]
fn t_field_is_the_time_of_more_quota_before_and_after_a_denial() {
    let redis = Server::start();
    let demo = demo(&redis, "--rate 1/m --burst 100");
    for _ in 1..100 {
        assert_eq!(demo.get().status(), 200);
    }
    let last = demo.get();
    assert_eq!((last.status(), state(&last)), (200, "\"default\";r=0;t=60"));
    let refused = demo.get();
    assert_eq!(
        (refused.status(), state(&refused)),
        (429, "\"default\";r=0;t=60")
    );
    assert_eq!(retry_after(&refused), Some(60));
}

#[test]
fn retry_after_is_the_time_of_the_whole_cost_and_t_of_its_first_unit() {
    let redis = Server::start();
    let demo = demo(&redis, "--rate 1/h --burst 9 --cost 9");
    assert_eq!(demo.get().status(), 200);
    let refused = demo.get();
    assert_eq!(state(&refused), "\"default\";r=0;t=3600");
    assert_eq!(retry_after(&refused), Some(9 * 3600));
}

#[test]
fn t_field_is_never_later_than_retry_after() {
    let redis = Server::start();
    let demo = demo(&redis, "--limit 1/m:1 --limit 3/d:9");
    let allowed = demo.get();
    let expected = "\"1/m:1\";r=0;t=60, \"3/d:9\";r=8;t=28800";
    assert_eq!((allowed.status(), state(&allowed)), (200, expected));
    let refused = demo.get();
    // Retry-After must not be earlier than any t, so the later one is left out.
    assert_eq!(state(&refused), "\"1/m:1\";r=0;t=60, \"3/d:9\";r=8");
    assert_eq!(retry_after(&refused), Some(60));
    // An unused limit has no time of more quota.
    call::<()>(&redis, &["DEL", "{rate:limiter:test-client}:3/d:9"]);
    assert_eq!(state(&demo.get()), "\"1/m:1\";r=0;t=60, \"3/d:9\";r=9");
}

#[test]
fn a_window_below_a_second_is_left_out() {
    let redis = Server::start();
    let policy = |flags| {
        let answer = demo(&redis, flags).get();
        answer
            .header("ratelimit-policy")
            .expect("a policy")
            .to_owned()
    };
    assert_eq!(policy("--rate 1000 --burst 10"), "\"default\";q=10");
    assert_eq!(policy("--rate 10 --burst 10"), "\"default\";q=10;w=1");
}

#[test]
fn header_fields_are_exposed_to_other_origins() {
    let redis = Server::start();
    let demo = demo(&redis, "--rate 1/d --burst 1");
    let exposed = "access-control-expose-headers";
    assert_eq!(demo.get().header(exposed), None);
    let refused = demo.get_with(b"Origin: https://app.example\r\n");
    let fields = "RateLimit, RateLimit-Policy, Retry-After";
    assert_eq!(
        (refused.status(), refused.header(exposed)),
        (429, Some(fields))
    );
}

#[test]
fn help_names_the_revision_of_the_draft() {
    let output = command(&["--help"]).output().expect("the demo starts");
    let help = String::from_utf8(output.stdout).expect("text");
    assert!(
        help.contains("draft-ietf-httpapi-ratelimit-headers-11"),
        "{help}"
    );
}
