//! The operators' pages and their access control.

use crate::common::{until, wait_until, Server};
use crate::driver::{call, keys, send, Demo};
use crate::prometheus::promtool;

const LIMITS: &str = "--key-by plain-header:X-Api-Key --rate 1/d --burst 2";

fn ask(demo: &Demo, caller: &str) -> u16 {
    demo.get_with(format!("X-Api-Key: {caller}\r\n").as_bytes())
        .status()
}

#[test]
fn metrics_count_requests_and_promtool_accepts_them() {
    let mut redis = Server::start();
    let demo = Demo::with(&redis, LIMITS);
    demo.wait_for_log("Connected");
    for caller in ["ann", "eve", "eve", "eve", "eve", "bob", "bob", "bob"] {
        ask(&demo, caller);
    }
    let expected = [
        "demo_requests_total{outcome=\"allowed\"} 5",
        "demo_requests_total{outcome=\"refused\"} 3",
        "demo_take_duration_seconds_count 8",
        "demo_redis_up 1",
        "rl_takes_allowed_total 5",
        "rl_takes_denied_total 3",
        "rl_tokens_taken_total 5",
        "rl_buckets_created_total 3",
        "rl_top_denials{rank=\"1\"} 2",
        "rl_top_denials{rank=\"2\"} 1",
    ];
    // Values that Redis does not return in time are omitted.
    let text = until("everything is told", || {
        let text = demo.metrics();
        let told = |line: &&str| text.lines().any(|l| l == *line);
        expected.iter().all(told).then_some(text)
    });
    promtool(&["check", "metrics"], &text);
    redis.kill();
    ask(&demo, "ann");
    wait_until("Redis counts as down", || {
        demo.metrics().contains("demo_redis_up 0\n")
    });
    assert!(demo
        .metrics()
        .contains("demo_requests_total{outcome=\"failed_open\"} 1\n"));
}

#[test]
fn only_a_limit_of_the_limiter_can_be_reset() {
    let redis = Server::start();
    let demo = Demo::with(&redis, LIMITS);
    demo.wait_for_log("Connected");
    let post = |what: &str, asked: &str| {
        let own = format!(
            "Origin: http://localhost\r\nContent-Length: {}",
            asked.len()
        );
        let body = format!("{own}\r\n\r\n{asked}");
        send(
            demo.admin,
            &format!("POST /dashboard/{what}"),
            body.as_bytes(),
        )
    };
    let reset = |caller: &str| post("reset", caller).status();
    call::<()>(&redis, &["SET", "precious", "data"]);
    for _ in 0..3 {
        ask(&demo, "eve");
    }
    for foreign in ["", "precious", "{rate:limiter:key:eve}"] {
        assert_eq!(reset(foreign), 404, "{foreign}");
        let looked = post("look", &format!("caller:{foreign}"));
        assert_eq!(looked.status(), 404, "{foreign}");
    }
    assert_eq!(post("look", "nonsense").status(), 404);
    assert_eq!(keys(&redis), ["precious", "rate:limiter:key:eve"]);
    // A key with the prefix that is not a limit is left unchanged.
    call::<()>(&redis, &["SET", "rate:limiter:key:ann", "data"]);
    call::<()>(&redis, &["RPUSH", "rate:limiter:key:bob", "data"]);
    for caller in ["ann", "bob"] {
        let refused = post("reset", &format!("rate:limiter:key:{caller}"));
        assert_eq!(refused.status(), 502, "{caller}");
        let key = format!("key:{caller}");
        assert!(refused.body().contains(&key), "{}", refused.0);
    }
    assert_eq!(
        call::<u64>(
            &redis,
            &["EXISTS", "rate:limiter:key:ann", "rate:limiter:key:bob"]
        ),
        2
    );
    call::<()>(
        &redis,
        &["DEL", "rate:limiter:key:ann", "rate:limiter:key:bob"],
    );
    assert_eq!(reset("rate:limiter:key:eve"), 204);
    assert_eq!(keys(&redis), ["precious"]);
    assert_eq!(ask(&demo, "eve"), 200);
}

#[test]
fn dashboard_describes_each_limit() {
    let redis = Server::start();
    let limits = [
        ["--limit", "100/m:20"],
        ["--window", "1000 DAY OFFSET +02:00"],
        ["--window", "5 15m"],
        ["--sliding", "60/1m"],
        ["--concurrent", "8"],
    ];
    let demo = Demo::connected(&redis, &limits.concat());
    let words = [
        "100 requests per minute on average, 20 at once",
        "1000 requests per calendar day OFFSET +02:00",
        "5 requests per 15m",
        "60 requests in any 1m",
        "8 requests at once",
    ];
    let told = crate::stores::snapshot(&demo);
    let limits = told["limits"].as_array().expect("limits");
    let told: Vec<_> = limits.iter().map(|limit| &limit["words"]).collect();
    assert_eq!(told, words);
}
