//! The server's information about the commands: flags, keys, documentation.

use std::collections::BTreeSet;

use redis::{Connection, Value};

use crate::common::{root, Launch, Server};
use crate::support::{call, knows, texts, Ask};

/// The expected information about a command.
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

const COMMANDS: [Known; 13] = [
    Known {
        name: "RL.TAKE",
        flags: &["write", "fast"],
        words: 4,
        call: &["user:42", "100/m", "20", "COST", "3"],
        keys: &["user:42"],
        arguments: &[
            "key", "rate", "burst", "COST", "KEEP", "ATMOST", "MAXWAIT", "FORCE",
        ],
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
        name: "RL.INSPECT",
        flags: &["readonly"],
        words: 2,
        call: &["user:42"],
        keys: &["user:42"],
        arguments: &["key"],
    },
    Known {
        name: "RL.MTAKE",
        flags: &["write"],
        words: 5,
        call: &["2", "a", "1", "5", "b", "1", "5", "COST", "3"],
        keys: &["a", "b"],
        arguments: &["numkeys", "key", "rate", "burst", "COST"],
    },
    Known {
        name: "RL.WTAKE",
        flags: &["write", "fast"],
        words: 4,
        call: &["user:42", "1000", "DAY", "OFFSET", "+02:00", "COST", "3"],
        keys: &["user:42"],
        arguments: &[
            "key", "limit", "window", "duration", "SLIDING", "length", "calendar", "HOUR", "DAY",
            "WEEK", "MONTH", "YEAR", "OFFSET", "ANCHOR", "UNTIL", "COST", "KEEP", "ATMOST",
            "FORCE",
        ],
    },
    Known {
        name: "RL.WPEEK",
        flags: &["readonly", "fast"],
        words: 4,
        call: &["user:42", "60", "SLIDING", "1m"],
        keys: &["user:42"],
        arguments: &[
            "key", "limit", "SLIDING", "MONTH", "ANCHOR", "UNTIL", "COST",
        ],
    },
    Known {
        name: "RL.WGIVE",
        flags: &["write", "fast"],
        words: 4,
        call: &["user:42", "60", "1m", "AT", "1700000000000"],
        keys: &["user:42"],
        arguments: &[
            "key", "limit", "SLIDING", "MONTH", "ANCHOR", "UNTIL", "COST", "AT",
        ],
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
        name: "RL.ALL",
        flags: &["write"],
        words: 4,
        call: &["2", "w", "h", "WINDOW", "9", "1h", "HOLD", "1m", "id"],
        keys: &["w", "h"],
        arguments: &[
            "numkeys", "key", "BUCKET", "WINDOW", "LEASE", "ONCE", "HOLD", "ttl", "id", "ELSE",
            "FREE", "CHARGE",
        ],
    },
    Known {
        name: "RL.SETTLE",
        flags: &["write"],
        words: 4,
        call: &[
            "2", "w", "h", "WINDOW", "9", "1h", "USED", "3", "HOLD", "id",
        ],
        keys: &["w", "h"],
        arguments: &[
            "numkeys", "key", "BUCKET", "WINDOW", "USED", "LEASE", "token", "HOLD", "id",
        ],
    },
    Known {
        name: "RL.HOLDS",
        flags: &["readonly"],
        words: 2,
        call: &["h", "COUNT", "5"],
        keys: &["h"],
        arguments: &["key", "COUNT"],
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
fn command_flags_and_arity_are_right() {
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
        let Value::Array(about) = c.call::<Vec<Value>>(&["COMMAND", "INFO", name]).remove(0) else {
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
fn command_getkeys_finds_the_keys() {
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
            c.error_of(&command);
        } else {
            assert_eq!(
                command.query::<Vec<String>>(&mut c).expect("keys"),
                keys,
                "{name}"
            );
        }
    }
}

/// Clients that route by keys, and proxies, read these.
#[test]
fn key_specifications_name_the_keys_and_their_use() {
    let server = with_every_command();
    let mut c = server.connection();
    for Known {
        name, flags, keys, ..
    } in COMMANDS
    {
        let about: Vec<Vec<Value>> = c.call(&["COMMAND", "INFO", name]);
        let Some(specs) = about[0].get(8) else {
            // Redis 6.2 has none.
            return;
        };
        let counted = |step| format!("keynum spec keynumidx 0 firstkey 1 keystep {step}");
        let (variable, found) = match name {
            "RL.MTAKE" => (" variable_flags", counted(3)),
            "RL.ALL" | "RL.SETTLE" => (" variable_flags", counted(1)),
            _ => ("", "range spec lastkey 0 keystep 1 limit 0".to_owned()),
        };
        let used = match flags.contains(&"write") {
            true => "RW access update",
            false => "RO access",
        };
        let expected = match keys.is_empty() {
            true => String::new(),
            false => format!(
                "flags {used}{variable} begin_search type index spec index 1 find_keys type {found}"
            ),
        };
        assert_eq!(words(specs).join(" "), expected, "{name}");
    }
}

/// Returns the texts and numbers of a reply, in order.
fn words(reply: &Value) -> Vec<String> {
    match reply {
        Value::Array(parts) => parts.iter().flat_map(words).collect(),
        Value::Int(number) => vec![number.to_string()],
        other => texts(other),
    }
}

#[test]
fn every_command_has_documentation() {
    let server = with_every_command();
    let mut c = server.connection();
    let has_docs = knows(&mut c, &["COMMAND", "DOCS", "GET"]);
    for Known {
        name, arguments, ..
    } in COMMANDS
    {
        let docs = call("COMMAND", &["DOCS", name]);
        if !has_docs {
            let error = c.error_of(&docs);
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

/// Returns the words in capitals of a syntax.
fn keywords(syntax: &str) -> BTreeSet<String> {
    let words = syntax.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words = words.filter(|word| word.len() > 1 && word.bytes().all(|b| b.is_ascii_uppercase()));
    words.map(str::to_owned).collect()
}

/// Returns the tokens of documented arguments. A syntax line does not have those within a window.
fn tokens(docs: &Value, within_windows: bool) -> BTreeSet<String> {
    let Value::Array(items) = docs else {
        return BTreeSet::new();
    };
    let field = |name: &str| {
        let mut pairs = items.chunks_exact(2);
        let pair =
            pairs.find(|pair| matches!(&pair[0], Value::BulkString(key) if key == name.as_bytes()));
        pair.and_then(|pair| texts(&pair[1]).pop())
    };
    let token = field("token");
    if !within_windows && token.is_none() && field("name").as_deref() == Some("window") {
        return BTreeSet::new();
    }
    let inner = items.iter().flat_map(|item| tokens(item, within_windows));
    inner.chain(token).collect()
}

/// Returns the syntax of a command without its name, as the error of a wrong call has it.
fn syntax(c: &mut Connection, name: &str) -> String {
    let wrong = match name {
        "RL.TOP" => "RL.TOP 1 2",
        name => name,
    };
    let error = c.error(wrong);
    let syntax = error.strip_prefix("ERR usage: ").expect("a usage");
    syntax.strip_prefix(name).expect("the name").to_owned()
}

#[test]
fn accepted_options_are_those_of_the_syntax() {
    let server = with_every_command();
    let mut c = server.connection();
    for call in [
        "RL.TAKE k 1 1",
        "RL.PEEK k 1 1",
        "RL.GIVE k 1 1",
        "RL.MTAKE 1 k 1 1",
        "RL.WTAKE k 1 1h",
        "RL.WPEEK k 1 1h",
        "RL.WGIVE k 1 1h",
        "RL.ACQUIRE k 1 1m t",
        "RL.LEASES k 1",
        "RL.HOLDS k",
    ] {
        let name = call.split(' ').next().expect("a name");
        let error = c.error(&format!("{call} NO-SUCH-OPTION"));
        let accepted = error.split_once("accepted: ").expect("the accepted ones").1;
        assert_eq!(
            keywords(accepted),
            keywords(&syntax(&mut c, name)),
            "{name}"
        );
    }
}

#[test]
fn syntax_documentation_and_the_reference_agree_for_every_command() {
    let server = with_every_command();
    let mut c = server.connection();
    if !knows(&mut c, &["COMMAND", "DOCS", "GET"]) {
        return;
    }
    let page = std::fs::read_to_string(root().join("src/commands/README.md")).expect("a page");
    let names: Vec<String> = c.ask("COMMAND LIST FILTERBY MODULE rl");
    assert!(names.len() > COMMANDS.len(), "{names:?}");
    for name in names {
        let name = name.to_uppercase();
        let docs: Value = c.call(&["COMMAND", "DOCS", &name]);
        assert_eq!(
            tokens(&docs, false),
            keywords(&syntax(&mut c, &name)),
            "{name}"
        );
        let all = tokens(&docs, true);
        assert_eq!(
            all.iter().find(|token| !page.contains(*token)),
            None,
            "{name}"
        );
        assert!(page.contains(&format!("    {name} ")), "{name} has no line");
    }
}

#[test]
fn rl_mtake_getkeys_returns_only_keys() {
    let server = Server::start();
    let mut c = server.connection();
    for count in [1, 2, 7, 128] {
        let mut command = call("COMMAND", &["GETKEYS", "RL.MTAKE"]);
        command.arg(count);
        let keys: Vec<String> = (0..count).map(|key| format!("k{key}")).collect();
        for key in &keys {
            command.arg(key).arg(&["1/d", "5"]);
        }
        command.arg(&["COST", "2"]);
        assert_eq!(command.query::<Vec<String>>(&mut c).expect("keys"), keys);
    }
    for numkeys in [
        "0",
        "-1",
        "2",
        "1000000000",
        "99999999999999999999",
        "x",
        "",
    ] {
        let command = call(
            "COMMAND",
            &["GETKEYS", "RL.MTAKE", numkeys, "k", "1/d", "5"],
        );
        // The reply to an invalid number does not matter, as long as the server survives.
        let _ = command.query::<Value>(&mut c);
    }
    assert_eq!(c.ask::<String>("PING"), "PONG");
}

/// Tips for clients of a cluster, from Redis 7.0 on.
#[test]
fn command_tips_are_right() {
    let server = with_every_command();
    let mut c = server.connection();
    let tips = |c: &mut Connection, name: &str| -> Option<Vec<String>> {
        let Value::Array(about) = c.call::<Vec<Value>>(&["COMMAND", "INFO", name]).remove(0) else {
            panic!("no {name}");
        };
        about.get(7).map(texts)
    };
    let Some(peek) = tips(&mut c, "RL.PEEK") else {
        return;
    };
    assert_eq!(tips(&mut c, "RL.WPEEK").as_ref(), Some(&peek));
    let has = |tips: &[String], start: &str| tips.iter().any(|tip| tip.starts_with(start));
    assert!(has(&peek, "nondeterministic_output"), "{peek:?}");
    let top = tips(&mut c, "RL.TOP").expect("tips");
    assert!(has(&top, "nondeterministic_output"), "{top:?}");
    assert!(has(&top, "request_policy:all_"), "{top:?}");
}
