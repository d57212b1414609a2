//! Starts the demo, which `cargo test` has built, and talks to it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{until, wait_until, Server};

/// A timeout longer than any stall of a busy machine, and shorter than [`LONGEST`].
pub const PATIENT: &str = "--timeout 15000";
/// Longer than any response takes, to detect a hang.
const LONGEST: Duration = Duration::from_secs(60);

/// A process that ends with its test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing is left to do about a process that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that is removed with its test. It lies in the system's folder for temporary files, since a
/// path in it becomes a flag, which ends at a space, or a Unix socket, of at most 107 bytes.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let name = format!("redis-rl-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a plain path").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running demo on a port of its own.
pub struct Demo {
    pub process: Running,
    pub port: u16,
    /// The port of the operators' pages.
    pub admin: u16,
    log: Log,
}

impl Demo {
    /// Starts the demo with flags separated by spaces.
    pub fn start(flags: &str) -> Self {
        Self::start_in(flags, &[])
    }

    pub fn start_in(flags: &str, environment: &[(&str, &str)]) -> Self {
        Self::run(&flags.split_whitespace().collect::<Vec<_>>(), environment)
    }

    /// Starts the demo with flags that may contain spaces.
    pub fn run(flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut process = command(flags)
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the demo starts");
        let log = Log::of(&mut process);
        let mut demo = Self {
            process: Running(process),
            port: 0,
            admin: 0,
            log,
        };
        demo.admin = demo.number_after("Dashboard on http://127.0.0.1:", "/");
        demo.port = demo.number_after("Listening on http://127.0.0.1:", "\n");
        demo
    }

    /// Starts it with a timeout that only a dead server exceeds, so that a busy machine does not
    /// let requests through.
    pub fn with(redis: &Server, flags: &str) -> Self {
        Self::start(&format!("--redis {} {PATIENT} {flags}", redis.url()))
    }

    /// Does the same with flags that may contain spaces; it is connected when this returns.
    pub fn connected(redis: &Server, flags: &[&str]) -> Self {
        let url = redis.url();
        let mut all = vec!["--redis", &url];
        if !flags.contains(&"--timeout") {
            all.extend(PATIENT.split(' '));
        }
        all.extend(flags);
        let demo = Self::run(&all, &[]);
        demo.wait_for_log("Connected");
        demo
    }

    /// Returns the text of `/metrics`, without the label that all of it has.
    pub fn metrics(&self) -> String {
        let text = metrics(self.admin);
        let (_, label) = text.split_once("demo_redis_up{").expect("a metric");
        let (label, _) = label.split_once('}').expect("a closing brace");
        let text = text.replace(&format!("{{{label}}}"), "");
        text.replace(&format!(",{label}}}"), "}")
    }

    /// Returns the status of an operators' page.
    pub fn page(&self, path: &str) -> u16 {
        send(self.admin, &format!("GET {path}"), b"").status()
    }

    pub fn log(&self) -> String {
        self.log.text()
    }

    pub fn wait_for_log(&self, line: &str) {
        wait_until(&format!("'{line}' is in the log"), || {
            self.log().contains(line)
        });
    }

    /// Asks until the answer has this status.
    pub fn wait_for(&self, status: u16) {
        wait_until(&format!("the status is {status}"), || {
            self.get().status() == status
        });
    }

    pub fn number_after(&self, text: &str, end: &str) -> u16 {
        self.log.number_after(text, end)
    }

    pub fn get(&self) -> Response {
        self.get_with(b"")
    }

    pub fn get_with(&self, headers: &[u8]) -> Response {
        send(self.port, "GET /", headers)
    }

    pub fn signal(&self, name: &str) {
        signal(self.process.0.id(), name);
    }
}

/// Returns the text of `/metrics`.
pub fn metrics(port: u16) -> String {
    let response = send(port, "GET /metrics", b"");
    assert_eq!(response.status(), 200);
    response.body().to_owned()
}

/// A running `demo metrics` on a port of its own.
pub struct Exporter {
    _process: Running,
    pub port: u16,
    log: Log,
}

impl Exporter {
    /// Starts it with these stores, `[NAME=]URL` each.
    pub fn of(stores: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
        command.args(["metrics", "--listen", "127.0.0.1:0"]);
        for store in stores {
            command.args(["--redis", store]);
        }
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the demo starts");
        let log = Log::of(&mut process);
        let port = log.number_after("Metrics on http://127.0.0.1:", "/");
        Self {
            _process: Running(process),
            port,
            log,
        }
    }

    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Waits until a scrape has this line.
    pub fn wait_for(&self, line: &str) {
        wait_until(&format!("'{line}' is in the metrics"), || {
            metrics(self.port).lines().any(|found| found == line)
        });
    }
}

/// The log of a process.
#[derive(Clone)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn of(process: &mut Child) -> Self {
        let stderr = process.stderr.take().expect("a pipe");
        let log = Arc::new(Mutex::new(String::new()));
        let lines = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                *lines.lock().expect("no panic while logging") += &(line + "\n");
            }
        });
        Self(log)
    }

    fn text(&self) -> String {
        self.0.lock().expect("no panic while logging").clone()
    }

    fn number_after(&self, text: &str, end: &str) -> u16 {
        until(&format!("'{text}' is in the log"), || {
            let log = self.text();
            let (number, _) = log.split_once(text)?.1.split_once(end)?;
            number.parse().ok()
        })
    }
}

/// Sends a request such as `GET /` and returns the response; panics if there is none in time.
pub fn send(port: u16, what: &str, headers: &[u8]) -> Response {
    send_as("localhost", port, what, headers)
}

/// Does the same with `host` as the server's name.
pub fn send_as(host: &str, port: u16, what: &str, headers: &[u8]) -> Response {
    // HTTP/1.0, so that the answer ends where the connection does.
    let start = format!("{what} HTTP/1.0\r\nHost: {host}\r\n");
    exchange(port, &[start.as_bytes(), headers, b"\r\n"].concat())
}

/// Opens a connection that panics if a response does not come.
pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("somebody listens");
    stream
        .set_read_timeout(Some(LONGEST))
        .expect("a time limit");
    stream
}

/// Sends these bytes; what comes back until the connection ends.
pub fn exchange(port: u16, request: &[u8]) -> Response {
    let mut stream = connect(port);
    stream.write_all(request).expect("a request");
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .expect("a response in time");
    Response(response)
}

/// Returns a server's reply to a command.
pub fn call<T: redis::FromRedisValue>(server: &Server, words: &[&str]) -> T {
    let (name, arguments) = words.split_first().expect("a command");
    let mut command = redis::cmd(name);
    command.arg(arguments);
    command.query(&mut server.connection()).expect("no error")
}

/// Returns the keys of a server, sorted.
pub fn keys(server: &Server) -> Vec<String> {
    let mut keys: Vec<String> = call(server, &["KEYS", "*"]);
    keys.sort();
    keys
}

/// Returns the process id of a server.
pub fn pid(server: &Server) -> u32 {
    let info: String = call(server, &["INFO", "server"]);
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("process_id:"));
    line.and_then(|pid| pid.parse().ok()).expect("a process id")
}

/// Sends a signal to a process.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status();
    assert!(status.expect("kill runs").success());
}

/// Returns a counter of `INFO rl`.
pub fn counted(server: &Server, field: &str) -> u64 {
    let info: String = call(server, &["INFO", "rl"]);
    let mut lines = info.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find_map(|(name, value)| (name == field).then_some(value));
    found.and_then(|n| n.parse().ok()).expect("a number")
}

/// Returns the demo's command, not started yet.
pub fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    // Whoever runs the tests may have set it for themselves.
    command.env_remove("REDIS_URL");
    for flag in ["--listen", "--admin"] {
        if !flags.contains(&flag) {
            command.args([flag, "127.0.0.1:0"]);
        }
    }
    command.args(flags).stdin(Stdio::null());
    command
}

/// Returns the demo's error when it refuses these flags.
pub fn refusal(flags: &[&str]) -> String {
    refusal_of(&mut command(flags), flags)
}

/// Does the same with a given command.
pub fn refusal_of(command: &mut Command, flags: &[&str]) -> String {
    let process = command.stderr(Stdio::piped()).spawn();
    let mut process = Running(process.expect("the demo starts"));
    let status = until("the demo refuses", || {
        process.0.try_wait().expect("a status")
    });
    assert!(!status.success(), "{flags:?}: {status}");
    let mut said = String::new();
    let stderr = process.0.stderr.as_mut().expect("a pipe");
    stderr.read_to_string(&mut said).expect("text");
    said
}

/// A response as it came over the wire.
pub struct Response(pub String);

impl Response {
    pub fn status(&self) -> u16 {
        self.0
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .expect("a status")
    }

    pub fn body(&self) -> &str {
        self.0
            .split_once("\r\n\r\n")
            .expect("an end of the headers")
            .1
    }

    /// Returns the RateLimit field with each `t` rounded up to 20 seconds, or to ten minutes where it is
    /// longer than that, because a slow machine needs time for its requests.
    pub fn state(&self) -> String {
        let items = self.header("ratelimit").expect("a RateLimit field");
        let items = items.split(", ").map(|item| match item.split_once(";t=") {
            Some((rest, t)) => format!("{rest};t={}", rounded(t)),
            None => item.to_owned(),
        });
        items.collect::<Vec<_>>().join(", ")
    }

    /// Returns Retry-After, rounded likewise.
    pub fn retry_after(&self) -> Option<u64> {
        self.header("retry-after").map(rounded)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.0
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn rounded(seconds: &str) -> u64 {
    let seconds: u64 = seconds.parse().expect("seconds");
    seconds.next_multiple_of(if seconds > 600 { 600 } else { 20 })
}
