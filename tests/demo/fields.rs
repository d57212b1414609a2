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
        for request in 1..=requests + 1 {
            let answer = demo.get();
            let fields = answer.header("ratelimit-policy");
            assert_eq!(fields, Some(&*format!("\"default\";{policy}")), "{limit}");
            let after = retry_after(&answer);
            // A slow machine may need some seconds for all requests.
            let is_about = |time: u64, expected| (expected - 60..=expected).contains(&time);
            if request > requests {
                let told = (answer.status(), answer.body());
                assert_eq!(told, (429, "Rate limit exceeded\n"), "{limit}");
                assert!(
                    after.is_some_and(|after| is_about(after, wait)),
                    "{after:?}"
                );
            } else {
                assert_eq!((answer.status(), after), (200, None), "{limit}");
            }
            if request >= requests {
                let (r, told) = state(&answer).split_once(";t=").expect("t");
                assert_eq!(r, format!("\"default\";r={left}"), "{limit}");
                assert!(told.parse().is_ok_and(|told| is_about(told, t)), "{told}");
            }
        }
    }
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
