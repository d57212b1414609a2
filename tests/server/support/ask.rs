//! Sends commands from a test to a server.

use std::time::{SystemTime, UNIX_EPOCH};

use redis::{cmd, Arg, Cmd, Connection, FromRedisValue, RedisError, ToRedisArgs, Value};

use crate::common::{wait_until, Server};

pub const HOUR_MS: i64 = 3_600_000;

/// `[taken, limit, remaining, wait_ms, reset_ms]`.
pub type Reply = [i64; 5];

/// Returns a command with its arguments.
pub fn call<A: ToRedisArgs>(name: &str, arguments: &[A]) -> Cmd {
    let mut command = cmd(name);
    command.arg(arguments);
    command
}

/// Sends commands over a connection. A [`Server`] has the same functions, with a new connection
/// each time. A transaction or an authenticated user needs one kept connection.
pub trait Ask {
    /// Sends a command, words separated by spaces, that must not fail.
    fn ask<T: FromRedisValue>(&mut self, words: &str) -> T {
        self.call(&words.split(' ').collect::<Vec<_>>())
    }

    /// Sends a command of any arguments that must not fail.
    fn call<T: FromRedisValue>(&mut self, words: &[impl ToRedisArgs]) -> T;

    /// `RL.TAKE` with these words, which must not fail.
    fn take(&mut self, words: &str) -> Reply {
        self.ask(&format!("RL.TAKE {words}"))
    }

    /// Returns the error that a command must reply, as sent: `ERR …`.
    fn error(&mut self, words: &str) -> String {
        let mut command = Cmd::new();
        command.arg(words.split(' ').collect::<Vec<_>>());
        self.error_of(&command)
    }

    /// Returns the error that a command must reply, as sent.
    fn error_of(&mut self, command: &Cmd) -> String;
}

impl Ask for Connection {
    fn call<T: FromRedisValue>(&mut self, words: &[impl ToRedisArgs]) -> T {
        let mut command = Cmd::new();
        command.arg(words).query(self).unwrap_or_else(|error| {
            let shown: Vec<_> = command.args_iter().map(shown).collect();
            panic!("{}: {error}", shown.join(" "))
        })
    }

    fn error_of(&mut self, command: &Cmd) -> String {
        match command.query::<Value>(self) {
            Ok(reply) => panic!("{command:?} did not fail but gave {reply:?}"),
            Err(error) => as_sent(&error),
        }
    }
}

impl Server {
    /// Sends a command, words separated by spaces, that must not fail.
    pub fn ask<T: FromRedisValue>(&self, words: &str) -> T {
        self.connection().ask(words)
    }

    /// Sends a command of any arguments that must not fail.
    pub fn call<T: FromRedisValue>(&self, words: &[impl ToRedisArgs]) -> T {
        self.connection().call(words)
    }

    /// `RL.TAKE` with these words, which must not fail.
    pub fn take(&self, words: &str) -> Reply {
        self.connection().take(words)
    }
}

fn shown(word: Arg<&[u8]>) -> String {
    match word {
        Arg::Simple(bytes) => bytes[..bytes.len().min(500)].escape_ascii().to_string(),
        _ => String::new(),
    }
}

fn as_sent(error: &RedisError) -> String {
    let code = error
        .code()
        .unwrap_or_else(|| panic!("no reply of the server: {error}"));
    format!("{code} {}", error.detail().unwrap_or_default())
}

/// Returns whether the server has this command, including `sub|command`.
pub fn knows(c: &mut Connection, command: &[&str]) -> bool {
    match call(command[0], &command[1..]).query::<Value>(c) {
        Ok(_) => true,
        Err(error) => {
            let text = as_sent(&error).to_lowercase();
            assert!(text.contains("unknown"), "{command:?}: {text}");
            false
        }
    }
}

/// Returns every text anywhere in a reply.
pub fn texts(reply: &Value) -> Vec<String> {
    match reply {
        Value::BulkString(bytes) => vec![String::from_utf8_lossy(bytes).into_owned()],
        Value::SimpleString(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// Returns one field of `INFO`.
pub fn info(c: &mut Connection, field: &str) -> String {
    let all: String = c.ask("INFO");
    let line = all
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("INFO has no {field}"))
        .to_string()
}

/// Returns a key's expiry in milliseconds since 1970; negative for a key without one, or no key.
pub fn expires_at(c: &mut Connection, key: &str) -> i64 {
    if knows(c, &["PEXPIRETIME", key]) {
        return c.call(&["PEXPIRETIME", key]);
    }
    // Redis 6.2 reports only the time left. Read within one millisecond, it gives the absolute
    // time.
    let mut found = 0;
    wait_until(
        "the time and the TTL are read in the same millisecond",
        || {
            let mut together = redis::pipe();
            // Not a transaction, which Redis 6.2 refuses while it is out of memory.
            together.cmd("TIME").cmd("PTTL").arg(key).cmd("TIME");
            type Time = (i64, i64);
            let (before, ttl, after): (Time, i64, Time) = together.query(c).expect("a reply");
            let millis = |(seconds, micros): Time| seconds * 1000 + micros / 1000;
            found = if ttl < 0 { ttl } else { millis(before) + ttl };
            millis(before) == millis(after)
        },
    );
    found
}

/// Returns a bucket's stored words: nanoseconds since 1970, and the level in units of 2^-24 token.
pub fn stored(c: &mut Connection, key: &str) -> (u64, i64) {
    let bytes: Vec<u8> = c.call(&["GET", key]);
    let words: [u8; 16] = bytes.try_into().expect("16 bytes");
    let (updated_at, tokens) = words.split_at(8);
    (
        u64::from_le_bytes(updated_at.try_into().expect("8 bytes")),
        i64::from_le_bytes(tokens.try_into().expect("8 bytes")),
    )
}

/// This machine's clock, which is the server's too, in nanoseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time after 1970");
    u64::try_from(since.as_nanos()).expect("a time before 2554")
}
