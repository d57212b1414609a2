//! The identification of callers.

use crate::common::Server;
use crate::driver::{keys, Demo};

/// Returns the names under which requests with these headers are charged.
fn names(demo: &Demo, redis: &Server, headers: &[&str]) -> Vec<String> {
    let name = |header: &&str| {
        let before = keys(redis);
        let status = demo.get_with(format!("{header}\r\n").as_bytes()).status();
        assert_eq!(status, 200, "{header}");
        let new = keys(redis).into_iter().find(|key| !before.contains(key));
        let new = new.unwrap_or_else(|| panic!("{header}: no new key among {before:?}"));
        new.strip_prefix("rate:limiter:")
            .expect("the prefix")
            .to_owned()
    };
    headers.iter().map(name).collect()
}

const BY_IP: &str = "--key-by ip --rate 1/d --burst 9";

#[test]
fn callers_are_identified_by_address() {
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
fn forwarded_addresses_count_up_to_the_first_untrusted_proxy() {
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
        ("203.0.113.7:54321", "203.0.113.7"),
        ("[2001:db8:0:1::1]:443", "2001:db8:0:1::/64"),
        ("[2001:db8:0:2::1]", "2001:db8:0:2::/64"),
        ("192.0.2.7, 192.0.2.9:80", "192.0.2.7"),
        // Empty elements are ignored (RFC 9110, 5.6.1).
        ("192.0.2.8,", "192.0.2.8"),
        ("192.0.2.10, , ,192.0.2.9, ,\t", "192.0.2.10"),
        ("192.0.2.11\r\nX-Forwarded-For:", "192.0.2.11"),
    ] {
        let header = format!("X-Forwarded-For: {header}\r\n");
        assert_eq!(demo.get_with(header.as_bytes()).status(), 200, "{header}");
        let key = format!("rate:limiter:ip:{client}");
        assert!(keys(&redis).contains(&key), "{header}: {:?}", keys(&redis));
    }
}

#[test]
fn callers_are_identified_by_a_header_of_any_bytes() {
    let redis = Server::start();
    let flags = "--key-by plain-header:X-Api-Key --rate 1/d --burst 1";
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
fn identifying_header_is_hashed_in_keys() {
    let redis = Server::start();
    let demo = Demo::with(&redis, "--key-by header:X-Api-Key --rate 1/d --burst 1");
    demo.wait_for_log("Connected");
    // printf s3cret | sha256sum
    let sha256 = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";
    let name = names(&demo, &redis, &["X-Api-Key: s3cret"]);
    assert_eq!(name, [format!("key:sha256:{sha256}")]);
    assert_eq!(demo.get_with(b"X-Api-Key: s3cret\r\n").status(), 429);
    let metrics = demo.metrics();
    // The metrics name nobody, not even by a hash.
    let told = ["s3cret", sha256].iter().any(|name| metrics.contains(name));
    assert!(
        !told && metrics.contains("rl_top_denials{rank="),
        "{metrics}"
    );
}

#[test]
fn repeated_or_empty_identifying_header_is_refused_and_charges_nobody() {
    let redis = Server::start();
    let demo = Demo::with(&redis, "--key-by header:X-Api-Key --rate 1/d --burst 1");
    demo.wait_for_log("Connected");
    for headers in [
        "X-Api-Key: a\r\nX-Api-Key: b\r\n",
        "X-Api-Key:\r\n",
        "X-Api-Key:  \r\n",
    ] {
        assert_eq!(demo.get_with(headers.as_bytes()).status(), 400, "{headers}");
    }
    assert_eq!(keys(&redis), [""; 0]);
}

#[test]
fn a_network_of_proxies_is_trusted() {
    let redis = Server::start();
    let demo = Demo::with(&redis, &format!("{BY_IP} --trust-proxy 127.0.0.0/8"));
    demo.wait_for_log("Connected");
    let headers = [
        "X-Forwarded-For: 192.0.2.1, 127.9.9.9",
        "X-Forwarded-For: 192.0.2.2, 128.0.0.1",
    ];
    assert_eq!(
        names(&demo, &redis, &headers),
        ["ip:192.0.2.1", "ip:128.0.0.1"]
    );
    for trusted in ["::ffff:127.0.0.1", "0.0.0.0/0"] {
        let demo = Demo::with(
            &redis,
            &format!("{BY_IP} --trust-proxy {trusted} --prefix {trusted}"),
        );
        demo.wait_for_log("Connected");
        demo.get_with(b"X-Forwarded-For: 2001:db8::1\r\n");
        let key = format!("{trusted}ip:2001:db8::/64");
        assert!(keys(&redis).contains(&key), "{:?}", keys(&redis));
    }
}

#[test]
fn proxy_header_is_configurable() {
    let redis = Server::start();
    let flags = format!("{BY_IP} --trust-proxy 127.0.0.1 --trust-proxy 10.0.0.0/8");
    let forwarded = Demo::with(&redis, &format!("{flags} --proxy-header Forwarded"));
    forwarded.wait_for_log("Connected");
    let headers = [
        "Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43",
        "Forwarded: For=\"[2001:db8:cafe::17]:4711\"",
        "Forwarded: for=192.0.2.43:_port, for=\"10.1.2.3:80\"",
        // An unterminated quote of a caller hides nothing that the proxy appended.
        "Forwarded: for=\"a, for=192.0.2.61",
        "Forwarded: for=1.1.1.1\r\nForwarded: proto=\"a;b,c\"; for=192.0.2.62",
        "Forwarded: for=192.0.2.63,",
        // The proxy does not say, so it is the proxy that asks.
        "Forwarded: for=192.0.2.1, for=unknown",
    ];
    let expected = [
        "ip:192.0.2.60",
        "ip:2001:db8:cafe::/64",
        "ip:192.0.2.43",
        "ip:192.0.2.61",
        "ip:192.0.2.62",
        "ip:192.0.2.63",
        "ip:127.0.0.1",
    ];
    assert_eq!(names(&forwarded, &redis, &headers), expected);
    for (i, name) in [(1, "X-Real-IP"), (2, "CF-Connecting-IP")] {
        let demo = Demo::with(&redis, &format!("{flags} --proxy-header {name}"));
        demo.wait_for_log("Connected");
        let headers = [
            format!("{name}: 203.0.113.{i}\r\nX-Forwarded-For: 1.1.1.1"),
            format!("{name}: 2001:db8:{i}::1"),
        ];
        let expected = [format!("ip:203.0.113.{i}"), format!("ip:2001:db8:{i}::/64")];
        assert_eq!(
            names(&demo, &redis, &headers.each_ref().map(String::as_str)),
            expected
        );
        let twice = format!("{name}: 192.0.2.1\r\n{name}: 192.0.2.2\r\n");
        assert_eq!(demo.get_with(twice.as_bytes()).status(), 400);
    }
}

#[test]
fn ipv6_prefix_is_configurable() {
    let redis = Server::start();
    for (bits, network) in [
        ("48", "2001:db8:1::/48"),
        ("56", "2001:db8:1:200::/56"),
        ("128", "2001:db8:1:2ff::9/128"),
        ("1", "::/1"),
    ] {
        let flags = format!("{BY_IP} --trust-proxy 127.0.0.1 --ipv6-prefix {bits}");
        let demo = Demo::with(&redis, &flags);
        demo.wait_for_log("Connected");
        let header = ["X-Forwarded-For: 2001:db8:1:2ff::9"];
        assert_eq!(names(&demo, &redis, &header), [format!("ip:{network}")]);
    }
}
