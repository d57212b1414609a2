//! `--concurrent`: a slot is held for as long as a request is served, and comes back.

use std::io::Write;
use std::net::TcpStream;

use crate::common::{wait_until, Server};
use crate::driver::{call, connect, counted, keys, pid, signal, Demo};

/// Work that lasts longer than any test.
const FOR_EVER: [&str; 2] = ["--work", "100000000"];

/// The key of a limit of two at once.
const TWO: &str = "{rate:limiter:test-client}:2 at once";

fn demo(redis: &Server, concurrent: &str, more: &[&str]) -> Demo {
    Demo::connected(redis, &[&["--concurrent", concurrent], more].concat())
}

/// Sends a request without waiting for the response.
pub fn ask(demo: &Demo) -> TcpStream {
    let mut stream = connect(demo.port);
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).expect("a request");
    stream
}

/// Returns the holders of slots, each with the end of its lease.
fn holders(redis: &Server, key: &str) -> Vec<(String, f64)> {
    let members: Vec<(String, f64)> = call(redis, &["ZRANGE", key, "0", "-1", "WITHSCORES"]);
    let is_token = |(member, _): &(String, f64)| member != "rl:leases";
    members.into_iter().filter(is_token).collect()
}

fn wait_for_holders(redis: &Server, key: &str, count: usize) {
    wait_until(&format!("{count} slots of {key} are held"), || {
        holders(redis, key).len() == count
    });
}

fn wait_for_gauge(demo: &Demo, limit: &str, count: u64) {
    let line = format!("demo_leases_held{{kind=\"lease\",limit=\"{limit}\"}} {count}\n");
    wait_until(&line, || demo.metrics().contains(&line));
}

#[test]
fn concurrent_requests_are_limited_and_a_disconnect_frees_its_slot() {
    let redis = Server::start();
    let demo = demo(&redis, "2/1h", &FOR_EVER);
    let (first, second) = (ask(&demo), ask(&demo));
    wait_for_holders(&redis, TWO, 2);
    let tokens = holders(&redis, TWO);
    assert_ne!(tokens[0].0, tokens[1].0);
    wait_for_gauge(&demo, "2 at once", 2);
    let refused = demo.get();
    assert_eq!(refused.status(), 429);
    assert_eq!(
        refused.header("ratelimit-policy"),
        Some("\"2 at once\";q=2;qu=\"concurrent-requests\"")
    );
    assert_eq!(refused.header("ratelimit"), Some("\"2 at once\";r=0"));
    // The end of a request is unknown: the value is not the hour for which a slot may outlive its
    // demo.
    assert_eq!(refused.header("retry-after"), Some("1"));
    drop(first);
    wait_for_holders(&redis, TWO, 1);
    wait_for_gauge(&demo, "2 at once", 1);
    let _third = ask(&demo);
    wait_for_holders(&redis, TWO, 2);
    drop(second);
    wait_for_holders(&redis, TWO, 1);
    let denied = "demo_limit_denied_total{kind=\"lease\",limit=\"2 at once\"} 1\n";
    assert!(demo.metrics().contains(denied), "{}", demo.metrics());
}

#[test]
fn slot_is_released_when_the_response_is_sent() {
    let redis = Server::start();
    let demo = demo(&redis, "1/1h", &[]);
    for _ in 0..20 {
        demo.wait_for(200);
    }
    wait_until("none is held", || keys(&redis).is_empty());
    wait_for_gauge(&demo, "1 at once", 0);
    assert_eq!(
        counted(&redis, "rl_lease_released"),
        counted(&redis, "rl_lease_acquired")
    );
}

#[test]
fn slot_is_renewed_while_the_request_lasts() {
    let redis = Server::start();
    // A process that stalls for two thirds of it loses the slot.
    let demo = demo(&redis, "2/9s", &FOR_EVER);
    let _request = ask(&demo);
    wait_for_holders(&redis, TWO, 1);
    let held = holders(&redis, TWO);
    wait_until("it is held for longer than it was", || {
        let now = holders(&redis, TWO);
        assert_eq!(now[0].0, held[0].0);
        now[0].1 > held[0].1 + 5000.0
    });
    assert_eq!(counted(&redis, "rl_lease_acquired"), 1);
}

#[test]
fn lost_slot_is_logged_and_not_reacquired() {
    let redis = Server::start();
    let demo = demo(&redis, "2/9s", &FOR_EVER);
    let _request = ask(&demo);
    wait_for_holders(&redis, TWO, 1);
    call::<()>(&redis, &["DEL", TWO]);
    demo.wait_for_log("warning: a slot was lost before its request ended");
    assert_eq!(keys(&redis), [""; 0]);
}

#[test]
fn slots_of_a_killed_demo_expire() {
    let redis = Server::start();
    let mut killed = demo(&redis, "2/9s", &FOR_EVER);
    let other = demo(&redis, "2/9s", &[]);
    let _requests = [ask(&killed), ask(&killed)];
    wait_for_holders(&redis, TWO, 2);
    assert_eq!(other.get().status(), 429);
    killed.signal("KILL");
    let status = killed.process.0.wait().expect("an end");
    assert!(!status.success());
    let ends = holders(&redis, TWO).into_iter().map(|(_, end)| end);
    let first = ends.fold(f64::MAX, f64::min);
    let now = || {
        let (seconds, micros): (f64, f64) = call(&redis, &["TIME"]);
        seconds * 1000.0 + micros / 1000.0
    };
    // Nobody frees them: they are held until their time is up, and then no longer.
    wait_until("a slot is free", || {
        let asked = now();
        let is_free = other.get().status() == 200;
        assert!(!is_free || now() >= first, "too early");
        assert!(is_free || asked <= first, "denied after its end");
        is_free
    });
    wait_until("the other's own slot is free", || {
        counted(&redis, "rl_lease_released") == 1
    });
}

/// Redis is away as they end: only a demo that waits for it can still free their slots.
#[test]
fn stopping_demo_releases_all_slots() {
    wait_until("five slots are held as Redis goes away", || {
        stop_while_redis_is_away()
    });
}

/// Returns whether five requests held a slot at once.
fn stop_while_redis_is_away() -> bool {
    let redis = Server::start();
    let server = pid(&redis);
    let flags = ["--work", "4000", "--timeout", "500"];
    let mut demo = demo(&redis, "9/1h", &flags);
    let mut are_held = false;
    let key = "{rate:limiter:test-client}:9 at once";
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..5)
            .map(|_| scope.spawn(|| demo.get().status()))
            .collect();
        wait_until("all are held, or one has ended", || {
            are_held = holders(&redis, key).len() == 5;
            are_held || asked.iter().any(|asked| asked.is_finished())
        });
        signal(server, "STOP");
        demo.wait_for_log("lost the connection");
        demo.signal("TERM");
        for answer in asked {
            assert_eq!(answer.join().expect("an answer"), 200);
        }
    });
    signal(server, "CONT");
    assert!(demo.process.0.wait().expect("an end").success());
    assert_eq!(keys(&redis), [""; 0]);
    are_held
}
