//! RL.TAKE inside what a server builds around its commands.

use redis::Value;

use crate::calls::{ask, call, error_of, knows, take, texts};
use crate::common::{Launch, Server};

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
    assert_eq!(take(&mut app, &["limit:1", "1/d", "5"])[0], 1);
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

/// What a server should know of a command.
struct Known<'a> {
    name: &'a str,
    flags: &'a [&'a str],
    /// The least number, with the name.
    words: i64,
    call: &'a [&'a str],
    /// In that call.
    keys: &'a [&'a str],
    /// In the documentation.
    arguments: &'a [&'a str],
}

const COMMANDS: [Known; 6] = [
    Known {
        name: "RL.TAKE",
        flags: &["write", "fast"],
        words: 4,
        call: &["user:42", "100/m", "20", "COST", "3"],
        keys: &["user:42"],
        arguments: &["key", "rate", "burst", "COST", "ATMOST", "MAXWAIT", "FORCE"],
    },
    Known {
        name: "RL.PEEK",
        flags: &["readonly", "fast"],
        words: 4,
        call: &["user:42", "100/m", "20"],
        keys: &["user:42"],
        arguments: &["key", "rate", "burst", "COST"],
    },
    Known {
        name: "RL.GIVE",
        flags: &["write", "fast"],
        words: 4,
        call: &["user:42", "100/m", "20"],
        keys: &["user:42"],
        arguments: &["key", "rate", "burst", "COST"],
    },
    Known {
        name: "RL.MTAKE",
        flags: &["write", "fast"],
        words: 5,
        call: &["2", "a", "1", "5", "b", "1", "5", "COST", "3"],
        keys: &["a", "b"],
        arguments: &["numkeys", "key", "rate", "burst", "COST"],
    },
    Known {
        name: "CL.THROTTLE",
        flags: &["write", "fast"],
        words: 5,
        call: &["user:42", "15", "30", "60", "1"],
        keys: &["user:42"],
        arguments: &["key", "max_burst", "count", "period", "quantity"],
    },
    Known {
        name: "RL.TOP",
        flags: &["readonly", "admin"],
        words: 1,
        call: &["5"],
        keys: &[],
        arguments: &["count", "RESET"],
    },
];

fn with_every_command() -> Server {
    Launch::default().module_arguments(&["CL.THROTTLE"]).start()
}

#[test]
fn the_server_tells_the_flags() {
    let server = with_every_command();
    let mut c = server.connection();
    let known = [
        "write", "readonly", "fast", "admin", "noscript", "denyoom", "loading", "stale",
    ];
    for Known {
        name,
        flags: expected,
        words,
        ..
    } in COMMANDS
    {
        let Value::Array(about) = ask::<Vec<Value>>(&mut c, "COMMAND", &["INFO", name]).remove(0)
        else {
            panic!("no {name}");
        };
        assert!(texts(&about[0])[0].eq_ignore_ascii_case(name), "{about:?}");
        // Redis 6.2 takes no number of words from a module, whose commands count for themselves.
        let arity = [Value::Int(-words), Value::Int(-1)];
        assert!(arity.contains(&about[1]), "{name}: {:?}", about[1]);
        let flags = texts(&about[2]);
        for flag in known {
            let has = flags.iter().any(|f| f == flag);
            assert_eq!(has, expected.contains(&flag), "{name}: {flag} in {flags:?}");
        }
    }
}

#[test]
fn the_server_finds_the_keys() {
    let server = with_every_command();
    let mut c = server.connection();
    for Known {
        name,
        call: arguments,
        keys,
        ..
    } in COMMANDS
    {
        let mut command = call("COMMAND", &["GETKEYS", name]);
        command.arg(arguments);
        if keys.is_empty() {
            error_of(&mut c, &command);
        } else {
            assert_eq!(
                command.query::<Vec<String>>(&mut c).expect("keys"),
                keys,
                "{name}"
            );
        }
    }
}

#[test]
fn the_server_tells_the_documentation() {
    let server = with_every_command();
    let mut c = server.connection();
    let has_docs = knows(&mut c, &["COMMAND", "DOCS", "GET"]);
    for Known {
        name, arguments, ..
    } in COMMANDS
    {
        let docs = call("COMMAND", &["DOCS", name]);
        if !has_docs {
            let error = error_of(&mut c, &docs);
            assert!(
                error.to_lowercase().contains("unknown subcommand"),
                "{error}"
            );
            continue;
        }
        let reply = texts(&docs.query(&mut c).expect("a reply"));
        for text in ["summary", "since", "complexity", "arguments"]
            .iter()
            .chain(arguments)
        {
            assert!(
                reply.iter().any(|t| t == text),
                "{name}: no {text} in {reply:?}"
            );
        }
    }
}

#[test]
fn keyspace_events_tell_takes_denials_and_gifts() {
    let server = Server::start();
    let mut c = server.connection();
    ask::<()>(&mut c, "CONFIG", &["SET", "notify-keyspace-events", "Ed"]);
    let mut listener = server.connection();
    let mut events = listener.as_pubsub();
    events
        .psubscribe("__keyevent@0__:*")
        .expect("a subscription");
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);
    let calls: [Case; 8] = [
        (&["RL.TAKE", "k", "1/d", "2"], &[("rl.take", "k")]),
        (&["RL.PEEK", "k", "1/d", "2", "COST", "2"], &[]),
        (
            &["RL.TAKE", "k", "1/d", "2", "COST", "2"],
            &[("rl.deny", "k")],
        ),
        (
            &["RL.TAKE", "new", "1/d", "2", "COST", "3"],
            &[("rl.deny", "new")],
        ),
        (&["RL.GIVE", "none", "1/d", "2"], &[]),
        (&["RL.GIVE", "k", "1/d", "2"], &[("rl.give", "k")]),
        (
            &["RL.MTAKE", "2", "a", "1", "5", "b", "1", "5"],
            &[("rl.take", "a"), ("rl.take", "b")],
        ),
        (
            &["RL.MTAKE", "2", "a", "1", "5", "b", "1", "1", "COST", "2"],
            &[("rl.deny", "b")],
        ),
    ];
    for (arguments, expected) in calls {
        ask::<()>(&mut c, arguments[0], &arguments[1..]);
        // Whatever came before the end of this call came before this message.
        ask::<()>(&mut c, "PUBLISH", &["__keyevent@0__:done", ""]);
        let mut seen = Vec::new();
        loop {
            let message = events.get_message().expect("an event");
            let channel = message
                .get_channel_name()
                .trim_start_matches("__keyevent@0__:");
            if channel == "done" {
                break;
            }
            let key: String = message.get_payload().expect("a key");
            seen.push((channel.to_string(), key));
        }
        let seen: Vec<_> = seen.iter().map(|(e, k)| (e.as_str(), k.as_str())).collect();
        assert_eq!(seen, expected, "{arguments:?}");
    }
}
