//! The fate of open requests when the demo is stopped or fails to start.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::common::{until, wait_until, Server};
use crate::driver::{command, connect, counted, refusal, signal, Demo, Folder, Running};

/// Starts a demo with `callers` waiting requests, stops it and returns their statuses.
fn statuses_of_those_who_wait(redis: &Server, flags: &str, callers: u64) -> Vec<u16> {
    let mut demo = Demo::with(
        redis,
        &format!("{flags} --rate 4 --burst 1 --max-wait 5000"),
    );
    demo.wait_for_log("Connected");
    let statuses = std::thread::scope(|scope| {
        let ask = || demo.get().status();
        let asked: Vec<_> = (0..callers).map(|_| scope.spawn(ask)).collect();
        wait_until("all have their turn", || {
            counted(redis, "rl_takes_allowed") == callers
        });
        demo.signal("TERM");
        let answers = asked.into_iter().map(|a| a.join().expect("an answer"));
        answers.collect()
    });
    assert!(demo.process.0.wait().expect("an end").success());
    statuses
}

#[test]
fn delayed_requests_are_answered_before_a_stop() {
    let redis = Server::start();
    let statuses = statuses_of_those_who_wait(&redis, "", 20);
    assert_eq!(statuses, [200; 20]);
    assert_eq!(counted(&redis, "rl_tokens_given"), 0);
}

#[test]
fn requests_due_after_a_stop_get_503_and_a_refund() {
    let redis = Server::start();
    let statuses = statuses_of_those_who_wait(&redis, "--grace 1000", 20);
    let stopped = statuses.iter().filter(|&&status| status == 503).count() as u64;
    let allowed = statuses.iter().filter(|&&status| status == 200).count() as u64;
    assert_eq!(stopped + allowed, 20, "{statuses:?}");
    assert!(stopped > 0 && allowed > 0, "{statuses:?}");
    assert_eq!(counted(&redis, "rl_tokens_given"), stopped);
}

#[test]
fn disconnect_while_waiting_is_refunded() {
    let redis = Server::start();
    let demo = Demo::with(&redis, "--rate 1/m --burst 1 --max-wait 600000");
    demo.wait_for_log("Connected");
    assert_eq!(demo.get().status(), 200);
    let mut caller = connect(demo.port);
    caller
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("a request");
    wait_until("the turn is reserved", || {
        counted(&redis, "rl_tokens_reserved") == 1
    });
    drop(caller);
    wait_until("the tokens are back", || {
        counted(&redis, "rl_tokens_given") == 1
    });
}

#[test]
fn a_second_signal_ends_the_demo_at_once() {
    let redis = Server::start();
    let mut demo = Demo::with(
        &redis,
        "--rate 1/d --burst 1 --max-wait 100000000 --grace 100000000",
    );
    demo.wait_for_log("Connected");
    demo.get();
    let mut caller = connect(demo.port);
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    caller.write_all(request).expect("a request");
    wait_until("the turn is reserved", || {
        counted(&redis, "rl_tokens_reserved") == 1
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

/// Returns a program that writes its process id and never answers.
fn silent_server(folder: &Folder) -> String {
    let program = folder.file("silent-server");
    let script = format!(
        "#!/bin/sh\necho $$ >{}\nexec sleep 1000\n",
        folder.file("pid")
    );
    fs::write(&program, script).expect("a program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("permissions");
    program
}

fn is_gone(folder: &Folder) -> bool {
    let pid = fs::read_to_string(folder.file("pid")).expect("a process id");
    !fs::exists(format!("/proc/{}", pid.trim())).expect("a look at it")
}

#[test]
fn stop_signal_works_while_the_demos_redis_starts() {
    let folder = Folder::new("silent");
    let program = silent_server(&folder);
    let module = crate::common::module();
    let module = module.to_str().expect("a plain path");
    let demo = command(&["--redis-server", &program, "--module", module])
        .stderr(Stdio::null())
        .spawn();
    let mut demo = Running(demo.expect("the demo starts"));
    wait_until("the server is started", || {
        fs::read_to_string(folder.file("pid")).is_ok_and(|pid| !pid.is_empty())
    });
    signal(demo.0.id(), "INT");
    let status = until("the demo ends", || demo.0.try_wait().expect("a status"));
    assert!(status.success(), "{status}");
    assert!(is_gone(&folder));
}

#[test]
fn demos_redis_that_never_answers_is_an_error() {
    let folder = Folder::new("never");
    let program = silent_server(&folder);
    let said = refusal(&["--redis-server", &program]);
    assert!(said.contains("did not answer on port"), "{said}");
    assert!(is_gone(&folder));
}
