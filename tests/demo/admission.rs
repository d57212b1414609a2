//! Access to the operators' pages, and the origins from which requests are accepted.

use crate::common::Server;
use crate::driver::{command, exchange, keys, refusal, send, send_as, Demo, Response};

const TOKEN: &str = "0123456789abcdef";

fn page(demo: &Demo, path: &str, headers: &str) -> Response {
    send(demo.admin, &format!("GET {path}"), headers.as_bytes())
}

#[test]
fn operators_pages_require_a_local_address_or_a_token() {
    let redis = Server::start();
    let open = Demo::with(&redis, "");
    assert_eq!(page(&open, "/dashboard", "").status(), 200);
    // A browser whose DNS maps this name to this machine still sends the name.
    let lured = send_as("evil.example", open.admin, "GET /dashboard", b"");
    assert_eq!(lured.status(), 403);
    assert_eq!(
        send(open.port, "GET /dashboard", b"")
            .body()
            .split(':')
            .next(),
        Some("Request allowed")
    );

    let closed = Demo::with(&redis, &format!("--admin-token {TOKEN}"));
    for path in [
        "/dashboard",
        "/dashboard/events",
        "/metrics",
        "/dashboard?token=0123456789",
    ] {
        assert_eq!(page(&closed, path, "").status(), 401, "{path}");
    }
    let entry = page(&closed, "/dashboard?token=0123456789abcdef", "");
    assert_eq!(
        (entry.status(), entry.header("location")),
        (303, Some("/dashboard"))
    );
    // A path that is another host must not become the target.
    for path in ["//evil.example", "/\\\\evil.example", "/metrics"] {
        let answer = page(&closed, &format!("{path}?token={TOKEN}"), "");
        assert_eq!((answer.status(), answer.header("location")), (401, None));
    }
    let cookie = entry
        .header("set-cookie")
        .and_then(|c| c.split(';').next())
        .expect("a cookie");
    assert_eq!(
        page(&closed, "/dashboard", &format!("Cookie: a=b; {cookie}\r\n")).status(),
        200
    );
    let bearer = "Authorization: Bearer 0123456789abcdef\r\n";
    assert_eq!(page(&closed, "/metrics", bearer).status(), 200);

    let said = refusal(&["--redis", &redis.url(), "--admin", "0.0.0.0:0"]);
    assert!(said.contains("--admin-token"), "{said}");
}

/// Starts a demo with an empty bucket whose key is among the top denied ones.
fn demo_with_a_victim(redis: &Server, flags: &str) -> Demo {
    let demo = Demo::with(redis, &format!("--rate 1/d --burst 1 {flags}"));
    demo.wait_for(429);
    demo
}

/// Returns the status of an attempt to reset the victim.
fn reset(demo: &Demo, headers: &str) -> u16 {
    let key = "rate:limiter:test-client";
    let request = format!(
        "POST /dashboard/reset HTTP/1.0\r\nHost: localhost:{}\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n{headers}\r\n{key}",
        demo.admin,
        key.len()
    );
    exchange(demo.admin, request.as_bytes()).status()
}

#[test]
fn reset_from_another_origin_is_refused() {
    let redis = Server::start();
    let open = demo_with_a_victim(&redis, "");
    let closed = demo_with_a_victim(&redis, &format!("--admin-token {TOKEN}"));
    let cookie = format!("Cookie: token={TOKEN}\r\n");
    for (demo, cookie) in [(&open, ""), (&closed, cookie.as_str())] {
        let neighbour = format!("Origin: http://localhost:{}\r\n", demo.port);
        for headers in [
            "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n",
            "Origin: https://evil.example\r\n",
            "Origin: null\r\n",
            "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: navigate\r\n",
            "",
            &neighbour,
        ] {
            let headers = format!("{cookie}{headers}");
            assert_eq!(reset(demo, &headers), 403, "{headers}");
        }
        assert_eq!(keys(&redis), ["rate:limiter:test-client"]);
        let own = format!(
            "{cookie}Origin: http://localhost:{}\r\nSec-Fetch-Site: same-origin\r\n",
            demo.admin
        );
        assert_eq!(reset(demo, &own), 204);
        demo.wait_for(429);
    }
    // No page can have a browser send this.
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(reset(&closed, &bearer), 204);
}

#[test]
fn pages_of_another_origin_can_link_but_not_read() {
    let redis = Server::start();
    let demo = Demo::with(&redis, "");
    for path in ["/dashboard", "/dashboard/events", "/metrics"] {
        for site in ["cross-site", "same-site"] {
            let headers = format!("Sec-Fetch-Site: {site}\r\nSec-Fetch-Mode: no-cors\r\n");
            assert_eq!(page(&demo, path, &headers).status(), 403, "{path} {site}");
        }
    }
    let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n";
    assert_eq!(page(&demo, "/dashboard", link).status(), 200);
    assert_eq!(reset(&demo, link), 403);
}

#[test]
fn operators_pages_answer_to_every_local_name_and_no_other() {
    let redis = Server::start();
    let demo = Demo::with(&redis, "");
    for (name, status) in [
        ("localhost", 200),
        ("LOCALHOST", 200),
        ("127.0.0.2", 200),
        ("127.0.0.2:8081", 200),
        ("[::1]:8081", 200),
        ("[::ffff:127.0.0.1]", 200),
        ("localhost.evil.example", 403),
        ("192.0.2.1", 403),
        ("[2001:db8::1]", 403),
        ("", 403),
    ] {
        let status_told = send_as(name, demo.admin, "GET /dashboard", b"").status();
        assert_eq!(status_told, status, "{name}");
    }
    // The target's own host counts before the header's.
    let lured = send_as(
        "localhost",
        demo.admin,
        "GET http://evil.example/metrics",
        b"",
    );
    assert_eq!(lured.status(), 403);
}

#[test]
fn the_printed_address_of_the_dashboard_works() {
    let redis = Server::start();
    let flags = ["--redis", &redis.url(), "--admin", "127.0.0.2:0"];
    let process = command(&flags).stderr(std::process::Stdio::piped()).spawn();
    let mut process = crate::driver::Running(process.expect("the demo starts"));
    let stderr = process.0.stderr.take().expect("a pipe");
    let lines = std::io::BufRead::lines(std::io::BufReader::new(stderr));
    let printed = lines.map_while(Result::ok).find_map(|line| {
        let address = line.strip_prefix("Dashboard on http://")?;
        Some(address.strip_suffix("/dashboard")?.to_owned())
    });
    let address = printed.expect("an address");
    let mut stream = std::net::TcpStream::connect(&address).expect("somebody listens");
    let request = format!("GET /dashboard HTTP/1.0\r\nHost: {address}\r\n\r\n");
    std::io::Write::write_all(&mut stream, request.as_bytes()).expect("a request");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("an answer");
    assert_eq!(Response(answer).status(), 200);
}

#[test]
fn missing_token_is_answered_with_instructions() {
    let redis = Server::start();
    let demo = Demo::with(&redis, &format!("--admin-token {TOKEN}"));
    let refused = page(&demo, "/metrics", "");
    assert_eq!(refused.status(), 401);
    let challenge = refused.header("www-authenticate");
    assert_eq!(challenge, Some("Bearer realm=\"demo\""));
    for scheme in ["bearer", "BEARER", "Bearer"] {
        let header = format!("Authorization: {scheme} {TOKEN}\r\n");
        assert_eq!(page(&demo, "/metrics", &header).status(), 200, "{scheme}");
    }
    for wrong in ["Basic", "Bearer x", "Bearer,"] {
        let header = format!("Authorization: {wrong} {TOKEN}\r\n");
        assert_eq!(page(&demo, "/metrics", &header).status(), 401, "{wrong}");
    }
}

#[test]
fn empty_token_in_the_environment_counts_as_unset() {
    let redis = Server::start();
    let flags = format!("--redis {}", redis.url());
    let demo = Demo::start_in(&flags, &[("DEMO_ADMIN_TOKEN", "")]);
    assert_eq!(demo.page("/metrics"), 200);
    let demo = Demo::start_in(&flags, &[("DEMO_ADMIN_TOKEN", TOKEN)]);
    assert_eq!(demo.page("/metrics"), 401);
}

#[test]
fn operators_pages_answer_each_http_method() {
    let redis = Server::start();
    let demo = Demo::with(&redis, "");
    let answer = |what: &str| send(demo.admin, what, b"Origin: http://localhost\r\n");
    assert_eq!(answer("HEAD /dashboard").status(), 200);
    assert_eq!(answer("HEAD /dashboard").body(), "");
    assert_eq!(answer("GET /nowhere").status(), 404);
    let wrong = answer("DELETE /metrics");
    assert_eq!(
        (wrong.status(), wrong.header("allow")),
        (405, Some("GET, HEAD"))
    );
    assert_eq!(answer("GET /dashboard/reset").status(), 405);
}
