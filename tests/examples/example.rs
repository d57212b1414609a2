//! An example as a process, with a Redis of its own, and what it answers.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{free_port, root, until, Server};

/// The limit of the examples: at 100 a minute an empty bucket of 20 is full after 12 s.
pub const LIMIT: &str = "100/m 20";
const POLICY: &str = "\"default\";q=20;w=12";

/// A running example. It ends with its test.
pub struct Example {
    pub redis: Server,
    process: Child,
    port: u16,
    log: Arc<Mutex<String>>,
}

impl Example {
    /// Sends its Redis a command, words separated by spaces.
    pub fn call<T: redis::FromRedisValue>(&self, words: &str) -> T {
        let mut command = redis::Cmd::new();
        command.arg(words.split(' ').collect::<Vec<_>>());
        let reply = command.query(&mut self.redis.connection());
        reply.expect("a reply")
    }

    /// Starts a Redis and this program, in the repository's folder, and waits for both.
    pub fn of(program: impl AsRef<OsStr>, arguments: &[&str]) -> Self {
        Self::with(program, arguments, &[])
    }

    /// Does the same with these variables in its environment.
    pub fn with(
        program: impl AsRef<OsStr>,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let redis = Server::start();
        let port = free_port();
        let mut process = Command::new(&program)
            .args(arguments)
            .current_dir(root())
            .env("REDIS_URL", redis.url())
            .env("PORT", port.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONPATH", root().join("scripts/clients/python"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", program.as_ref()));
        let stderr = process.stderr.take().expect("a pipe");
        let log = Arc::new(Mutex::new(String::new()));
        let lines = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                *lines.lock().expect("no panic while logging") += &(line + "\n");
            }
        });
        let mut example = Self {
            redis,
            process,
            port,
            log,
        };
        until("the example listens", || {
            let status = example.process.try_wait().expect("a status");
            assert!(status.is_none(), "{}", example.log());
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        example
    }

    /// Returns its standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("no panic while logging").clone()
    }

    /// Asks as the caller with this API key, or with none.
    pub fn ask(&self, key: &str) -> Answer {
        self.get("/", key)
    }

    /// Asks for this.
    pub fn get(&self, path: &str, key: &str) -> Answer {
        let mut answer = String::new();
        let read = self.begin(path, key).read_to_string(&mut answer);
        read.expect("an answer in time");
        Answer(answer)
    }

    /// Asks for this, and leaves the answer to be read.
    pub fn begin(&self, path: &str, key: &str) -> TcpStream {
        // HTTP/1.0, so that the answer ends where the connection does.
        let mut request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n");
        if !key.is_empty() {
            request += &format!("X-Api-Key: {key}\r\n");
        }
        let mut stream = self.connect();
        let sent = stream.write_all((request + "\r\n").as_bytes());
        sent.expect("a request is taken");
        stream
    }

    /// Connects to it.
    pub fn connect(&self) -> TcpStream {
        // Where many connect at once, some wait for their turn to be listened to.
        let stream = until("it listens", || {
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
        // Longer than any response takes, to detect a hang.
        let limit = Some(Duration::from_secs(60));
        stream.set_read_timeout(limit).expect("a time limit");
        stream
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // Nothing is left to do about a process that has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("the example's log:\n{}", self.log());
        }
    }
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub struct Answer(String);

impl Answer {
    pub fn status(&self) -> u16 {
        let status = self.0.split(' ').nth(1).and_then(|s| s.parse().ok());
        status.unwrap_or_else(|| panic!("no status: {}", self.0))
    }

    pub fn body(&self) -> &str {
        let (_, body) = self.0.split_once("\r\n\r\n").expect("headers end");
        body
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let (headers, _) = self.0.split_once("\r\n\r\n")?;
        headers.lines().find_map(|line| {
            let (field, value) = line.split_once(": ")?;
            field.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// Returns `r` and `t` of the field RateLimit.
    pub fn left_and_seconds(&self) -> (u64, u64) {
        let field = self.field("RateLimit").expect("a RateLimit");
        let numbers = field
            .strip_prefix("\"default\";r=")
            .and_then(|rest| rest.split_once(";t="))
            .and_then(|(left, seconds)| Some((left.parse().ok()?, seconds.parse().ok()?)));
        numbers.unwrap_or_else(|| panic!("RateLimit: {field}"))
    }

    /// Checks an answer that lets a request in.
    pub fn assert_allowed(&self) {
        assert_eq!((self.status(), self.body()), (200, "Hello\n"));
        assert_eq!(self.field("RateLimit-Policy"), Some(POLICY));
        assert_eq!(self.retry_after(), None);
        let (left, seconds) = self.left_and_seconds();
        // More than 4 where seconds have passed, fewer where Redis was not asked in time at first.
        assert!(left < 10, "{self:?}");
        // A token comes every 0.6 s; the next is on its way.
        let until_full = |tokens: u64| (tokens * 6).div_ceil(10);
        let expected = until_full(19 - left)..=until_full(20 - left);
        assert!(expected.contains(&seconds), "{self:?}");
    }

    /// Checks an answer that denies a request whose bucket is empty.
    pub fn assert_denied(&self) {
        assert_eq!(self.status(), 429);
        assert_eq!(self.body(), "Too many requests\n");
        // Part of the 0.6 s between two tokens remains, and seconds are rounded up.
        assert_eq!(self.left_and_seconds(), (0, 1));
        assert_eq!(self.retry_after(), Some(1));
        assert_eq!(self.field("RateLimit-Policy"), Some(POLICY));
    }

    /// Returns the field Retry-After.
    pub fn retry_after(&self) -> Option<u64> {
        let field = self.field("Retry-After")?;
        Some(field.parse().expect("a number of seconds"))
    }
}

/// Copies the example to where Node finds its imports, because Node only searches above the script.
pub fn beside_its_libraries(script: &str) -> String {
    let copy = format!("target/clients/node/{script}");
    let example = root().join("scripts/examples").join(script);
    let copied = fs::copy(example, root().join(&copy));
    copied.expect("target/clients/node: run scripts/setup.sh clients");
    copy
}
