//! The demo with its Redis dead, hanging, or talking nonsense.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::{wait_until, Server};
use crate::driver::{call, pid, signal, Demo};

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
    demo.wait_for(429);
    let warnings = demo.log().matches("warning: limiter").count();
    assert!(warnings < 200, "{warnings} warnings");
}

#[test]
fn nothing_waits_for_a_redis_that_was_never_there() {
    let mut redis = Server::start();
    redis.kill();
    let demo = Demo::with(&redis, "--rate 1/d --burst 1");
    for _ in 0..3 {
        assert_eq!(demo.get().status(), 200);
    }
    redis.restart();
    demo.wait_for(429);
}

#[test]
fn a_redis_that_hangs_lets_requests_through() {
    let redis = Server::start();
    let demo = Demo::start(&format!("--redis {} --rate 1/d --burst 1", redis.url()));
    demo.wait_for_log("Connected");
    demo.wait_for(429);
    let process = pid(&redis);
    wait_until("the log tells why", || {
        signal(process, "STOP");
        for _ in 0..20 {
            assert_eq!(demo.get().status(), 200);
        }
        signal(process, "CONT");
        demo.wait_for(429);
        // After a second without an answer, there is no connection any more.
        let line = "warning: limiter failed open: no answer within 50ms";
        demo.log().contains(line)
    });
}

#[test]
fn redis_is_waited_for_as_long_as_asked() {
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
fn failing_closed_refuses_with_503() {
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
fn an_error_of_redis_is_no_refusal() {
    let redis = Server::start();
    call::<()>(&redis, &["SET", "rate:limiter:test-client", "not a bucket"]);
    let demo = Demo::with(&redis, "");
    demo.wait_for_log("Connected");
    assert_eq!(demo.get().status(), 200);
    demo.wait_for_log("not a rate-limit bucket");
}

#[test]
fn the_demos_own_redis_goes_down_with_it() {
    for name in ["INT", "TERM", "KILL"] {
        let mut demo = Demo::start("");
        let port = demo.number_after("Started redis-server on port ", "\n");
        assert_eq!(demo.get().status(), 200);
        demo.signal(name);
        let status = demo.process.0.wait().expect("an end");
        assert_eq!(status.success(), name != "KILL", "{name}: {status}");
        let gone = || TcpStream::connect(("127.0.0.1", port)).is_err();
        // Killed, it can only leave this to its guard.
        assert!(name == "KILL" || gone(), "left behind after {name}");
        wait_until("the server is gone", gone);
    }
}
