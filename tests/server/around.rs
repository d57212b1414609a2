//! RL.TAKE inside what a server builds around its commands.

use redis::{cmd, Value};

use crate::calls::{ask, call, error_of, knows, take, texts};
use crate::common::Server;

#[test]
fn keys_are_any_bytes() {
    let server = Server::start();
    let mut c = server.connection();
    let long = vec![b'k'; 100_000];
    let keys: [&[u8]; 6] = [b"", b"\0", b"a\0b", b"\xff\xfe\x80", b"a b\r\n", &long];
    for key in keys {
        for remaining in [1, 0] {
            let command = call("RL.TAKE", &[key, b"1/d", b"2"]);
            let reply: [i64; 5] = command.query(&mut c).expect("a reply");
            assert_eq!(reply[..3], [1, 2, remaining]);
        }
    }
    let count: usize = ask(&mut c, "DBSIZE", &[]);
    assert_eq!(count, keys.len());
}

#[test]
fn a_transaction_takes_as_outside() {
    let server = Server::start();
    let mut c = server.connection();
    let mut transaction = redis::pipe();
    transaction.atomic();
    for _ in 0..3 {
        transaction.cmd("RL.TAKE").arg(&["k", "1/d", "2"]);
    }
    let replies: Vec<[i64; 5]> = transaction.query(&mut c).expect("replies");
    let taken: Vec<_> = replies.iter().map(|reply| (reply[0], reply[2])).collect();
    assert_eq!(taken, [(1, 1), (1, 0), (0, 0)]);
    assert_eq!(take(&mut c, &["k", "1/d", "2"])[0], 0);
}

#[test]
fn a_script_takes_as_outside() {
    let server = Server::start();
    let mut c = server.connection();
    let script = "return redis.call('RL.TAKE', KEYS[1], ARGV[1], ARGV[2])";
    for (taken, remaining) in [(1, 1), (1, 0), (0, 0)] {
        let reply: [i64; 5] = ask(&mut c, "EVAL", &[script, "1", "k", "1/d", "2"]);
        assert_eq!((reply[0], reply[2]), (taken, remaining));
    }
    let error = error_of(&mut c, &call("EVAL", &[script, "1", "k", "nan", "2"]));
    assert!(error.contains("rate must be"), "{error}");
}

#[test]
fn a_function_takes_as_outside() {
    let server = Server::start();
    let mut c = server.connection();
    let library = "#!lua name=limits\nredis.register_function('limited', function(keys, args) \
        return redis.call('RL.TAKE', keys[1], args[1], args[2]) end)";
    if !knows(&mut c, &["FUNCTION", "LIST"]) {
        let error = error_of(&mut c, &call("FCALL", &["limited", "1", "k", "1/d", "2"]));
        assert!(error.starts_with("ERR unknown command"), "{error}");
        return;
    }
    ask::<()>(&mut c, "FUNCTION", &["LOAD", library]);
    for (taken, remaining) in [(1, 1), (1, 0), (0, 0)] {
        let reply: [i64; 5] = ask(&mut c, "FCALL", &["limited", "1", "k", "1/d", "2"]);
        assert_eq!((reply[0], reply[2]), (taken, remaining));
    }
}

#[test]
fn key_patterns_of_a_user_hold() {
    let server = Server::start();
    let mut c = server.connection();
    let user = ["SETUSER", "app", "on", ">secret", "~limit:*", "+rl.take"];
    ask::<()>(&mut c, "ACL", &user);
    let mut app = server.connection();
    ask::<()>(&mut app, "AUTH", &["app", "secret"]);
    assert_eq!(take(&mut app, &["limit:1", "1", "5"])[0], 1);
    let error = error_of(&mut app, &call("RL.TAKE", &["other:1", "1", "5"]));
    assert!(error.starts_with("NOPERM"), "{error}");
    let error = error_of(&mut app, &call("GET", &["limit:1"]));
    assert!(error.starts_with("NOPERM"), "{error}");
    assert_eq!(ask::<i64>(&mut c, "DBSIZE", &[]), 1);
}

#[test]
fn a_user_who_may_only_read_a_key_may_not_take() {
    let server = Server::start();
    let mut c = server.connection();
    let user = [
        "SETUSER", "reader", "on", ">secret", "%R~*", "+rl.take", "+get",
    ];
    let made = call("ACL", &user).query::<()>(&mut c);
    if knows(&mut c, &["FUNCTION", "LIST"]) {
        made.expect("a user with a pattern for reading");
        let mut reader = server.connection();
        ask::<()>(&mut reader, "AUTH", &["reader", "secret"]);
        ask::<Option<String>>(&mut reader, "GET", &["k"]);
        let error = error_of(&mut reader, &call("RL.TAKE", &["k", "1", "5"]));
        assert!(error.starts_with("NOPERM"), "{error}");
    } else {
        // Redis 6.2, which has no functions either, knows no such pattern.
        made.expect_err("no user");
    }
}

#[test]
fn the_server_tells_flags_and_keys() {
    let server = Server::start();
    let mut c = server.connection();
    type About = (String, i64, Vec<String>, i64, i64, i64);
    let about: Vec<Value> = ask(&mut c, "COMMAND", &["INFO", "RL.TAKE"]);
    let Value::Array(fields) = &about[0] else {
        panic!("{about:?}")
    };
    let first = Value::Array(fields[..6].to_vec());
    let (name, arity, flags, first, last, step): About =
        redis::from_redis_value(first).expect("six fields");
    assert_eq!(
        (name.to_lowercase().as_str(), first, last, step),
        ("rl.take", 1, 1, 1)
    );
    // Redis 6.2 takes no arity from a module; RL.TAKE counts for itself.
    assert!(arity == -4 || arity == -1, "{arity}");
    assert!(
        ["write", "fast"]
            .iter()
            .all(|flag| flags.iter().any(|f| f == flag)),
        "{flags:?}"
    );
    let others = ["readonly", "admin", "noscript", "denyoom", "movablekeys"];
    assert!(
        !others.iter().any(|flag| flags.iter().any(|f| f == flag)),
        "{flags:?}"
    );

    let arguments = ["GETKEYS", "RL.TAKE", "user:42", "100/m", "20", "COST", "3"];
    assert_eq!(
        ask::<Vec<String>>(&mut c, "COMMAND", &arguments),
        ["user:42"]
    );
}

#[test]
fn the_server_tells_the_documentation() {
    let server = Server::start();
    let mut c = server.connection();
    let docs = cmd("COMMAND").arg("DOCS").arg("RL.TAKE").to_owned();
    if !knows(&mut c, &["COMMAND", "DOCS", "GET"]) {
        let error = error_of(&mut c, &docs);
        assert!(
            error.to_lowercase().contains("unknown subcommand"),
            "{error}"
        );
        return;
    }
    let reply = texts(&docs.query(&mut c).expect("a reply"));
    let expected = [
        "summary",
        "since",
        "complexity",
        "O(1)",
        "arguments",
        "key",
        "rate",
        "burst",
        "COST",
    ];
    for text in expected {
        assert!(reply.iter().any(|t| t == text), "no {text} in {reply:?}");
    }
}
