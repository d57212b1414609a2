//! The demo with its Redis dead, hanging, or talking nonsense.

use std::time::{Duration, Instant};

use crate::common::{wait_until, Server};
use crate::driver::{call, keys, pid, signal, Demo};

#[test]
fn requests_are_answered_while_redis_dies_and_comes_back() {
    let mut redis = Server::start();
    let demo = Demo::with(&redis, "--rate 1/d --burst 1");
    demo.wait_for(429);
    std::thread::scope(|scope| {
        let traffic: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..500).map(|_| demo.get().status()).collect::<Vec<_>>()))
            .collect();
        redis.kill();
        // However fast they are, one comes too late.
        demo.get();
        demo.wait_for_log("warning: limiter failed open: ");
        redis.restart();
        for statuses in traffic.into_iter().map(|t| t.join().expect("answers")) {
            assert!(
                statuses.iter().all(|s| [200, 429].contains(s)),
                "{statuses:?}"
            );
        }
    });
    wait_until("Redis is asked again", || demo.page("/readyz") == 200);
    demo.wait_for(429);
    let warnings = demo.log().matches("warning: limiter").count();
    assert!(warnings < 200, "{warnings} warnings");
}

#[test]
fn requests_do_not_wait_for_a_redis_that_never_existed() {
    let mut redis = Server::start();
    redis.kill();
    let demo = Demo::with(&redis, "--rate 1/d --burst 1");
    for status in [200, 429, 429] {
        assert_eq!(demo.get().status(), status);
    }
    redis.restart();
    wait_until("Redis is asked", || {
        demo.get();
        keys(&redis) == ["rate:limiter:test-client"]
    });
}

/// Whether Redis hangs or is gone, this process admits no more than Redis would have.
#[test]
fn fallback_applies_the_same_limits_in_the_process() {
    for limit in [
        ["--limit", "1/d:3"],
        ["--window", "3 YEAR"],
        ["--sliding", "3/52w"],
    ] {
        let redis = Server::start();
        let demo = Demo::connected(&redis, &[&limit[..], &["--timeout", "50"]].concat());
        let process = pid(&redis);
        signal(process, "STOP");
        let statuses: Vec<_> = (0..9).map(|_| demo.get().status()).collect();
        assert_eq!(
            statuses,
            [200, 200, 200, 429, 429, 429, 429, 429, 429],
            "{limit:?}"
        );
        let refused = demo.get();
        assert!(refused.header("ratelimit").is_some(), "{}", refused.0);
        demo.wait_for_log("warning: limiter failed open: no answer within 50ms");
        demo.wait_for_log("lost the connection");
        assert_eq!(demo.get().status(), 429);
        let metrics = demo.metrics();
        assert!(
            metrics.contains("{outcome=\"failed_open\"} 3\n"),
            "{metrics}"
        );
        signal(process, "CONT");
        wait_until("Redis is asked", || demo.page("/readyz") == 200);
        // Served requests are charged, even late; refused ones are not.
        wait_until("the late takes are settled", || demo.get().status() == 429);
    }
}

#[test]
fn fallback_limits_slots_in_the_process() {
    let mut redis = Server::start();
    let flags = ["--concurrent", "2", "--work", "100000000"];
    let demo = Demo::connected(&redis, &flags);
    redis.kill();
    let admitted = |n: usize| {
        let line = format!("{{outcome=\"failed_open\"}} {n}\n");
        demo.metrics().contains(&line)
    };
    let (first, _second) = (crate::leases::ask(&demo), crate::leases::ask(&demo));
    wait_until("both hold a slot", || admitted(2));
    assert_eq!(demo.get().status(), 429);
    drop(first);
    // Each is answered at once with 429, or holds the slot that has become free.
    let mut asked = Vec::new();
    wait_until("there is room again", || {
        asked.push(crate::leases::ask(&demo));
        admitted(3)
    });
    assert_eq!(demo.get().status(), 429);
}

#[test]
fn timeout_option_bounds_the_wait_for_redis() {
    let redis = Server::start();
    let demo = Demo::with(&redis, "--rate 1/d --burst 1");
    demo.wait_for(429);
    let process = pid(&redis);
    signal(process, "STOP");
    let start = Instant::now();
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| demo.get().status());
        wait_until("it takes longer than it ever should", || {
            start.elapsed() > Duration::from_millis(1_500)
        });
        signal(process, "CONT");
        assert_eq!(answer.join().expect("an answer"), 429);
    });
}

#[test]
fn fail_closed_refuses_with_503() {
    let mut redis = Server::start();
    let demo = Demo::with(&redis, "--fail closed");
    demo.wait_for_log("Connected");
    assert_eq!(demo.get().status(), 200);
    redis.kill();
    let refused = demo.get();
    assert_eq!(
        (refused.status(), refused.body()),
        (503, "Rate limiter unavailable\n")
    );
    assert_eq!(refused.header("retry-after"), Some("1"));
    demo.wait_for_log("warning: limiter failed closed: ");
    redis.restart();
    demo.wait_for(200);
}

#[test]
fn redis_error_is_not_a_denial() {
    let redis = Server::start();
    call::<()>(&redis, &["SET", "rate:limiter:test-client", "not a bucket"]);
    let demo = Demo::with(&redis, "");
    demo.wait_for_log("Connected");
    assert_eq!(demo.get().status(), 200);
    demo.wait_for_log("not a rate-limit bucket");
}
