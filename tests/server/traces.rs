//! A call that changes nothing leaves nothing that anybody could see.
//!
//! Each test also makes an allowed take, to show that its way of looking sees a change.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use redis::{Connection, Value};

use crate::common::{wait_until, Server};
use crate::support::node::launch;
use crate::support::windows::{fixed, now_ms, sliding};
use crate::support::{call, expires_at, info, now, Ask, Reply, HOUR_MS};
use crate::windows::Stored;

/// Calls on a limit `k` of five with two taken.
struct Kind {
    /// Takes one.
    allowed: &'static str,
    /// Calls that are denied, peek, or have nothing to refund.
    denied: &'static [&'static str],
}

const BUCKET: Kind = Kind {
    allowed: "RL.TAKE k 1/d 5",
    denied: &[
        "RL.TAKE k 1/d 5 COST 4",
        "RL.TAKE k 1/d 5 COST 4 MAXWAIT 1000",
        "RL.TAKE k 1/d 5 COST 6 MAXWAIT 1000",
        "RL.MTAKE 2 new 1/d 9 k 1/d 5 COST 4",
        "RL.PEEK k 1/d 5",
        "RL.GIVE new 1/d 5",
        "RL.INSPECT k",
        "RL.INSPECT new",
    ],
};
const FIXED: Kind = Kind {
    allowed: "RL.WTAKE k 5 30d",
    denied: &[
        "RL.WTAKE k 5 30d COST 4",
        "RL.WTAKE k 5 DAY COST 6",
        "RL.WTAKE k 2 1h ATMOST",
        "RL.WTAKE k 5 UNTIL 2000000000000 KEEP 3",
        "RL.WPEEK k 5 30d",
        "RL.WPEEK k 5 MONTH ANCHOR 31",
        "RL.WGIVE new 5 30d",
        "RL.WGIVE k 5 30d AT 100000000000",
        "RL.INSPECT k",
    ],
};
const SLIDING: Kind = Kind {
    allowed: "RL.WTAKE k 5 SLIDING 30d",
    denied: &[
        "RL.WTAKE k 5 SLIDING 30d COST 4",
        "RL.WTAKE k 2 SLIDING 30d ATMOST",
        "RL.WPEEK k 5 SLIDING 30d",
        "RL.WPEEK k 5 SLIDING 1h",
        "RL.WGIVE new 5 SLIDING 30d",
        "RL.WGIVE k 5 SLIDING 30d AT 100000000000",
        "RL.INSPECT k",
    ],
};
const KINDS: [Kind; 3] = [BUCKET, FIXED, SLIDING];

/// Starts a server with a limit `k` that has too little for the denied calls, but enough for the
/// allowed one.
fn with_limit(kind: &Kind, arguments: &[&str]) -> (Server, Connection) {
    let server = Server::with(arguments);
    let mut c = server.connection();
    kind.take(&mut c);
    kind.take(&mut c);
    (server, c)
}

impl Kind {
    fn take(&self, c: &mut Connection) {
        assert_eq!(c.ask::<Reply>(self.allowed)[0], 1, "{}", self.allowed);
    }

    fn deny(&self, c: &mut Connection) {
        for call in self.denied.iter().cycle().take(100) {
            let reply: Value = c.ask(call);
            let Value::Array(fields) = reply else {
                panic!("{call}: {reply:?}");
            };
            let taken = match call.contains("INSPECT") {
                true => Value::BulkString(b"kind".into()),
                false => Value::Int(call.contains("PEEK").into()),
            };
            assert_eq!(fields[0], taken, "{call}");
        }
    }
}

/// Returns the newest sub-window of a sliding window in the key `k`.
fn newest(c: &mut Connection) -> Option<u64> {
    match Stored::read(&c.ask::<Vec<u8>>("GET k")) {
        Some(Stored::Sliding { newest, .. }) => Some(newest),
        _ => None,
    }
}

#[test]
fn denial_preserves_value_and_expiry() {
    for kind in KINDS {
        let (_server, mut c) = with_limit(&kind, &[]);
        let look = |c: &mut Connection| {
            let dump: Vec<u8> = c.ask("DUMP k");
            (
                dump,
                expires_at(c, "k"),
                info(c, "rdb_changes_since_last_save"),
            )
        };
        let before = look(&mut c);
        let newest_before = newest(&mut c);
        kind.deny(&mut c);
        assert_eq!(look(&mut c), before);
        kind.take(&mut c);
        let after = look(&mut c);
        assert!(after.0 != before.0 && after.2 != before.2);
        // A window keeps its end, and a sliding one counts until the newest sub-window is unused.
        let moves = match kind.allowed {
            allowed if allowed == BUCKET.allowed => true,
            allowed if allowed == FIXED.allowed => false,
            _ => newest(&mut c) != newest_before,
        };
        assert_eq!(after.1 != before.1, moves);
    }
}

#[test]
fn denied_take_creates_no_key() {
    let server = Server::start();
    let mut c = server.connection();
    assert_eq!(c.take("new 1/d 5 COST 6")[0], 0);
    let both = "RL.MTAKE 2 new 1/d 5 other 1/d 1 COST 2";
    assert_eq!(c.ask::<(i64, i64, Value)>(both).0, 0);
    for window in ["DAY", "SLIDING 1h"] {
        let denied: Reply = c.ask(&format!("RL.WTAKE new 5 {window} COST 6"));
        assert_eq!(denied[0], 0);
    }
    assert_eq!(c.ask::<i64>("DBSIZE"), 0);
    assert_eq!(info(&mut c, "rdb_changes_since_last_save"), "0");
}

#[test]
fn denial_replicates_nothing() {
    for kind in KINDS {
        // The master's pings to its replicas would count too.
        let (master, mut c) = with_limit(&kind, &["--repl-ping-replica-period", "3600"]);
        let replica = Server::with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
        let mut r = replica.connection();
        wait_until("the replica is in sync", || {
            info(&mut r, "master_link_status") == "up"
        });
        kind.take(&mut c);
        let offset = info(&mut c, "master_repl_offset");
        kind.deny(&mut c);
        assert_eq!(info(&mut c, "master_repl_offset"), offset);
        kind.take(&mut c);
        assert_ne!(info(&mut c, "master_repl_offset"), offset);

        let value: Vec<u8> = c.ask("GET k");
        wait_until("the replica has the value", || {
            r.ask::<Vec<u8>>("GET k") == value
        });
        assert_eq!(expires_at(&mut r, "k"), expires_at(&mut c, "k"));
    }
}

#[test]
fn denial_does_not_grow_the_aof() {
    for kind in KINDS {
        let (_server, mut c) =
            with_limit(&kind, &["--appendonly", "yes", "--appendfsync", "always"]);
        let size = info(&mut c, "aof_current_size");
        kind.deny(&mut c);
        assert_eq!(info(&mut c, "aof_current_size"), size);
        kind.take(&mut c);
        assert_ne!(info(&mut c, "aof_current_size"), size);
    }
}

#[test]
fn denial_aborts_no_watch() {
    for kind in KINDS {
        let (server, mut other) = with_limit(&kind, &[]);
        let mut c = server.connection();
        let mut transaction = |meanwhile: &mut dyn FnMut()| -> Value {
            c.ask::<()>("WATCH k");
            meanwhile();
            c.ask::<()>("MULTI");
            c.ask::<()>("PING");
            c.ask("EXEC")
        };
        assert_ne!(transaction(&mut || kind.deny(&mut other)), Value::Nil);
        assert_eq!(transaction(&mut || kind.take(&mut other)), Value::Nil);
    }
}

#[test]
fn denial_invalidates_no_client_cache() {
    for kind in KINDS {
        let (server, mut other) = with_limit(&kind, &[]);
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
        kind.deny(&mut other);
        assert!(!invalidated(until_pong("")));
        kind.take(&mut other);
        assert!(invalidated(until_pong("")));
    }
}

/// Returns the encoding, the memory, and the idle time or frequency of a value.
fn kept(c: &mut Connection, key: &str, count: &str) -> (String, i64, i64) {
    let memory = c.call(&["MEMORY", "USAGE", key, "SAMPLES", "0"]);
    let form = c.call(&["OBJECT", "ENCODING", key]);
    (form, memory, c.call(&["OBJECT", count, key]))
}

/// Values as others may have stored them.
fn untouched_values() -> Vec<Vec<u8>> {
    let bucket = [now().to_le_bytes(), (3_u64 << 24).to_le_bytes()].concat();
    let texts = ["1234567890123456", "42", "abcdefghijklmnop"];
    let others = texts.map(|text| text.into()).into_iter();
    let soon = now_ms() + HOUR_MS;
    let windows = [fixed(now_ms(), soon, 3), sliding(HOUR_MS, now_ms(), 3)];
    let windows = windows
        .into_iter()
        .chain([b"f".repeat(25), b"s".repeat(153)]);
    others
        .chain([bucket, b"a".repeat(100)])
        .chain(windows)
        .collect()
}

#[test]
fn peek_preserves_encoding_memory_and_idle_time() {
    let server = launch().start();
    let mut c = server.connection();
    // A frequency would otherwise change by itself when a minute ends.
    c.ask::<()>("CONFIG SET lfu-decay-time 0");
    // Valkey 9 reads the idle time that a module sets in milliseconds as seconds.
    let cannot_age = server.info(["valkey_version"])[0].starts_with("9.");
    for (policy, count) in [("allkeys-lru", "IDLETIME"), ("allkeys-lfu", "FREQ")] {
        c.call::<()>(&["CONFIG", "SET", "maxmemory-policy", policy]);
        for value in untouched_values() {
            c.ask::<()>("FLUSHALL");
            c.call::<()>(&[&b"SET"[..], b"k", &value]);
            let dump: Vec<u8> = c.ask("DUMP k");
            let mut restore = call("RESTORE", &["k", "100000000"]);
            restore.arg(dump).arg(&["REPLACE", count, "200"]);
            restore.query::<()>(&mut c).expect("it is restored");
            let before = kept(&mut c, "k", count);
            for _ in 0..30 {
                // It distinguishes its own kind from other data, and only peeks in both cases.
                for look in [
                    "RL.PEEK k 1/d 5",
                    "RL.WPEEK k 5 DAY",
                    "RL.WPEEK k 5 SLIDING 1h",
                    "RL.INSPECT k",
                ] {
                    let words: Vec<_> = look.split(' ').collect();
                    let _ = call(words[0], &words[1..]).query::<Value>(&mut c);
                }
                // Only the idle time changes by itself.
                let after = kept(&mut c, "k", count);
                assert_eq!((&after.0, after.1), (&before.0, before.1), "{value:?}");
                let told = format!("{value:?}: {count} {} {}", before.2, after.2);
                // To seem older would have it evicted before others.
                let most = if count == "FREQ" { 0 } else { 60 };
                assert!(after.2 <= before.2 + most, "{told}");
                // There it counts as just used; from then on seconds may pass.
                assert!(after.2 >= before.2 || cannot_age && after.2 <= 60, "{told}");
            }
        }
    }
}

/// Reading a string in place would unpack it.
#[test]
fn wrong_call_preserves_the_encoding_of_another_string() {
    let server = Server::start();
    let mut c = server.connection();
    for value in ["42", "123456789012345678", "abcdef"] {
        c.call::<()>(&["SET", "k", value]);
        let before: String = c.ask("OBJECT ENCODING k");
        assert_ne!(before, "raw");
        for wrong in [
            "RL.TAKE k 1/d 5",
            "RL.GIVE k 1/d 5",
            "RL.WTAKE k 5 DAY",
            "RL.WGIVE k 5 SLIDING 1h",
            "RL.MTAKE 1 k 1/d 5",
            "RL.ALL 1 k WINDOW 5 DAY",
        ] {
            c.error(wrong);
            let after: String = c.ask("OBJECT ENCODING k");
            assert_eq!(after, before, "{value}: {wrong}");
        }
    }
}

#[test]
fn peeks_on_a_replica_take_no_memory() {
    const BUCKETS: usize = 300;
    let master = launch().start();
    let replica = master.attach(launch());
    let mut c = master.connection();
    for key in 0..BUCKETS {
        c.take(&format!("bucket:{key} 1/d 5"));
    }
    replica.wait_for(&master);
    let mut r = replica.connection();
    let memory = |r: &mut Connection| -> Vec<i64> {
        let of = |key| r.ask(&format!("MEMORY USAGE bucket:{key}"));
        (0..BUCKETS).map(of).collect()
    };
    let before = memory(&mut r);
    for key in 0..BUCKETS {
        let peeked: [i64; 5] = r.ask(&format!("RL.PEEK bucket:{key} 1/d 5"));
        assert_eq!(peeked[..3], [1, 5, 4]);
    }
    assert_eq!(memory(&mut r), before);
}
