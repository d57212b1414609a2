//! The requirements of HTTP itself, and the requests that browsers send by themselves.

use crate::common::Server;
use crate::driver::{exchange, keys, send, Demo};

fn demo(redis: &Server, flags: &str) -> Demo {
    let demo = Demo::with(redis, flags);
    demo.wait_for_log("Connected");
    demo
}

#[test]
fn a_request_without_one_valid_host_is_a_bad_request() {
    let redis = Server::start();
    let demo = demo(&redis, "--rate 1/d --burst 9");
    let ask = |port, version: &str, hosts: &str| {
        let request = format!("GET / HTTP/{version}\r\nConnection: close\r\n{hosts}\r\n");
        exchange(port, request.as_bytes()).status()
    };
    for bad in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a b\r\n",
        "Host: user@a\r\n",
        "Host: a:port\r\n",
        "Host: a/b\r\n",
    ] {
        assert_eq!(ask(demo.port, "1.1", bad), 400, "{bad}");
        assert_eq!(ask(demo.admin, "1.1", bad), 400, "{bad}");
    }
    assert_eq!(ask(demo.port, "1.0", "Host: a\r\nHost: b\r\n"), 400);
    assert_eq!(keys(&redis), [""; 0], "nobody asked, so nobody is charged");
    for good in [
        "Host: a\r\n",
        "Host: a:80\r\n",
        "Host: [::1]:80\r\n",
        "Host:\r\n",
    ] {
        assert_eq!(ask(demo.port, "1.1", good), 200, "{good}");
    }
    assert_eq!(ask(demo.port, "1.0", ""), 200);
}

const PREFLIGHT: &[u8] = b"Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n";

#[test]
fn a_preflight_is_answered_by_the_limiter_alone() {
    let redis = Server::start();
    let demo = demo(&redis, "--rate 1/d --burst 1");
    for _ in 0..3 {
        let answer = send(demo.port, "OPTIONS /", PREFLIGHT);
        assert_eq!((answer.status(), answer.body()), (204, ""));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    assert_eq!(keys(&redis), [""; 0]);
    assert!(!demo.log().contains("Request allowed"), "{}", demo.log());
    assert!(demo
        .metrics()
        .contains("demo_requests_total{outcome=\"exempt\"} 3\n"));
    // An OPTIONS that is not a preflight is an ordinary request, even if it resembles one.
    assert_eq!(send(demo.port, "OPTIONS /", b"").status(), 200);
    assert_eq!(send(demo.port, "OPTIONS /", b"").status(), 429);
    assert_eq!(send(demo.port, "GET /", PREFLIGHT).status(), 429);
    // Whoever is denied does not reach the service by asking as a browser would.
    assert_eq!(send(demo.port, "OPTIONS /", PREFLIGHT).status(), 204);
    assert_eq!(demo.log().matches("Request allowed").count(), 1);
}
