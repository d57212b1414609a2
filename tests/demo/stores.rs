//! The same cases for each store: Redis with the module, and the demo's own memory.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{until, wait_until, Server};
use crate::driver::{connect, refusal, send, Demo};

/// Starts a demo with these flags, and what it needs.
type Start = fn(&str) -> (Demo, Option<Server>);

const STORES: [Start; 2] = [in_redis, in_memory];

fn in_redis(flags: &str) -> (Demo, Option<Server>) {
    let redis = Server::start();
    let demo = Demo::with(&redis, flags);
    demo.wait_for_log("Connected");
    (demo, Some(redis))
}

fn in_memory(flags: &str) -> (Demo, Option<Server>) {
    (
        Demo::start(&format!("--store memory --timeout 5000 {flags}")),
        None,
    )
}

/// Returns status and RateLimit field of `count` requests.
fn answers(demo: &Demo, count: usize) -> Vec<(u16, String)> {
    let answer = |_| {
        let answer = demo.get();
        (answer.status(), answer.state())
    };
    (0..count).map(answer).collect()
}

#[test]
fn a_burst_passes_and_no_more() {
    for store in STORES {
        let (demo, _redis) = store("--rate 1/h --burst 3");
        let expected = [(200, 2), (200, 1), (200, 0), (429, 0)];
        let expected = expected.map(|(s, r)| (s, format!("\"default\";r={r};t=3600")));
        assert_eq!(answers(&demo, 4), expected);
    }
}

#[test]
fn bucket_refills_at_its_rate() {
    for store in STORES {
        let (demo, _redis) = store("--rate 5 --burst 1");
        let start = Instant::now();
        for _ in 0..4 {
            demo.wait_for(200);
        }
        assert!(
            start.elapsed() >= Duration::from_millis(600),
            "{:?}",
            start.elapsed()
        );
    }
}

#[test]
fn callers_have_separate_buckets() {
    for store in STORES {
        let (demo, _redis) = store("--key-by header:X-Api-Key --rate 1/h --burst 1");
        for caller in ["X-Api-Key: ann\r\n", "X-Api-Key: bob\r\n", ""] {
            assert_eq!(demo.get_with(caller.as_bytes()).status(), 200, "{caller}");
            assert_eq!(demo.get_with(caller.as_bytes()).status(), 429, "{caller}");
        }
    }
}

#[test]
fn every_limit_is_charged_or_none() {
    for store in STORES {
        let (demo, _redis) = store("--limit 1/d:3 --limit 1/h:1");
        let allowed = (
            200,
            "\"1/d:3\";r=2;t=86400, \"1/h:1\";r=0;t=3600".to_owned(),
        );
        let refused = (429, "\"1/d:3\";r=2, \"1/h:1\";r=0;t=3600".to_owned());
        assert_eq!(answers(&demo, 3), [allowed, refused.clone(), refused]);
    }
}

/// `kinds.rs` tests those in Redis.
#[test]
fn the_memory_of_the_demo_has_every_kind_of_limit() {
    for (flag, limit) in [("--window", "2 YEAR"), ("--sliding", "2/52w")] {
        let demo = Demo::run(&["--store", "memory", flag, limit], &[]);
        let statuses: Vec<_> = answers(&demo, 3).into_iter().map(|(s, _)| s).collect();
        assert_eq!(statuses, [200, 200, 429], "{flag}");
    }
    let demo = Demo::start("--store memory --concurrent 1 --work 100000000");
    let slots_held = |count| {
        let line = format!("demo_leases_held{{kind=\"lease\",limit=\"1 at once\"}} {count}\n");
        wait_until(&line, || demo.metrics().contains(&line));
    };
    let held = crate::leases::ask(&demo);
    slots_held(1);
    assert_eq!(demo.get().status(), 429);
    drop(held);
    slots_held(0);
}

/// The first event that the page is sent while the store answers.
pub fn snapshot(demo: &Demo) -> Value {
    until("the store answers", || {
        let told = first_event(demo);
        told["downSince"].is_null().then_some(told)
    })
}

/// The first event that the page is sent, which outlives the connection.
fn first_event(demo: &Demo) -> Value {
    use std::io::{BufRead, BufReader, Write};
    let mut stream = connect(demo.admin);
    let request = "GET /dashboard/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("a request");
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut events = lines.filter_map(|line| Some(line.strip_prefix("data: ")?.to_owned()));
    let event = events.nth(1).expect("the history, and then a snapshot");
    serde_json::from_str(&event).expect("JSON")
}

#[test]
fn top_denied_callers_are_listed_and_can_be_reset() {
    for store in STORES {
        let (demo, _redis) =
            store("--rate 1/h --burst 1 --key-by plain-header:X-Api-Key --prefix \"\\");
        for _ in 0..3 {
            demo.get_with(b"X-Api-Key: eve\r\n");
        }
        let told = snapshot(&demo);
        assert_eq!(told["downSince"], Value::Null);
        let words = "1 request per hour on average, 1 at once";
        assert_eq!(told["limits"][0]["words"], words);
        assert_eq!(told["limits"][0]["denied"], 2);
        let eve = &told["denied"]["top"][0];
        assert_eq!(
            (&eve["denials"], &eve["limit"]),
            (&2.into(), &"default".into())
        );
        let key = eve["key"].as_str().expect("a key");
        assert_eq!(key, r#"\"\\key:eve"#);
        let asked = eve["caller"].as_str().expect("a caller");
        let length = asked.len();
        let own = format!("Origin: http://localhost\r\nContent-Length: {length}\r\n\r\n{asked}");
        wait_until("the caller is reset", || {
            let reset = send(demo.admin, "POST /dashboard/reset", own.as_bytes());
            // A store that stalls does not answer in time.
            assert!([204, 502].contains(&reset.status()), "{}", reset.status());
            reset.status() == 204
        });
        assert_eq!(demo.get_with(b"X-Api-Key: eve\r\n").status(), 200);
        // One reading of the store's counters is used for a second.
        wait_until("the metrics tell", || {
            demo.metrics().contains("rl_top_denials{rank=\"1\"} 2\n")
        });
        assert_eq!(demo.page("/readyz"), 200);
    }
}

#[test]
fn unknown_store_is_rejected() {
    let said = refusal(&["--store", "disk"]);
    assert!(said.contains("redis, memory"), "{said}");
}
