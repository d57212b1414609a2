//! Answers that come too late, readers who do not read, and pages that are opened by the hundred.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Instant;

use crate::common::{free_port, wait_until, Server};
use crate::driver::{
    call, command, connect, counted, keys, pid, send, signal, Demo, Response, Running,
};

/// Holds up Redis until `then` is done, by which time five requests got this status.
fn five_answers_come_late(redis: &Server, demo: &Demo, status: u16, then: impl Fn(&Demo)) {
    let process = pid(redis);
    signal(process, "STOP");
    for _ in 0..5 {
        assert_eq!(demo.get().status(), status);
    }
    then(demo);
    signal(process, "CONT");
}

/// One of each kind, with windows so long that no late take falls into another one.
const EVERY_KIND: [&str; 8] = [
    "--limit",
    "1/d:9",
    "--window",
    "9 YEAR",
    "--sliding",
    "9/52w",
    "--concurrent",
    "9/1h",
];

/// The connection lasts, or was dropped before the late takes happen.
#[test]
fn late_take_charges_no_refused_request() {
    for limits in [&["--limit", "1/d:9"][..], &EVERY_KIND] {
        for is_dropped in [false, true] {
            let redis = Server::start();
            let flags = [limits, &["--timeout", "50", "--fail", "closed"]].concat();
            let demo = Demo::connected(&redis, &flags);
            five_answers_come_late(&redis, &demo, 503, |demo| {
                if is_dropped {
                    demo.wait_for_log("lost the connection");
                }
            });
            // Not always five: the connection may be lost before the last request is sent.
            let has_all = limits.len() > 2;
            for (taken, given, is_used) in [
                ("rl_tokens_taken", "rl_tokens_given", true),
                ("rl_window_tokens_taken", "rl_window_tokens_given", has_all),
                ("rl_lease_acquired", "rl_lease_released", has_all),
            ] {
                wait_until(&format!("{given} is {taken}"), || {
                    let [taken, given] = [taken, given].map(|field| counted(&redis, field));
                    given == taken && (taken > 0) == is_used
                });
            }
            wait_until("all is given back", || keys(&redis).is_empty());
            demo.wait_for(200);
        }
    }
}

#[test]
fn late_slot_is_released_although_the_request_was_served() {
    let redis = Server::start();
    let demo = Demo::connected(&redis, &[&EVERY_KIND[..], &["--timeout", "50"]].concat());
    five_answers_come_late(&redis, &demo, 200, |_| {});
    let acquired = || counted(&redis, "rl_lease_acquired");
    wait_until("the slots are free", || {
        let released = counted(&redis, "rl_lease_released");
        released > 0 && released == acquired()
    });
    assert_eq!(counted(&redis, "rl_tokens_given"), 0);
    wait_until("the requests are counted", || {
        let key = "{rate:limiter:test-client}:9 YEAR";
        let window = call::<Vec<i64>>(&redis, &["RL.WPEEK", key, "9", "YEAR"]);
        window[2] == 9 - acquired() as i64
    });
}

#[test]
fn unread_log_does_not_block_requests() {
    let redis = Server::start();
    let (port, admin) = (free_port().to_string(), free_port().to_string());
    let (port, admin) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{admin}"));
    let url = redis.url();
    let flags = ["--redis", &url, "--listen", &port, "--admin", &admin];
    let demo = command(&flags).stderr(Stdio::piped()).spawn();
    let mut demo = Running(demo.expect("the demo starts"));
    let log = demo.0.stderr.take().expect("a pipe");
    wait_until("the demo listens", || TcpStream::connect(&port).is_ok());
    let port = port.rsplit(':').next().and_then(|p| p.parse().ok());
    let port = port.expect("a port");
    // Each is a line of 20 bytes or more; a pipe holds 64 KiB.
    for _ in 0..6000 {
        let status = send(port, "GET /", b"").status();
        assert!([200, 429].contains(&status), "{status}");
    }
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    let told = lines.find(|line| line.ends_with("lines were not written here"));
    assert!(told.is_some());
    signal(demo.0.id(), "TERM");
    assert!(demo.0.wait().expect("an end").success());
}

#[test]
fn endless_request_body_is_not_awaited() {
    let redis = Server::start();
    let demo = Demo::with(&redis, "");
    for (length, sent, status) in [("100", "x", 408), ("100000", &*"x".repeat(40_000), 413)] {
        let mut stream = connect(demo.admin);
        let request = format!(
            "POST /dashboard/reset HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\
             Connection: close\r\nContent-Length: {length}\r\n\r\n{sent}"
        );
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        let mut stream = BufReader::new(stream);
        stream.read_line(&mut answer).expect("an answer in time");
        assert_eq!(Response(answer).status(), status);
    }
}

/// Opens a page: its events arrive on this connection.
fn open(demo: &Demo) -> BufReader<TcpStream> {
    let mut stream = connect(demo.admin);
    let request = b"GET /dashboard/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).expect("a request");
    BufReader::new(stream)
}

fn next_event(page: &mut BufReader<TcpStream>) {
    let mut line = String::new();
    while !line.starts_with("data: ") {
        line.clear();
        assert_ne!(page.read_line(&mut line).expect("an event"), 0);
    }
}

#[test]
fn open_pages_query_redis_once_a_second_in_all() {
    let redis = Server::start();
    let demo = Demo::with(&redis, "");
    demo.wait_for_log("Connected");
    let mut pages: Vec<_> = (0..120).map(|_| open(&demo)).collect();
    // The history, and then a snapshot.
    next_event(&mut pages[0]);
    next_event(&mut pages[0]);
    let asked = |redis: &Server| {
        let about: String = call(redis, &["INFO", "commandstats"]);
        let about = about.to_lowercase();
        let (_, after) = about.split_once("cmdstat_rl.top:calls=").expect("calls");
        let (calls, _) = after.split_once(',').expect("a number");
        calls.parse::<u64>().expect("a number")
    };
    let start = Instant::now();
    let before = asked(&redis);
    for _ in 0..4 {
        next_event(&mut pages[0]);
    }
    let after = asked(&redis);
    let most = start.elapsed().as_secs() + 2;
    assert!(after - before <= most, "{before} {after}, {most}");
}
