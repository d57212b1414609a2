//! RL.ACQUIRE … WAIT: who is served and when, how a wait ends, and what is written meanwhile.

mod around;
mod clock;
mod cluster;
mod ends;
mod model;
mod order;
mod random;
mod upgrade;

use redis::{Cmd, Connection, Value};

use crate::common::{wait_until, Server};
use crate::lease::{leases, Leases};
use crate::support::{Ask, Reply};

/// A client that has sent a call and waits for its reply.
pub struct Waiting {
    connection: Connection,
    /// Its CLIENT ID.
    pub id: i64,
}

impl Waiting {
    /// Calls `RL.ACQUIRE` with these words, in database 0.
    pub fn call(server: &Server, words: &str) -> Self {
        Self::call_in(server, 0, words)
    }

    /// Calls `RL.ACQUIRE` with these words.
    pub fn call_in(server: &Server, db: i64, words: &str) -> Self {
        let mut client = Self::connect(server);
        client.connection.call::<()>(&["SELECT", &db.to_string()]);
        client.send(&[&format!("RL.ACQUIRE {words}")]);
        client
    }

    /// Connects a client that has sent nothing yet.
    pub fn connect(server: &Server) -> Self {
        let mut connection = server.connection();
        let id = connection.ask("CLIENT ID");
        Self { connection, id }
    }

    /// Sends these commands together.
    pub fn send(&mut self, commands: &[&str]) {
        let mut packed = Vec::new();
        for words in commands {
            let mut command = Cmd::new();
            command.arg(words.split(' ').collect::<Vec<_>>());
            packed.extend(command.get_packed_command());
        }
        self.connection.send_packed_command(&packed).expect("sent");
    }

    /// Returns the reply.
    pub fn value(&mut self) -> Result<Reply, String> {
        match self.connection.recv_response() {
            Ok(Value::ServerError(error)) => Err(format!(
                "{} {}",
                error.code(),
                error.details().unwrap_or_default()
            )),
            Ok(value) => redis::from_redis_value(value).map_err(|error| error.to_string()),
            Err(error) => Err(format!(
                "{} {}",
                error.code().unwrap_or_default(),
                error.detail().unwrap_or_default()
            )),
        }
    }

    /// Returns the five integers.
    pub fn reply(&mut self) -> Reply {
        self.value().expect("five integers")
    }

    /// Returns whether the token got a slot.
    pub fn taken(&mut self) -> bool {
        self.reply()[0] == 1
    }

    /// Returns the error.
    pub fn error(&mut self) -> String {
        self.value().expect_err("an error")
    }
}

/// Waits until this number of callers wait.
pub fn wait_until_waiting(server: &Server, n: i64) {
    wait_until("the callers wait", || server.count("rl_lease_waiting") == n);
}

/// Has a caller wait behind those that wait already.
pub fn waiting(server: &Server, words: &str) -> Waiting {
    let before = server.count("rl_lease_waiting");
    let waiter = Waiting::call(server, words);
    wait_until_waiting(server, before + 1);
    waiter
}

/// Has a caller begin to wait. A short wait may be over when this returns.
pub fn joined(server: &Server, words: &str) -> Waiting {
    let before = server.count("rl_lease_waits");
    let waiter = Waiting::call(server, words);
    wait_until("the caller has joined", || {
        server.count("rl_lease_waits") > before
    });
    waiter
}

/// Makes a transaction, and returns whether `n` callers still waited for `key` when it began.
pub fn while_waiting(c: &mut Connection, key: &str, n: i64, commands: &[&[&str]]) -> bool {
    let mut together = redis::pipe();
    together.atomic().cmd("RL.LEASES").arg(&[key, "1"]);
    for words in commands {
        together.cmd(words[0]).arg(&words[1..]).ignore();
    }
    let (before,): (Leases,) = together.query(c).expect("replies");
    before.6 == n
}

/// Returns the tokens that hold slots.
pub fn holders(c: &mut Connection, key: &str) -> Vec<String> {
    let held = leases(c, key, 9).5;
    let mut tokens: Vec<_> = held.into_iter().map(|(token, _)| token).collect();
    tokens.sort();
    tokens
}

/// Checks that the counters add up, and that the module can be unloaded: no handle was lost.
pub fn assert_unloads(server: &Server) {
    let [waits, granted, timed_out, left, waiting] = [
        "waits",
        "waits_granted",
        "waits_timed_out",
        "waits_left",
        "waiting",
    ]
    .map(|name| server.count(&format!("rl_lease_{name}")));
    assert_eq!(waits, granted + timed_out + left + waiting);
    assert_eq!(waiting, 0);
    wait_until("the module can be unloaded", || {
        let mut command = redis::cmd("MODULE");
        command.arg("UNLOAD").arg("rl");
        command.query::<()>(&mut server.connection()).is_ok()
    });
}
