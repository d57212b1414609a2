//! `scripts/demo.sh`, which starts a Redis of its own for the demo.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{module, root, until, wait_until};
use crate::driver::{send, signal, Folder, Running};

fn script(folder: &Folder, flags: &[&str]) -> Command {
    // A shell that starts the tests in the background has them ignore Ctrl-C.
    let mut script = Command::new("env");
    script
        .arg("--default-signal=INT")
        .arg(root().join("scripts/demo.sh"))
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(flags)
        .env_remove("REDIS_URL")
        .env("TMPDIR", folder.file(""))
        .process_group(0)
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    // What cargo sets for a test has build scripts run again.
    for (name, _) in std::env::vars_os() {
        let name = name.to_str().expect("a plain name");
        if name.starts_with("CARGO") && name != "CARGO_HOME" {
            script.env_remove(name);
        }
    }
    script.env_remove("LD_LIBRARY_PATH");
    script
}

/// The sockets of servers that the script started in this folder.
fn sockets(folder: &Folder) -> usize {
    let folders = fs::read_dir(folder.file("")).expect("a folder").flatten();
    let sockets = folders.filter(|folder| folder.path().join("redis.sock").exists());
    sockets.count()
}

fn is_alive(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

#[test]
fn the_scripts_redis_ends_with_the_demo() {
    let library = module();
    for name in ["INT", "TERM", "KILL", "KILL the script"] {
        let folder = Folder::new("script");
        let flags = ["--module", library.to_str().expect("a plain path")];
        let script = script(&folder, &flags).spawn();
        let mut script = Running(script.expect("the script starts"));
        let log = BufReader::new(script.0.stderr.take().expect("a pipe"));
        let mut lines = log.lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let port = line.strip_prefix("Listening on http://127.0.0.1:")?;
            port.parse().ok()
        });
        let port = port.expect("the demo listens");
        std::thread::spawn(move || lines.count());
        wait_until("Redis decides", || send(port, "GET /", b"").status() == 200);
        assert_eq!(sockets(&folder), 1);
        let parent = script.0.id();
        let children = format!("/proc/{parent}/task/{parent}/children");
        let children = fs::read_to_string(children).expect("the script's children");
        let children: Vec<_> = children.split_whitespace().collect();
        let [redis, demo, ..] = children.as_slice() else {
            panic!("{children:?}")
        };
        // A terminal's Ctrl-C reaches the script and the demo, others reach whom they are sent to.
        match name {
            "INT" => signal_group(parent, name),
            "TERM" => signal(parent, name),
            "KILL" => signal(demo.parse().expect("a process id"), name),
            _ => signal(parent, "KILL"),
        }
        let status = until("the script ends", || {
            script.0.try_wait().expect("its state")
        });
        let killed = name.starts_with("KILL");
        assert_eq!(status.success(), !killed, "{name}: {status}");
        wait_until("nothing is left", || {
            !is_alive(redis) && !is_alive(demo) && sockets(&folder) == 0
        });
    }
}

fn signal_group(group: u32, name: &str) {
    let kill = format!("kill -{name} -- -{group}");
    let status = Command::new("bash").args(["-c", &kill]).status();
    assert!(status.expect("kill runs").success());
}

#[test]
fn a_redis_that_does_not_start_is_an_error_in_its_own_words() {
    let folder = Folder::new("refused");
    for (flags, words) in [
        (
            &["--module", "/dev/null"][..],
            "Module /dev/null failed to load",
        ),
        (
            &["--module", "/dev/null", "--redis-server=/nowhere"],
            "/nowhere",
        ),
    ] {
        let output = script(&folder, flags).output().expect("the script runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{said}");
        assert_eq!(sockets(&folder), 0);
    }
}
