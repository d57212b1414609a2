//! The live page in a real Chromium: `dashboard.mjs` reads and clicks, this test causes the faults.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::common::{free_port, root, Server};
use crate::driver::{pid, signal, Demo, Running};

#[test]
fn dashboard_shows_denied_callers_and_survives_every_fault() {
    let mut redis = Server::start();
    let (port, admin) = (free_port(), free_port());
    let flags = format!(
        "--key-by plain-header:X-Api-Key --limit 1/d:2 \
         --listen 127.0.0.1:{port} --admin 127.0.0.1:{admin}"
    );
    let mut demo = Some(Demo::with(&redis, &flags));
    let mut process = pid(&redis);

    let mut browser = browser(port, admin);
    let mut caused = browser.0.stdin.take().expect("a pipe");
    let faults = BufReader::new(browser.0.stdout.take().expect("a pipe"));
    for fault in faults.lines().map_while(Result::ok) {
        match fault.as_str() {
            "kill Redis" => redis.kill(),
            "start Redis" => {
                redis.restart();
                process = pid(&redis);
            }
            "stop Redis" => signal(process, "STOP"),
            "continue Redis" => signal(process, "CONT"),
            "stop the demo" => demo.as_ref().expect("a demo").signal("STOP"),
            "continue the demo" => demo.as_ref().expect("a demo").signal("CONT"),
            "kill the demo" => demo = None,
            // With another limit, so that nothing of the former one may stay.
            "start the demo" => {
                demo = Some(Demo::with(&redis, &flags.replace("1/d:2", "1/d:3")));
            }
            other => panic!("what is '{other}'?"),
        }
        writeln!(caused, "done").expect("the browser's script reads");
    }
    let status = browser.0.wait().expect("an end");
    assert!(status.success(), "dashboard.mjs: {status}");
    drop(demo);
}

#[test]
fn dashboard_shows_and_resets_every_kind_of_limit() {
    let redis = Server::start();
    let demo = Demo::connected(
        &redis,
        &[
            "--key-by",
            "header:X-Api-Key",
            "--window",
            &format!("4 {}", mid_day()),
            "--sliding",
            "9/1h",
            "--concurrent",
            "3/60s",
            "--work",
            "600000",
        ],
    );
    let node = script("kinds.mjs", demo.port, demo.admin).spawn();
    let mut node = Running(node.expect("node: run scripts/setup.sh browser"));
    let status = node.0.wait().expect("an end");
    assert!(status.success(), "kinds.mjs: {status}");
}

#[test]
fn reset_from_another_site_is_refused_in_a_browser() {
    let redis = Server::start();
    let token = "0123456789abcdef";
    for flags in ["", "--admin-token 0123456789abcdef"] {
        let demo = Demo::with(&redis, &format!("--rate 1/d --burst 1 {flags}"));
        demo.wait_for(429);
        let mut node = script("elsewhere.mjs", demo.port, demo.admin);
        node.args(["rate:limiter:test-client", token]);
        let mut node = Running(node.spawn().expect("node: run scripts/setup.sh browser"));
        let status = node.0.wait().expect("an end");
        assert!(status.success(), "elsewhere.mjs {flags}: {status}");
    }
}

/// Returns a day, as a window's words, that neither begins nor ends within ten hours of now.
pub fn mid_day() -> String {
    let hour = jiff::Timestamp::now().as_second() / 3600 % 24;
    format!("DAY OFFSET {:+03}:00", 12 - hour)
}

fn browser(port: u16, admin: u16) -> Running {
    let mut node = script("dashboard.mjs", port, admin);
    node.stdin(Stdio::piped()).stdout(Stdio::piped());
    Running(node.spawn().expect("node: run scripts/setup.sh browser"))
}

/// Returns a script that opens these two ports in a browser.
fn script(name: &str, port: u16, admin: u16) -> Command {
    let root = root();
    let mut node = Command::new("node");
    node.arg(root.join("tests/demo").join(name));
    node.args([
        format!("http://127.0.0.1:{admin}"),
        format!("http://127.0.0.1:{port}"),
    ]);
    node.env("CLIENTS", root.join("target/clients/browser/"));
    node
}
