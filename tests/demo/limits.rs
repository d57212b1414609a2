//! Admission, responses and the names of callers.

use crate::common::{until, wait_until, Server};
use crate::driver::{keys, refusal, Demo};

#[test]
fn third_request_is_denied() {
    let redis = Server::start();
    let demo = Demo::with(&redis, "");
    let allowed = demo.get();
    assert_eq!(allowed.status(), 200);
    let time = allowed
        .body()
        .strip_prefix("Request allowed: ")
        .expect("the words")
        .trim_end();
    let zoned = jiff::fmt::temporal::DateTimeParser::new().parse_timestamp(time);
    assert!(zoned.is_ok() && !time.ends_with('Z'), "{time}");
    // All at once, or tokens would come back in between on a busy machine.
    let refused = until("a refusal", || {
        std::thread::scope(|scope| {
            let asked: Vec<_> = (0..9).map(|_| scope.spawn(|| demo.get())).collect();
            let mut answers = asked.into_iter().map(|a| a.join().expect("an answer"));
            answers.find(|answer| answer.status() == 429)
        })
    });
    assert_eq!(refused.body(), "Rate limit exceeded\n");
    // Half a second, rounded up.
    assert_eq!(refused.header("retry-after"), Some("1"));
    demo.wait_for(200);
    demo.wait_for_log(&format!("Request allowed: {time}\n"));
    demo.wait_for_log("Rate limit exceeded\n");
}

#[test]
fn bucket_key_has_the_configured_name() {
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
fn invalid_options_are_refused_at_startup() {
    for (flags, reason) in [
        (&["--rate", "fast"][..], "rate must be"),
        (&["--rate", "1e99"], "rate must be"),
        (
            &["--burst", "0"],
            "--cost must be from 1 to the smallest limit, 0",
        ),
        (&["--burst", "x"], "burst must be"),
        (
            &["--cost", "3"],
            "--cost must be from 1 to the smallest limit, 2",
        ),
        (
            &["--key-by", "luck"],
            "expected ip, name:NAME, header:NAME or plain-header:NAME",
        ),
        (&["--key-by", "header:a b"], "'a b' is not a header name"),
        (&["--redis", "localhost"], "--redis"),
        (
            &["--redis", "redis-sentinel://127.0.0.1:1"],
            "the master's name is missing",
        ),
        (
            &["--redis", "redis-sentinel://127.0.0.1:1/"],
            "the master's name is missing",
        ),
        (&["--redis", "redis-cluster://"], "a host is missing"),
        (&["--redis", "redis-nothing://h"], "expected redis://"),
        (&["--trust-proxy", "10.0.0.0/33"], "nor a network"),
        (&["--trust-proxy", "10.0.0.1/8"], "bits beyond its prefix"),
        (&["--ipv6-prefix", "129"], "from 1 to 128"),
        (&["--prefix", ""], "--prefix must not be empty"),
        (&["--proxy-header", "a b"], "--proxy-header a b"),
        (
            &["--store", "memory", "--redis", "redis://127.0.0.1"],
            "--store memory needs no --redis",
        ),
        (&["--timeout", "soon"], "--timeout must be a whole number"),
        (&[], "--redis URL or --store memory is needed"),
    ] {
        let said = refusal(flags);
        assert!(said.contains(reason), "{flags:?}: {said}");
    }
}

#[test]
fn too_many_limits_are_refused_at_startup() {
    let limits: Vec<_> = (1..=129).map(|n| format!("{n}/d:1")).collect();
    let mut flags: Vec<_> = limits.iter().flat_map(|l| ["--limit", l]).collect();
    let said = refusal(&flags);
    assert!(
        said.contains("129 limits are given; 128 is the most"),
        "{said}"
    );
    flags.truncate(2 * 128);
    let redis = Server::start();
    let demo = Demo::with(&redis, &flags.join(" "));
    demo.wait_for_log("Connected");
    assert_eq!((demo.get().status(), demo.get().status()), (200, 429));
}

#[test]
fn errors_never_contain_a_password() {
    for url in [
        "redis://:s3cret@127.0.0.1:port",
        "redis-nothing://:s3cret@127.0.0.1",
        "redis-sentinel://:s3cret@127.0.0.1",
        "redis-cluster://:s3cret@",
    ] {
        let said = refusal(&["--redis", url]);
        assert!(
            said.contains("--redis") && !said.contains("s3cret"),
            "{said}"
        );
    }
}
