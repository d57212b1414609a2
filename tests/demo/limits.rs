//! Who may pass, what they are told, and by what name they are known.

use std::time::{Duration, Instant};

use crate::common::{until, wait_until, Server};
use crate::driver::{call, keys, refusal, Demo};

#[test]
fn two_requests_are_allowed_and_the_third_is_not() {
    let demo = Demo::start("");
    let allowed = demo.get();
    assert_eq!(allowed.status(), 200);
    let time = allowed
        .body()
        .strip_prefix("Request allowed: ")
        .expect("the words")
        .trim_end();
    let zoned = jiff::fmt::temporal::DateTimeParser::new().parse_timestamp(time);
    assert!(zoned.is_ok() && !time.ends_with('Z'), "{time}");
    let refused = until("a refusal", || {
        Some(demo.get()).filter(|r| r.status() == 429)
    });
    // Half a second, rounded up.
    assert_eq!(refused.header("retry-after"), Some("1"));
    demo.wait_for(200);
    demo.wait_for_log(&format!("Request allowed: {time}\n"));
    demo.wait_for_log("Rate limit exceeded\n");
}

#[test]
fn replies_tell_how_a_caller_stands() {
    let redis = Server::start();
    let demo = Demo::with(&redis, "--rate 100/h --burst 3 --cost 2");
    demo.wait_for_log("Connected");
    let allowed = demo.get();
    assert_eq!(allowed.status(), 200);
    assert_eq!(
        allowed.header("ratelimit-policy"),
        Some("\"default\";q=3;w=108")
    );
    assert_eq!(allowed.header("ratelimit"), Some("\"default\";r=1;t=72"));
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
fn a_bucket_is_a_key_with_the_name_asked_for() {
    let redis = Server::start();
    let seed = Demo::with(&redis, "");
    seed.wait_for_log("Connected");
    wait_until("there is the default key", || {
        seed.get();
        keys(&redis) == ["rate:limiter:test-client"]
    });
    let named = Demo::with(&redis, "--prefix p: --key-by name:n --rate 1/d");
    named.wait_for_log("Connected");
    named.get();
    assert!(
        keys(&redis).contains(&"p:n".to_owned()),
        "{:?}",
        keys(&redis)
    );
}

#[test]
fn callers_are_told_apart_by_address() {
    let redis = Server::start();
    let flags = "--key-by ip --rate 1/d --burst 1";
    let demo = Demo::with(&redis, flags);
    demo.wait_for_log("Connected");
    assert_eq!(
        demo.get_with(b"X-Forwarded-For: 192.0.2.1\r\n").status(),
        200
    );
    assert_eq!(
        demo.get_with(b"X-Forwarded-For: 192.0.2.2\r\n").status(),
        429
    );
    assert_eq!(keys(&redis), ["rate:limiter:ip:127.0.0.1"]);
}

#[test]
fn a_trusted_proxy_is_believed_as_far_as_it_can_know() {
    let redis = Server::start();
    let trust = "--trust-proxy 127.0.0.1 --trust-proxy 192.0.2.9";
    let flags = "--key-by ip --rate 1/d --burst 1";
    let demo = Demo::with(&redis, &format!("{flags} {trust}"));
    demo.wait_for_log("Connected");
    for (header, client) in [
        ("192.0.2.1", "192.0.2.1"),
        ("10.0.0.1, 192.0.2.2", "192.0.2.2"),
        ("10.0.0.1, 192.0.2.3, 192.0.2.9", "192.0.2.3"),
        ("10.0.0.1\r\nX-Forwarded-For: 192.0.2.4", "192.0.2.4"),
        ("192.0.2.5, nonsense", "127.0.0.1"),
        ("::ffff:192.0.2.6", "192.0.2.6"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ] {
        let header = format!("X-Forwarded-For: {header}\r\n");
        assert_eq!(demo.get_with(header.as_bytes()).status(), 200, "{header}");
        let key = format!("rate:limiter:ip:{client}");
        assert!(keys(&redis).contains(&key), "{header}: {:?}", keys(&redis));
    }
}

#[test]
fn callers_are_told_apart_by_a_header_of_any_bytes() {
    let redis = Server::start();
    let flags = "--key-by header:X-Api-Key --rate 1/d --burst 1";
    let demo = Demo::with(&redis, flags);
    demo.wait_for_log("Connected");
    let long = "x".repeat(8000);
    let values: [&[u8]; 6] = [
        b"alice",
        b"\xff\xfe",
        b"\xff\xfd",
        b"{alice}",
        long.as_bytes(),
        &long.as_bytes()[1..],
    ];
    for value in values {
        let header = [b"X-Api-Key: ", value, b"\r\n"].concat();
        assert_eq!(
            demo.get_with(&header).status(),
            200,
            "{}",
            value.escape_ascii()
        );
        assert_eq!(
            demo.get_with(&header).status(),
            429,
            "{}",
            value.escape_ascii()
        );
    }
    assert_eq!(demo.get().status(), 200);
    let keys = keys(&redis);
    assert!(
        keys.contains(&"rate:limiter:key:alice".to_owned()),
        "{keys:?}"
    );
    assert!(
        keys.contains(&"rate:limiter:ip:127.0.0.1".to_owned()),
        "{keys:?}"
    );
    assert!(
        keys.iter().all(|key| key.len() < 100 && !key.contains('{')),
        "{keys:?}"
    );
}

#[test]
fn what_cannot_work_is_refused_at_once() {
    for (flags, reason) in [
        (&["--rate", "fast"][..], "rate must be"),
        (&["--rate", "1e9"], "rate must be"),
        (&["--burst", "0"], "burst must be"),
        (&["--cost", "3"], "--cost must be from 1 to the burst, 2"),
        (
            &["--key-by", "luck"],
            "expected ip, name:NAME or header:NAME",
        ),
        (&["--key-by", "header:a b"], "'a b' is no header name"),
        (&["--redis", "localhost"], "--redis"),
        (
            &["--redis-server", "/nowhere/redis-server"],
            "/nowhere/redis-server",
        ),
        (&["--module", "/nowhere/rl.so"], "/nowhere/rl.so"),
        (
            &["--module", "/dev/null"],
            "Module /dev/null failed to load",
        ),
    ] {
        let said = refusal(flags);
        assert!(said.contains(reason), "{flags:?}: {said}");
    }
}

#[test]
fn several_limits_apply_at_once_and_all_or_nothing() {
    let redis = Server::start();
    let flags = "--limit 1/d:3 --limit 2/h:2 --limit 1/m:9";
    let demo = Demo::with(&redis, flags);
    demo.wait_for_log("Connected");
    let allowed = demo.get();
    assert_eq!(allowed.status(), 200);
    let policy = "\"1/d:3\";q=3;w=259200, \"2/h:2\";q=2;w=3600, \"1/m:9\";q=9;w=540";
    assert_eq!(allowed.header("ratelimit-policy"), Some(policy));
    let state = "\"1/d:3\";r=2;t=86400, \"2/h:2\";r=1;t=1800, \"1/m:9\";r=8;t=60";
    assert_eq!(allowed.header("ratelimit"), Some(state));
    assert_eq!(demo.get().status(), 200);
    for _ in 0..3 {
        assert_eq!(demo.get().status(), 429);
    }
    call::<()>(&redis, &["DEL", "{rate:limiter:test-client}:2/h:2"]);
    assert_eq!(demo.get().status(), 200, "a refused request was charged");
    assert_eq!(demo.get().status(), 429);
}

#[test]
fn a_request_is_delayed_rather_than_refused_if_asked() {
    let redis = Server::start();
    let flags = "--limit 2:1 --max-wait 1000";
    let demo = Demo::with(&redis, flags);
    demo.wait_for_log("Connected");
    let start = Instant::now();
    let statuses = std::thread::scope(|scope| {
        let requests: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| demo.get().status()))
            .collect();
        requests
            .into_iter()
            .map(|r| r.join().expect("an answer"))
            .collect::<Vec<_>>()
    });
    let allowed = statuses.iter().filter(|&&status| status == 200).count();
    assert!(
        statuses.iter().all(|s| [200, 429].contains(s)),
        "{statuses:?}"
    );
    // One at once and two within a second; more only if the twenty took long to arrive.
    assert!((3..20).contains(&allowed), "{statuses:?}");
    assert!(start.elapsed() >= Duration::from_millis(500 * (allowed as u64 - 1)));
}
