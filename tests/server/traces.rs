//! A call that changes nothing leaves nothing that anybody could see.
//!
//! Each test also makes an allowed take, to show that its way of looking sees a change.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use redis::{Connection, Value};

use crate::common::{wait_until, Server};
use crate::support::{expires_at, info, Ask};

/// Calls on the bucket `k` that are denied, or only look, or have nothing to give back to.
const DENIED: [&str; 6] = [
    "RL.TAKE k 1/d 5 COST 4",
    "RL.TAKE k 1/d 5 COST 4 MAXWAIT 1000",
    "RL.TAKE k 1/d 5 COST 6 MAXWAIT 1000",
    "RL.MTAKE 2 new 1/d 9 k 1/d 5 COST 4",
    "RL.PEEK k 1/d 5",
    "RL.GIVE new 1/d 5",
];
const ALLOWED: &str = "k 1/d 5";

/// A server with a bucket `k` that lacks tokens for the calls in [`DENIED`] but not for [`ALLOWED`].
fn with_bucket(arguments: &[&str]) -> (Server, Connection) {
    let server = Server::with(arguments);
    let mut c = server.connection();
    assert_eq!(c.take("k 1/d 5 COST 2")[0], 2);
    (server, c)
}

fn deny(c: &mut Connection) {
    for call in DENIED.iter().cycle().take(100) {
        let reply: Value = c.ask(call);
        let Value::Array(fields) = reply else {
            panic!("{call}: {reply:?}");
        };
        let taken = Value::Int(call.starts_with("RL.PEEK").into());
        assert_eq!(fields[0], taken, "{call}");
    }
}

#[test]
fn value_and_expiry_stay() {
    let (_server, mut c) = with_bucket(&[]);
    let look = |c: &mut Connection| {
        let dump: Vec<u8> = c.ask("DUMP k");
        (
            dump,
            expires_at(c, "k"),
            info(c, "rdb_changes_since_last_save"),
        )
    };
    let before = look(&mut c);
    deny(&mut c);
    assert_eq!(look(&mut c), before);
    c.take(ALLOWED);
    let after = look(&mut c);
    assert!(after.0 != before.0 && after.1 != before.1 && after.2 != before.2);
}

#[test]
fn a_denied_take_makes_no_key() {
    let server = Server::start();
    let mut c = server.connection();
    assert_eq!(c.take("new 1/d 5 COST 6")[0], 0);
    let both = "RL.MTAKE 2 new 1/d 5 other 1/d 1 COST 2";
    assert_eq!(c.ask::<(i64, i64, Value)>(both).0, 0);
    assert_eq!(c.ask::<i64>("DBSIZE"), 0);
    assert_eq!(info(&mut c, "rdb_changes_since_last_save"), "0");
}

#[test]
fn replicas_hear_nothing_and_stay_equal() {
    // The master's pings to its replicas would count too.
    let (master, mut c) = with_bucket(&["--repl-ping-replica-period", "3600"]);
    let replica = Server::with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    let mut r = replica.connection();
    wait_until("the replica is in sync", || {
        info(&mut r, "master_link_status") == "up"
    });
    c.take(ALLOWED);
    let offset = info(&mut c, "master_repl_offset");
    deny(&mut c);
    assert_eq!(info(&mut c, "master_repl_offset"), offset);
    c.take(ALLOWED);
    assert_ne!(info(&mut c, "master_repl_offset"), offset);

    let value: Vec<u8> = c.ask("GET k");
    wait_until("the replica has the value", || {
        r.ask::<Vec<u8>>("GET k") == value
    });
    assert_eq!(expires_at(&mut r, "k"), expires_at(&mut c, "k"));
}

#[test]
fn the_append_only_file_does_not_grow() {
    let (_server, mut c) = with_bucket(&["--appendonly", "yes", "--appendfsync", "always"]);
    let size = info(&mut c, "aof_current_size");
    deny(&mut c);
    assert_eq!(info(&mut c, "aof_current_size"), size);
    c.take(ALLOWED);
    assert_ne!(info(&mut c, "aof_current_size"), size);
}

#[test]
fn a_watch_is_not_broken() {
    let (server, mut other) = with_bucket(&[]);
    let mut c = server.connection();
    let mut transaction = |meanwhile: &mut dyn FnMut()| -> Value {
        c.ask::<()>("WATCH k");
        meanwhile();
        c.ask::<()>("MULTI");
        c.ask::<()>("PING");
        c.ask("EXEC")
    };
    assert_ne!(transaction(&mut || deny(&mut other)), Value::Nil);
    assert_eq!(
        transaction(&mut || assert_eq!(other.take(ALLOWED)[0], 1)),
        Value::Nil
    );
}

#[test]
fn cached_copies_are_not_invalidated() {
    let (server, mut other) = with_bucket(&[]);
    let socket = TcpStream::connect(("127.0.0.1", server.port())).expect("a connection");
    let mut lines = BufReader::new(socket.try_clone().expect("the same connection")).lines();
    // Pushes come as lines of their own before the reply to the PING.
    let mut until_pong = |commands: &str| -> Vec<String> {
        (&socket)
            .write_all(format!("{commands}PING\r\n").as_bytes())
            .expect("sent");
        let lines = lines.by_ref().map_while(Result::ok);
        lines.take_while(|line| line != "+PONG").collect()
    };
    let invalidated = |lines: Vec<String>| lines.iter().any(|line| line == "invalidate");

    until_pong("HELLO 3\r\nCLIENT TRACKING ON\r\nTTL k\r\n");
    deny(&mut other);
    assert!(!invalidated(until_pong("")));
    other.take(ALLOWED);
    assert!(invalidated(until_pong("")));
}
