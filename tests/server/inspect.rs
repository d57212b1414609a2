//! RL.INSPECT returns what a key holds, without its limit, and changes nothing.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use redis::{Connection, FromRedisValue, Value};

use crate::common::{wait_until, Server};
use crate::support::node::launch;
use crate::support::windows::{fixed, now_ms, put, sliding};
use crate::support::{call, expires_at, info, knows, Ask, HOUR_MS};

/// Returns the kind and, by name, the numbers.
fn inspect(c: &mut Connection, key: &str) -> (String, BTreeMap<String, i64>) {
    let mut fields: Vec<Value> = c.call(&["RL.INSPECT", key]);
    let numbers = fields.split_off(2);
    let [name, kind]: [String; 2] = Vec::from_redis_value(Value::Array(fields))
        .expect("two texts")
        .try_into()
        .expect("two texts");
    assert_eq!(name, "kind");
    let pair = |pair: &[Value]| <(String, i64)>::from_redis_value(Value::Array(pair.to_vec()));
    let numbers = numbers.chunks(2).map(|p| pair(p).expect("a number"));
    (kind, numbers.collect())
}

fn numbers(fields: &[(&str, i64)]) -> BTreeMap<String, i64> {
    let fields = fields.iter().map(|&(name, n)| (name.to_owned(), n));
    fields.collect()
}

/// Asserts the kind and everything but the time left, which must lead to the key's expiry.
#[track_caller]
fn assert_holds(c: &mut Connection, key: &str, kind: &str, fields: &[(&str, i64)]) {
    let earliest = now_ms();
    let (found, mut told) = inspect(c, key);
    let ttl = told.remove("ttl_ms").expect("a time to live");
    assert_eq!((found.as_str(), told), (kind, numbers(fields)), "{key}");
    let end = match expires_at(c, key) {
        missing if missing < 0 => return assert_eq!(ttl, missing, "{key}"),
        end => end,
    };
    assert!(
        (end - now_ms()..=end - earliest).contains(&ttl),
        "{key}: {ttl}"
    );
}

#[test]
fn rl_inspect_names_each_kind_and_its_fields() {
    let server = Server::start();
    let mut c = server.connection();
    let start = now_ms();
    assert_holds(&mut c, "new", "none", &[("bytes", 0)]);

    c.take("bucket 1/d 5 COST 2");
    c.take("owes 1/d 5 FORCE COST 7");
    for (key, tokens) in [("bucket", 3), ("owes", -2)] {
        let (_, told) = inspect(&mut c, key);
        let updated = told["updated_ms"];
        assert!((start..=now_ms()).contains(&updated), "{updated}");
        let fields = [("bytes", 16), ("tokens", tokens), ("updated_ms", updated)];
        assert_holds(&mut c, key, "bucket", &fields);
    }
    // Half a token of debt is one that is missing.
    let half = [
        (start as u64 * 1_000_000).to_le_bytes(),
        (-(1_i64 << 23)).to_le_bytes(),
    ]
    .concat();
    put(&mut c, "half", &half, start + HOUR_MS);
    let fields = [("bytes", 16), ("tokens", -1), ("updated_ms", start)];
    assert_holds(&mut c, "half", "bucket", &fields);

    let (begin, end) = (start - HOUR_MS, start + HOUR_MS);
    put(&mut c, "window", &fixed(begin, end, 42), end);
    let fields = [
        ("bytes", 25),
        ("used", 42),
        ("start_ms", begin),
        ("end_ms", end),
    ];
    assert_holds(&mut c, "window", "window", &fields);

    // One was used just now, and one outside the window.
    for (key, at, used) in [("sliding", start, 7), ("old", start - 2 * HOUR_MS, 0)] {
        put(&mut c, key, &sliding(HOUR_MS, at, 7), end);
        let fields = [("bytes", 153), ("window_ms", HOUR_MS), ("used", used)];
        assert_holds(&mut c, key, "sliding", &fields);
    }
}

#[test]
fn rl_inspect_counts_leases_and_names_the_first_and_last_end() {
    let server = Server::start();
    let mut c = server.connection();
    let leases = |held, dead, first, last| {
        let members = held + dead + 1;
        let own = [("held", held), ("dead", dead), ("waiting", 0)];
        let ends = [("first_end_ms", first), ("last_end_ms", last)];
        [&[("bytes", members)], &own[..], &ends].concat()
    };
    let soon = now_ms() + HOUR_MS;
    // More than are walked to, one by one.
    for (key, count) in [("few", 3), ("many", 300)] {
        c.call::<()>(&["ZADD", key, "0", "rl:leases", "5", "dead", "6", "dead too"]);
        for n in 0..count {
            let end = (soon + n).to_string();
            c.call::<()>(&["ZADD", key, &end, &format!("t{n}")]);
        }
        let expected = leases(count, 2, soon, soon + count - 1);
        assert_holds(&mut c, key, "leases", &expected);
        c.call::<()>(&["ZADD", key, "+inf", "for ever"]);
        let expected = leases(count + 1, 2, soon, -1);
        assert_holds(&mut c, key, "leases", &expected);
    }
    c.call::<()>(&["ZADD", "ended", "0", "rl:leases", "5", "dead"]);
    assert_holds(&mut c, "ended", "leases", &leases(0, 1, 0, 0));
}

#[test]
fn rl_inspect_counts_holds_and_names_the_first_deadline() {
    let server = Server::start();
    let mut c = server.connection();
    let hold = |id: &str, ttl: &str| format!("RL.ALL 2 w h WINDOW 99 1d HOLD {ttl} {id}");
    let start = now_ms();
    for (id, ttl) in [("a", "2h"), ("b", "1h"), ("c", "3h")] {
        c.ask::<()>(&hold(id, ttl));
    }
    c.ask::<()>("RL.SETTLE 2 w h WINDOW 99 1d USED 1 HOLD c");
    let (_, told) = inspect(&mut c, "h");
    let first = told["first_deadline_ms"];
    assert!(
        (start + HOUR_MS..=now_ms() + HOUR_MS).contains(&first),
        "{first}"
    );
    let counts = [("bytes", 4), ("open", 2), ("overdue", 0), ("remembered", 1)];
    let fields = [&counts[..], &[("first_deadline_ms", first)]].concat();
    assert_holds(&mut c, "h", "holds", &fields);

    c.ask::<()>("HDEL h a b");
    let counts = [("bytes", 2), ("open", 0), ("overdue", 0), ("remembered", 1)];
    let fields = [&counts[..], &[("first_deadline_ms", 0)]].concat();
    assert_holds(&mut c, "h", "holds", &fields);
}

#[test]
fn rl_inspect_calls_every_other_value_other() {
    let server = Server::start();
    let mut c = server.connection();
    let values: [(&str, &[&[u8]], i64); 14] = [
        ("SET", &[b""], 0),
        ("SET", &[b"42"], 2),
        ("SET", &[b"abcdefghijklmnop"], 16),
        ("SET", &[b"1234567890123456"], 16),
        ("SET", &[b"abcdefghijklmnopqrstuvwxy"], 25),
        ("SETRANGE", &[b"152", b"x"], 153),
        ("SETRANGE", &[b"99999", b"x"], 100_000),
        ("RPUSH", &[b"a", b"b"], 2),
        ("HSET", &[b"a", b"b"], 1),
        ("HSET", &[b"rl:holds", b"b"], 1),
        ("SADD", &[b"a", b"b", b"c"], 3),
        ("ZADD", &[b"1", b"rl:leases", b"2", b"b"], 2),
        ("ZADD", &[b"1", b"a"], 1),
        ("XADD", &[b"*", b"a", b"b"], 1),
    ];
    for (name, arguments, len) in values {
        c.ask::<()>("FLUSHALL");
        let mut command = call(name, &["k"]);
        command
            .arg(arguments)
            .query::<Value>(&mut c)
            .expect("a key");
        assert_holds(&mut c, "k", "other", &[("bytes", len)]);
    }
}

#[test]
fn rl_inspect_takes_exactly_one_key() {
    let server = Server::start();
    let mut c = server.connection();
    for words in ["RL.INSPECT", "RL.INSPECT k 1/d", "RL.INSPECT k 1/d 5"] {
        let error = c.error(words);
        assert!(error.starts_with("ERR usage: RL.INSPECT key"), "{error}");
    }
}

/// RESP3 knows maps, and servers let modules send them from 7.0 on.
#[test]
fn rl_inspect_replies_with_a_map_in_resp3() {
    let server = Server::start();
    let mut c = server.connection();
    c.take("k 1/d 5");
    let has_maps = knows(&mut c, &["COMMAND", "DOCS", "GET"]);
    let socket = TcpStream::connect(("127.0.0.1", server.port())).expect("a connection");
    let mut lines = BufReader::new(socket.try_clone().expect("the same connection")).lines();
    for (hello, header) in [
        ("HELLO 2", "*10"),
        ("HELLO 3", if has_maps { "%5" } else { "*10" }),
    ] {
        let commands = format!("{hello}\r\nPING\r\nRL.INSPECT k\r\n");
        (&socket).write_all(commands.as_bytes()).expect("sent");
        let mut lines = lines.by_ref().map_while(Result::ok);
        lines.find(|line| line == "+PONG").expect("a reply to PING");
        let found: Vec<_> = lines.take(5).collect();
        assert_eq!(found, [header, "$4", "kind", "$6", "bucket"], "{hello}");
    }
}

#[test]
fn rl_inspect_reports_an_expired_key_as_none() {
    let server = launch().start();
    let mut c = server.connection();
    c.ask::<()>("DEBUG SET-ACTIVE-EXPIRE 0");
    for value in ["SET k 1234567890123456", "ZADD k 0 rl:leases", "RPUSH k a"] {
        // PEXPIRE deletes the key if its millisecond ends before the command does.
        wait_until("the key is stored and expires", || {
            c.ask::<()>(value);
            c.ask::<()>("PEXPIRE k 1");
            c.ask::<i64>("DBSIZE") == 1
        });
        let start = Instant::now();
        wait_until("the key has expired", || {
            start.elapsed() > Duration::from_millis(5)
        });
        assert_holds(&mut c, "k", "none", &[("bytes", 0)]);
        c.ask::<()>("DEL k");
    }
}

#[test]
fn rl_inspect_runs_on_a_read_only_replica_in_scripts_and_transactions() {
    let master = Server::start();
    let replica = Server::with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    let (mut c, mut r) = (master.connection(), replica.connection());
    wait_until("the replica is in sync", || {
        info(&mut r, "master_link_status") == "up"
    });
    c.ask::<()>("RL.WTAKE k 5 1d");
    wait_until("the replica has the window", || {
        inspect(&mut r, "k").0 == "window"
    });
    assert_eq!(inspect(&mut r, "k").1["used"], 1);
    let script = "return redis.call('RL.INSPECT', KEYS[1])[2]";
    assert_eq!(r.call::<String>(&["EVAL", script, "1", "k"]), "window");
    c.ask::<()>("MULTI");
    c.ask::<()>("RL.WTAKE k 5 1d");
    c.ask::<()>("RL.INSPECT k");
    let replies: Vec<Value> = c.ask("EXEC");
    let Value::Array(fields) = &replies[1] else {
        panic!("{replies:?}");
    };
    assert_eq!(
        fields[6..8],
        [Value::BulkString(b"used".into()), Value::Int(2)]
    );
}
