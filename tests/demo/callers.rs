//! The identification of callers.

use crate::common::Server;
use crate::driver::{call, keys, Demo};

const FORWARDED: &str = "--trust-proxy 127.0.0.1 --trust-proxy 10.0.0.0/8 --proxy-header Forwarded";
const HASH: &str = "key:sha256:1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

/// Options, and headers with the name under which each request is charged; without a name, the
/// request is refused and charged to nobody.
const CASES: &[(&str, &[(&str, &str)])] = &[
    ("", &[("X-Forwarded-For: 192.0.2.1", "ip:127.0.0.1")]),
    (
        "--trust-proxy 127.0.0.1 --trust-proxy 192.0.2.9",
        &[
            ("X-Forwarded-For: 192.0.2.1", "ip:192.0.2.1"),
            ("X-Forwarded-For: 10.0.0.1, 192.0.2.2", "ip:192.0.2.2"),
            (
                "X-Forwarded-For: 10.0.0.1, 192.0.2.3, 192.0.2.9",
                "ip:192.0.2.3",
            ),
            (
                "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 192.0.2.4",
                "ip:192.0.2.4",
            ),
            ("X-Forwarded-For: 192.0.2.5, nonsense", "ip:127.0.0.1"),
            ("X-Forwarded-For: ::ffff:192.0.2.6", "ip:192.0.2.6"),
            (
                "X-Forwarded-For: 2001:db8:1:2:3:4:5:6",
                "ip:2001:db8:1:2::/64",
            ),
            ("X-Forwarded-For: 203.0.113.7:54321", "ip:203.0.113.7"),
            (
                "X-Forwarded-For: [2001:db8:0:1::1]:443",
                "ip:2001:db8:0:1::/64",
            ),
            ("X-Forwarded-For: [2001:db8:0:2::1]", "ip:2001:db8:0:2::/64"),
            ("X-Forwarded-For: 192.0.2.7, 192.0.2.9:80", "ip:192.0.2.7"),
            // Empty elements are ignored (RFC 9110, 5.6.1).
            ("X-Forwarded-For: 192.0.2.8,", "ip:192.0.2.8"),
            (
                "X-Forwarded-For: 192.0.2.10, , ,192.0.2.9, ,\t",
                "ip:192.0.2.10",
            ),
            (
                "X-Forwarded-For: 192.0.2.11\r\nX-Forwarded-For:",
                "ip:192.0.2.11",
            ),
        ],
    ),
    (
        "--trust-proxy 127.0.0.0/8",
        &[
            ("X-Forwarded-For: 192.0.2.1, 127.9.9.9", "ip:192.0.2.1"),
            ("X-Forwarded-For: 192.0.2.2, 128.0.0.1", "ip:128.0.0.1"),
        ],
    ),
    (
        "--trust-proxy ::ffff:127.0.0.1",
        &[("X-Forwarded-For: 2001:db8::1", "ip:2001:db8::/64")],
    ),
    (
        "--trust-proxy 0.0.0.0/0",
        &[("X-Forwarded-For: 2001:db8::1", "ip:2001:db8::/64")],
    ),
    (
        FORWARDED,
        &[
            (
                "Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43",
                "ip:192.0.2.60",
            ),
            (
                "Forwarded: For=\"[2001:db8:cafe::17]:4711\"",
                "ip:2001:db8:cafe::/64",
            ),
            (
                "Forwarded: for=192.0.2.43:_port, for=\"10.1.2.3:80\"",
                "ip:192.0.2.43",
            ),
            // An unterminated quote of a caller hides nothing that the proxy appended.
            ("Forwarded: for=\"a, for=192.0.2.61", "ip:192.0.2.61"),
            (
                "Forwarded: for=1.1.1.1\r\nForwarded: proto=\"a;b,c\"; for=192.0.2.62",
                "ip:192.0.2.62",
            ),
            ("Forwarded: for=192.0.2.63,", "ip:192.0.2.63"),
            // The proxy does not say, so it is the proxy that asks.
            ("Forwarded: for=192.0.2.1, for=unknown", "ip:127.0.0.1"),
        ],
    ),
    (
        "--trust-proxy 127.0.0.1 --proxy-header X-Real-IP",
        &[
            (
                "X-Real-IP: 203.0.113.1\r\nX-Forwarded-For: 1.1.1.1",
                "ip:203.0.113.1",
            ),
            ("X-Real-IP: 2001:db8:1::1", "ip:2001:db8:1::/64"),
            ("X-Real-IP: 192.0.2.1\r\nX-Real-IP: 192.0.2.2", ""),
        ],
    ),
    (
        "--trust-proxy 127.0.0.1 --ipv6-prefix 48",
        &[("X-Forwarded-For: 2001:db8:1:2ff::9", "ip:2001:db8:1::/48")],
    ),
    (
        "--trust-proxy 127.0.0.1 --ipv6-prefix 128",
        &[(
            "X-Forwarded-For: 2001:db8:1:2ff::9",
            "ip:2001:db8:1:2ff::9/128",
        )],
    ),
    (
        "--trust-proxy 127.0.0.1 --ipv6-prefix 1",
        &[("X-Forwarded-For: 2001:db8:1:2ff::9", "ip:::/1")],
    ),
    (
        "--key-by header:X-Api-Key",
        &[
            // printf s3cret | sha256sum
            ("X-Api-Key: s3cret", HASH),
            ("X-Api-Key: a\r\nX-Api-Key: b", ""),
            ("X-Api-Key:", ""),
            ("X-Api-Key:  ", ""),
        ],
    ),
    (
        "--key-by plain-header:X-Api-Key",
        &[
            ("X-Api-Key: alice", "key:alice"),
            ("Accept: */*", "ip:127.0.0.1"),
        ],
    ),
];

#[test]
fn each_request_is_charged_to_the_caller_that_it_identifies() {
    let redis = Server::start();
    for (flags, cases) in CASES {
        let by = if flags.contains("--key-by") {
            ""
        } else {
            "--key-by ip"
        };
        let demo = Demo::with(&redis, &format!("--rate 1/d --burst 9 {by} {flags}"));
        demo.wait_for_log("Connected");
        for (headers, name) in *cases {
            call::<()>(&redis, &["FLUSHALL"]);
            let status = demo.get_with(format!("{headers}\r\n").as_bytes()).status();
            let expected = match *name {
                "" => (400, Vec::new()),
                name => (200, vec![format!("rate:limiter:{name}")]),
            };
            assert_eq!((status, keys(&redis)), expected, "{flags} {headers}");
        }
    }
}

#[test]
fn identifying_header_of_any_bytes_has_a_short_key_of_its_own() {
    let redis = Server::start();
    let flags = "--key-by plain-header:X-Api-Key --rate 1/d --burst 1";
    let demo = Demo::with(&redis, flags);
    demo.wait_for_log("Connected");
    let long = "x".repeat(8000);
    let values: [&[u8]; 5] = [
        b"\xff\xfe",
        b"\xff\xfd",
        b"{alice}",
        long.as_bytes(),
        &long.as_bytes()[1..],
    ];
    for value in values {
        let header = [b"X-Api-Key: ", value, b"\r\n"].concat();
        for status in [200, 429] {
            let answer = demo.get_with(&header);
            assert_eq!(answer.status(), status, "{}", value.escape_ascii());
        }
    }
    let keys = keys(&redis);
    let is_short = |key: &String| key.len() < 100 && !key.contains('{');
    assert!(keys.iter().all(is_short), "{keys:?}");
}

#[test]
fn metrics_contain_no_callers_name_or_hash() {
    let redis = Server::start();
    let demo = Demo::with(&redis, "--key-by header:X-Api-Key --rate 1/d --burst 1");
    demo.wait_for_log("Connected");
    for status in [200, 429] {
        assert_eq!(demo.get_with(b"X-Api-Key: s3cret\r\n").status(), status);
    }
    let metrics = demo.metrics();
    let (_, hash) = HASH.rsplit_once(':').expect("a hash");
    assert!(metrics.contains("rl_top_denials{rank="), "{metrics}");
    assert!(
        !metrics.contains("s3cret") && !metrics.contains(hash),
        "{metrics}"
    );
}
