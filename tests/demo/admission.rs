//! Access to the operators' pages, and the origins from which requests are accepted.

use crate::common::Server;
use crate::driver::{command, exchange, keys, refusal, send, send_as, Demo, Response};

const TOKEN: &str = "0123456789abcdef";

fn page(demo: &Demo, path: &str, headers: &str) -> Response {
    send(demo.admin, &format!("GET {path}"), headers.as_bytes())
}

#[test]
fn operators_pages_answer_only_this_machine() {
    let redis = Server::start();
    let demo = Demo::with(&redis, "");
    let answer = |name, path: &str, headers: &str| {
        let what = format!("GET {path}");
        send_as(name, demo.admin, &what, headers.as_bytes()).status()
    };
    for (name, status) in [
        ("localhost", 200),
        ("LOCALHOST", 200),
        ("127.0.0.2", 200),
        ("127.0.0.2:8081", 200),
        ("[::1]:8081", 200),
        ("[::ffff:127.0.0.1]", 200),
        // A browser whose DNS maps this name to this machine still sends the name.
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("192.0.2.1", 403),
        ("[2001:db8::1]", 403),
        ("", 403),
    ] {
        assert_eq!(answer(name, "/dashboard", ""), status, "{name}");
    }
    // The target's own host counts before the header's.
    let lured = answer("localhost", "http://evil.example/metrics", "");
    assert_eq!(lured, 403);
    // A page of another origin can link to a page, but not read it.
    for site in ["cross-site", "same-site"] {
        let site = format!("Sec-Fetch-Site: {site}\r\nSec-Fetch-Mode: ");
        for path in ["/dashboard", "/dashboard/events", "/metrics"] {
            let read = format!("{site}no-cors\r\n");
            assert_eq!(answer("localhost", path, &read), 403, "{path} {read}");
        }
        let link = format!("{site}navigate\r\n");
        assert_eq!(answer("localhost", "/dashboard", &link), 200);
        assert_eq!(reset(&demo, &link), 403);
    }
    let service = send(demo.port, "GET /dashboard", b"");
    assert!(service.body().starts_with("Request allowed"));
    let said = refusal(&["--redis", &redis.url(), "--admin", "0.0.0.0:0"]);
    assert!(said.contains("--admin-token"), "{said}");
}

#[test]
fn operators_pages_answer_only_with_the_token() {
    let redis = Server::start();
    let demo = Demo::with(&redis, &format!("--admin-token {TOKEN}"));
    let entry = page(&demo, &format!("/dashboard?token={TOKEN}"), "");
    let target = (entry.status(), entry.header("location"));
    assert_eq!(target, (303, Some("/dashboard")));
    let cookie = entry.header("set-cookie").and_then(|c| c.split(';').next());
    let cookie = cookie.expect("a cookie");
    for (path, headers, status) in [
        ("/dashboard", "", 401),
        ("/dashboard/events", "", 401),
        ("/metrics", "", 401),
        ("/dashboard?token=0123456789", "", 401),
        // A path that is another host must not become the target.
        ("//evil.example?token=0123456789abcdef", "", 401),
        ("/\\\\evil.example?token=0123456789abcdef", "", 401),
        ("/metrics?token=0123456789abcdef", "", 401),
        ("/dashboard", &format!("Cookie: a=b; {cookie}"), 200),
        ("/metrics", &format!("Authorization: bearer {TOKEN}"), 200),
        ("/metrics", &format!("Authorization: BEARER {TOKEN}"), 200),
        ("/metrics", &format!("Authorization: Bearer {TOKEN}"), 200),
        ("/metrics", &format!("Authorization: Basic {TOKEN}"), 401),
        ("/metrics", &format!("Authorization: Bearer x {TOKEN}"), 401),
        ("/metrics", &format!("Authorization: Bearer, {TOKEN}"), 401),
    ] {
        let end = if headers.is_empty() { "" } else { "\r\n" };
        let answer = page(&demo, path, &format!("{headers}{end}"));
        assert_eq!(answer.status(), status, "{path} {headers}");
        let challenge = (status == 401).then_some("Bearer realm=\"demo\"");
        assert_eq!(answer.header("www-authenticate"), challenge);
        assert_eq!(answer.header("location"), None);
    }
    // The environment may have it too, where an empty variable counts as unset.
    let flags = format!("--redis {}", redis.url());
    for (token, status) in [("", 200), (TOKEN, 401)] {
        let demo = Demo::start_in(&flags, &[("DEMO_ADMIN_TOKEN", token)]);
        assert_eq!(demo.page("/metrics"), status);
    }
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
