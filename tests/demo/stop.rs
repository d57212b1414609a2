//! The fate of open requests, and of the script's Redis, when the demo is stopped.

use std::net::TcpStream;

use crate::common::{wait_until, Server};
use crate::driver::Demo;
use crate::leases::ask;

#[test]
fn open_requests_are_answered_before_a_stop() {
    let redis = Server::start();
    let mut demo = Demo::with(&redis, "--work 2000 --concurrent 9/1h");
    demo.wait_for_log("Connected");
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| demo.get().status());
        wait_until("the request is served", || {
            demo.metrics().contains("{outcome=\"allowed\"} 1\n")
        });
        demo.signal("TERM");
        assert_eq!(answer.join().expect("an answer"), 200);
    });
    assert!(demo.process.0.wait().expect("an end").success());
}

#[test]
fn a_second_signal_ends_the_demo_at_once() {
    let redis = Server::start();
    let mut demo = Demo::with(&redis, "--work 100000000 --grace 100000000");
    demo.wait_for_log("Connected");
    let _request = ask(&demo);
    wait_until("the request is served", || {
        demo.metrics().contains("{outcome=\"allowed\"} 1\n")
    });
    demo.signal("INT");
    wait_until("nobody is let in any more", || {
        TcpStream::connect(("127.0.0.1", demo.port)).is_err()
    });
    assert_eq!(demo.page("/readyz"), 503);
    assert_eq!(demo.page("/healthz"), 200);
    demo.signal("INT");
    assert!(!demo.process.0.wait().expect("an end").success());
}
