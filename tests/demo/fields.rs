//! RateLimit-Policy, RateLimit and Retry-After, as draft-ietf-httpapi-ratelimit-headers-11 has them.

use crate::common::Server;
use crate::driver::{call, command, Demo};

/// Starts a demo whose first request will reach Redis.
fn demo(redis: &Server, flags: &str) -> Demo {
    let demo = Demo::with(redis, flags);
    demo.wait_for_log("Connected");
    demo
}

#[test]
fn header_fields_report_the_callers_limit() {
    let redis = Server::start();
    for (limit, requests, policy, left, t, wait) in [
        // With a cost of 2 and one token left, the other token is the next.
        (
            "3/d --burst 3 --cost 2",
            1,
            "q=3;w=86400",
            "1",
            28_800,
            28_800,
        ),
        // The next token is as far away before and after a denial.
        ("1/h --burst 100", 100, "q=100;w=360000", "0", 3600, 3600),
        // `t` is the time of the first unit, Retry-After that of the whole cost.
        (
            "1/h --burst 9 --cost 9",
            1,
            "q=9;w=32400",
            "0",
            3600,
            9 * 3600,
        ),
    ] {
        call::<()>(&redis, &["FLUSHALL"]);
        let demo = demo(&redis, &format!("--rate {limit}"));
        for _ in 1..requests {
            assert_eq!(demo.get().status(), 200, "{limit}");
        }
        for (status, after) in [(200, None), (429, Some(wait))] {
            let answer = demo.get();
            let told = (answer.status(), answer.state(), answer.retry_after());
            let state = format!("\"default\";r={left};t={t}");
            assert_eq!(told, (status, state, after), "{limit}");
            let policy = format!("\"default\";{policy}");
            assert_eq!(answer.header("ratelimit-policy"), Some(&*policy));
        }
    }
}

#[test]
fn t_field_is_never_later_than_retry_after() {
    let redis = Server::start();
    let demo = demo(&redis, "--limit 1/m:1 --limit 3/d:9");
    let allowed = demo.get();
    let expected = "\"1/m:1\";r=0;t=60, \"3/d:9\";r=8;t=28800";
    assert_eq!((allowed.status(), &*allowed.state()), (200, expected));
    let refused = demo.get();
    // Retry-After must not be earlier than any t, so the later one is left out.
    assert_eq!(refused.state(), "\"1/m:1\";r=0;t=60, \"3/d:9\";r=8");
    assert_eq!(refused.retry_after(), Some(60));
    // An unused limit has no time of more quota.
    call::<()>(&redis, &["DEL", "{rate:limiter:test-client}:3/d:9"]);
    assert_eq!(demo.get().state(), "\"1/m:1\";r=0;t=60, \"3/d:9\";r=9");
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
