//! Leases inside what a server builds around its commands: replicas, files, memory, users, events.

use std::collections::BTreeMap;
use std::time::Instant;

use redis::{Connection, Value};

use crate::common::{module, wait_until, Launch, Server};
use crate::lease::{acquire, assert_about, leases, members, wait_until_ended, LONG, LONG_MS};
use crate::load::without_module;
use crate::support::node::launch;
use crate::support::traffic::Dice;
use crate::support::{call, expires_at, knows, texts, Ask, Reply};

const KEYS: [&str; 6] = ["k0", "k1", "k2", "k3", "k4", "k5"];

/// Makes a random call on leases, some of which end while the test runs.
fn random_call(c: &mut Connection, dice: &mut Dice) {
    let key = KEYS[dice.roll(0..KEYS.len() as u64) as usize];
    let token = format!("t{}", dice.roll(0..12));
    let ttl = ["10ms", "15ms", "1h", "2h"][dice.roll(0..4) as usize];
    match dice.roll(0..20) {
        0..10 => {
            acquire(c, key, dice.roll(1..8) as u32, ttl, &token);
        }
        10..13 => c.call::<()>(&["RL.RENEW", key, ttl, &token, "t1", "t2"]),
        13..17 => c.call::<()>(&["RL.RELEASE", key, &token, "t3"]),
        17 => c.call::<()>(&["RL.LEASES", key, "4"]),
        18 => c.call::<()>(&["ZADD", key, "+inf", "hand", "0", "rl:leases"]),
        _ => c.call::<()>(&["ZREM", key, "hand", &token]),
    }
}

type Held = BTreeMap<String, (Vec<(String, f64)>, i64)>;

/// Members, scores and expiry of each key.
fn contents(server: &Server) -> Held {
    let mut c = server.connection();
    let mut held = Held::new();
    for key in KEYS {
        let found = members(&mut c, key);
        if !found.is_empty() {
            held.insert(key.into(), (found, expires_at(&mut c, key)));
        }
    }
    held
}

/// Keys that end while they are read are no difference.
fn assert_same(ours: &Server, theirs: &Server) {
    wait_until("both hold the same", || contents(ours) == contents(theirs));
}

#[test]
fn replicas_have_the_same_lease_ends() {
    let master = launch().start();
    let early = master.attach(launch());
    let bare = early.attach(launch().without_module());
    let mut c = master.connection();
    let mut dice = Dice::new(1);
    for round in 0..10 {
        for _ in 0..150 {
            random_call(&mut c, &mut dice);
        }
        if round == 5 {
            // Nobody reads for a while, then somebody does again.
            let _: i64 = master.ask("CLIENT KILL TYPE replica");
        }
    }
    acquire(&mut c, "k0", 100, LONG, "last");
    early.wait_for_link();
    early.wait_for(&master);
    bare.wait_for(&early);
    assert!(!contents(&master).is_empty());
    assert_same(&master, &early);
    assert_same(&early, &bare);
    let late = master.attach(launch());
    for _ in 0..200 {
        random_call(&mut c, &mut dice);
    }
    late.wait_for(&master);
    assert_same(&master, &late);
}

#[test]
fn replica_lists_leases_and_grants_none() {
    let master = launch().start();
    let replica = master.attach(launch());
    let mut c = master.connection();
    acquire(&mut c, "k", 3, LONG, "a");
    acquire(&mut c, "k", 3, "30ms", "b");
    replica.wait_for(&master);
    let mut r = replica.connection();
    wait_until_ended(&mut r, "k", &["b"]);
    let told = leases(&mut r, "k", 3);
    assert_eq!((told.0, told.2, told.5.len()), (1, 2, 1));
    let error = r.error_of(&call("RL.ACQUIRE", &["k", "3", LONG, "c"]));
    assert!(error.starts_with("READONLY"), "{error}");
}

/// Compares the commands in the replication stream.
#[test]
fn effects_replicate_as_the_servers_own_commands_in_one_transaction() {
    let server = launch()
        .with(&["--appendonly", "yes", "--appendfsync", "always"])
        .with(&["--auto-aof-rewrite-percentage", "0"])
        .start();
    let mut c = server.connection();
    let sent = |server: &Server| {
        let mut text = String::new();
        let mut files = vec![server.dir().to_owned()];
        while let Some(path) = files.pop() {
            if path.is_dir() {
                files.extend(
                    std::fs::read_dir(path)
                        .expect("a folder")
                        .map(|e| e.expect("an entry").path()),
                );
            } else if path.extension().is_some_and(|e| e == "aof") {
                text.push_str(&String::from_utf8_lossy(
                    &std::fs::read(path).expect("a file"),
                ));
            }
        }
        let words = text.lines().filter(|l| !l.starts_with(['*', '$', '#']));
        words.map(str::to_uppercase).collect::<Vec<_>>()
    };
    let mut before = sent(&server).len();
    let mut check = |c: &mut Connection, command: &[&str], expected: &[&str]| {
        c.call::<Value>(&[&[command[0]], &command[1..]].concat());
        let words = sent(&server);
        let names = [
            "MULTI",
            "EXEC",
            "ZADD",
            "ZREM",
            "PEXPIREAT",
            "PERSIST",
            "DEL",
            "RL.ACQUIRE",
            "RL.RENEW",
            "RL.RELEASE",
        ];
        let mut new: Vec<_> = words[before..]
            .iter()
            .filter(|w| names.contains(&w.as_str()))
            .collect();
        if expected.len() == 1 {
            // Redis 6.2 makes a transaction of one command, too.
            new.retain(|word| *word != "MULTI" && *word != "EXEC");
        }
        assert_eq!(new, expected, "{command:?}: {words:?}");
        before = words.len();
    };
    check(
        &mut c,
        &["RL.ACQUIRE", "k", "2", LONG, "a"],
        &["MULTI", "ZADD", "PEXPIREAT", "EXEC"],
    );
    check(&mut c, &["RL.ACQUIRE", "k", "1", LONG, "b"], &[]);
    check(&mut c, &["RL.RENEW", "k", "10ms", "a"], &[]);
    check(&mut c, &["RL.RELEASE", "k", "b"], &[]);
    check(
        &mut c,
        &["RL.ACQUIRE", "k", "2", "2h", "b"],
        &["MULTI", "ZADD", "PEXPIREAT", "EXEC"],
    );
    check(
        &mut c,
        &["RL.RENEW", "k", "3h", "a", "b", "c"],
        &["MULTI", "ZADD", "PEXPIREAT", "EXEC"],
    );
    // The other one ends as late, and so does the key.
    check(&mut c, &["RL.RELEASE", "k", "a"], &["ZREM"]);
    c.ask::<i64>("ZADD k 5 dead");
    c.ask::<i64>("ZADD k +inf ever");
    let words = sent(&server).len();
    c.call::<Value>(&["RL.ACQUIRE", "k", "9", LONG, "d"]);
    let all = sent(&server);
    let new = all[words..].join(" ");
    for word in ["ZREM K DEAD", "ZADD K", "PERSIST K"] {
        assert!(new.contains(word), "{new}");
    }
    let words = all.len();
    c.ask::<Value>("RL.RELEASE k ever");
    let all = sent(&server);
    let new = all[words..].join(" ");
    assert!(
        new.contains("ZREM K EVER") && new.contains("PEXPIREAT K"),
        "{new}"
    );
    let words = all.len();
    c.ask::<Value>("RL.RELEASE k a b d");
    let all = sent(&server);
    assert!(
        all[words..].join(" ").contains("DEL K"),
        "{:?}",
        &all[words..]
    );
}

#[test]
fn aof_and_rdb_have_the_same_lease_ends() {
    let aof = launch().with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let snapshot = launch();
    for (launch, save) in [(aof, None), (snapshot, Some("SAVE"))] {
        let mut server = launch.start();
        let mut c = server.connection();
        let mut dice = Dice::new(7);
        for _ in 0..600 {
            random_call(&mut c, &mut dice);
        }
        acquire(&mut c, "k0", 100, LONG, "last");
        wait_until("nothing ends any more", || {
            KEYS.iter().all(|key| {
                let soon: Vec<(String, f64)> = members(&mut c, key);
                let now = crate::support::now() as f64 / 1e6;
                soon.iter()
                    .all(|(_, end)| *end < now - 5.0 || *end > now + 60_000.0)
            })
        });
        let before = contents(&server);
        if let Some(save) = save {
            let () = server.ask(save);
        }
        server.restart();
        assert_eq!(before, contents(&server));
        let mut c = server.connection();
        assert_eq!(c.ask::<i64>("RL.RENEW k0 2h last"), 1);
    }
}

#[test]
fn leases_survive_unloading_and_a_failover() {
    let server = without_module().start();
    let mut c = server.connection();
    let library = module();
    let library = library.to_str().expect("a path that is text");
    for (token, remaining) in [("a", 2), ("b", 1), ("c", 0)] {
        c.call::<()>(&["MODULE", "LOAD", library]);
        assert_eq!(acquire(&mut c, "k", 3, LONG, token)[..3], [1, 3, remaining]);
        c.ask::<()>("MODULE UNLOAD rl");
    }
    // Any client can read and free slots without the module.
    assert_eq!(members(&mut c, "k").len(), 4);
    c.ask::<i64>("ZREM k a");
    c.call::<()>(&["MODULE", "LOAD", library]);
    assert_eq!(leases(&mut c, "k", 3).0, 2);

    let mut master = launch().start();
    let heir = master.attach(launch());
    let mut c = master.connection();
    assert_eq!(acquire(&mut c, "k", 1, LONG, "a")[0], 1);
    assert_eq!(c.ask::<i64>("WAIT 1 60000"), 1);
    master.kill();
    let () = heir.ask("REPLICAOF NO ONE");
    let mut c = heir.connection();
    assert_eq!(acquire(&mut c, "k", 1, LONG, "b")[0], 0);
    assert_eq!(c.call::<i64>(&["RL.RENEW", "k", LONG, "a"]), 1);
}

/// Leases acquired while the replica hangs are never replicated and are lost, as the number of
/// slots shows.
#[test]
fn failover_loses_only_unreplicated_leases() {
    let mut master = launch().start();
    let heir = master.attach(launch());
    let mut c = master.connection();
    for n in 0..5 {
        acquire(&mut c, "k", 10, LONG, &format!("shipped{n}"));
    }
    heir.wait_for(&master);
    let paused = heir.pause();
    for n in 0..3 {
        acquire(&mut c, "k", 10, LONG, &format!("lost{n}"));
    }
    let reached: i64 = c.ask("WAIT 1 50");
    assert_eq!(reached, 0, "WAIT tells that nobody has it");
    let _: i64 = c.ask("CLIENT KILL TYPE replica");
    master.kill();
    paused.resume();
    let () = heir.ask("REPLICAOF NO ONE");
    let held = leases(&mut heir.connection(), "k", 10);
    // Data in flight in the replica's socket arrives.
    assert!((5..=8).contains(&held.0), "{held:?}");
    for n in 0..5 {
        let name = format!("shipped{n}");
        assert!(held.5.iter().any(|(token, _)| *token == name), "{name}");
    }
}

#[test]
fn out_of_memory_denies_new_leases_only() {
    let server = Server::with(&["--maxmemory-policy", "noeviction"]);
    let mut c = server.connection();
    for token in ["a", "b"] {
        acquire(&mut c, "k", 3, LONG, token);
    }
    c.ask::<()>("CONFIG SET maxmemory 1");
    let before = members(&mut c, "k");
    for key in ["k", "new"] {
        let error = c.error_of(&call("RL.ACQUIRE", &[key, "3", LONG, "c"]));
        assert!(error.starts_with("OOM "), "{error}");
    }
    assert_eq!(members(&mut c, "k"), before);
    assert_eq!(server.count("rl_errors_memory"), 2);
    // A denial comes first.
    assert_eq!(acquire(&mut c, "k", 2, LONG, "c")[0], 0);
    assert_eq!(acquire(&mut c, "k", 3, "2h", "a")[0], 1);
    assert_eq!(c.ask::<i64>("RL.RENEW k 2h a b"), 2);
    assert_eq!(leases(&mut c, "k", 3).0, 2);
    assert_eq!(c.ask::<i64>("RL.RELEASE k a b"), 2);
}

#[test]
fn transactions_scripts_and_functions_acquire_as_outside() {
    let server = Server::start();
    let mut c = server.connection();
    let mut transaction = redis::pipe();
    transaction.atomic();
    for token in ["a", "b", "c"] {
        transaction.cmd("RL.ACQUIRE").arg(&["k", "2", LONG, token]);
    }
    transaction.cmd("RL.RELEASE").arg(&["k", "a", "c"]);
    let replies: (Reply, Reply, Reply, i64) = transaction.query(&mut c).expect("replies");
    let (a, b, c3, released) = replies;
    assert_eq!((a[0], b[0], c3[0], released), (1, 1, 0, 1));
    let script = "return redis.call('RL.ACQUIRE', KEYS[1], ARGV[1], ARGV[2], ARGV[3])";
    for (token, taken) in [("d", 1), ("e", 0)] {
        let reply: Reply = c.call(&["EVAL", script, "1", "k", "2", LONG, token]);
        assert_eq!(reply[0], taken);
    }
    // A read-only script on a replica may list leases, but not acquire.
    let look = "return redis.call('RL.LEASES', KEYS[1], ARGV[1])[1]";
    assert_eq!(c.call::<i64>(&["EVAL", look, "1", "k", "2"]), 2);
    let library = "#!lua name=leases\nredis.register_function('freed', function(keys, args) \
        return redis.call('RL.RELEASE', keys[1], args[1]) end)";
    if knows(&mut c, &["FUNCTION", "LIST"]) {
        c.call::<()>(&["FUNCTION", "LOAD", library]);
        assert_eq!(c.ask::<i64>("FCALL freed 1 k d"), 1);
    }
}

#[test]
fn lease_commands_obey_acl_rules() {
    let server = Server::start();
    let mut c = server.connection();
    let user = [
        "SETUSER",
        "app",
        "on",
        ">secret",
        "~run:*",
        "+rl.acquire",
        "+rl.leases",
    ];
    c.call::<()>(&[&["ACL"], &user[..]].concat());
    let mut app = server.connection();
    app.ask::<()>("AUTH app secret");
    assert_eq!(acquire(&mut app, "run:1", 1, LONG, "a")[0], 1);
    assert_eq!(leases(&mut app, "run:1", 1).0, 1);
    for command in [
        &["RL.ACQUIRE", "other", "1", LONG, "a"][..],
        &["RL.LEASES", "other", "1"],
        &["RL.RELEASE", "run:1", "a"],
        &["RL.RENEW", "run:1", LONG, "a"],
        &["ZREM", "run:1", "a"],
    ] {
        let error = app.error_of(&call(command[0], &command[1..]));
        assert!(error.starts_with("NOPERM"), "{command:?}: {error}");
    }
}

#[test]
fn lease_commands_have_key_specs_flags_and_documentation() {
    let server = Server::start();
    let mut c = server.connection();
    type Known<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a [&'a str]);
    let commands: [Known; 4] = [
        (
            "RL.ACQUIRE",
            &["k", "5", "1m", "t", "KEEP", "1", "NX", "WAIT", "1"],
            &["write", "fast"],
            &[
                "key", "limit", "ttl", "token", "KEEP", "NX", "WAIT", "QUEUE",
            ],
        ),
        (
            "RL.RENEW",
            &["k", "1m", "t", "u"],
            &["write", "fast"],
            &["key", "ttl", "token"],
        ),
        (
            "RL.RELEASE",
            &["k", "t", "u"],
            &["write", "fast"],
            &["key", "token"],
        ),
        (
            "RL.LEASES",
            &["k", "5"],
            &["readonly"],
            &["key", "limit", "COUNT"],
        ),
    ];
    let has_docs = knows(&mut c, &["COMMAND", "DOCS", "GET"]);
    for (name, arguments, expected, documented) in commands {
        let keys: Vec<String> = call("COMMAND", &[&["GETKEYS", name], arguments].concat())
            .query(&mut c)
            .expect("keys");
        assert_eq!(keys, ["k"], "{name}");
        let about: Vec<Value> = c.call(&["COMMAND", "INFO", name]);
        let Value::Array(about) = &about[0] else {
            panic!("no {name}");
        };
        let flags = texts(&about[2]);
        for flag in ["write", "readonly", "fast", "admin", "denyoom"] {
            let has = flags.iter().any(|f| f == flag);
            assert_eq!(has, expected.contains(&flag), "{name}: {flag} in {flags:?}");
        }
        if has_docs {
            let docs: Value = c.call(&["COMMAND", "DOCS", name]);
            let docs = texts(&docs);
            for text in [&["summary", "complexity", "0.2.0"], documented].concat() {
                assert!(
                    docs.iter().any(|t| t == text),
                    "{name}: no {text} in {docs:?}"
                );
            }
        }
    }
}

#[test]
fn lease_events_counters_and_top_are_right() {
    let server = Server::start();
    let mut c = server.connection();
    c.ask::<()>("CONFIG SET notify-keyspace-events Ed");
    let mut listener = server.connection();
    let mut events = listener.as_pubsub();
    events
        .psubscribe("__keyevent@0__:*")
        .expect("a subscription");
    let calls: [(&str, &[&str]); 13] = [
        ("RL.ACQUIRE k 1 1h b", &["rl.acquire"]),
        ("RL.ACQUIRE k 2 10ms a", &["rl.acquire"]),
        ("RL.ACQUIRE k 1 1h c", &["rl.deny"]),
        ("RL.ACQUIRE k 1 1h b", &["rl.acquire"]),
        ("RL.ACQUIRE k 1 1h b NX", &["rl.deny"]),
        ("RL.RENEW k 2h b none", &["rl.acquire"]),
        ("RL.RENEW k 2h none", &[]),
        ("RL.LEASES k 1", &[]),
        ("RL.RELEASE k none", &[]),
        ("RL.ACQUIRE k 9 1h d KEEP 8", &["rl.deny"]),
        ("RL.ACQUIRE k 9 1h d", &["rl.acquire"]),
        ("RL.RELEASE k b d", &["rl.release"]),
        ("RL.RELEASE k b d", &[]),
    ];
    for (n, (words, expected)) in calls.into_iter().enumerate() {
        if n == 2 {
            wait_until_ended(&mut c, "k", &["a"]);
        }
        let words: Vec<_> = words.split(' ').collect();
        c.call::<Value>(&[&[words[0]], &words[1..]].concat());
        c.call::<()>(&["PUBLISH", "__keyevent@0__:done", ""]);
        let mut seen = Vec::new();
        loop {
            let message = events.get_message().expect("an event");
            let event = message.get_channel_name()["__keyevent@0__:".len()..].to_owned();
            if event == "done" {
                break;
            }
            assert_eq!(message.get_payload::<String>().expect("a key"), "k");
            seen.push(event);
        }
        assert_eq!(seen, expected, "{words:?}");
    }
    let told = ["acquired", "denied", "renewed", "released", "trimmed"]
        .map(|name| server.count(&format!("rl_lease_{name}")));
    assert_eq!(told, [3, 3, 2, 2, 1]);
    assert_eq!(
        server.count("rl_takes_allowed") + server.count("rl_takes_denied"),
        0
    );
    let top: Vec<(String, i64, i64, i64)> = c.ask("RL.TOP");
    assert_eq!((top[0].0.as_str(), top[0].1), ("k", 3));
}

#[test]
fn renamed_server_command_disables_leases_and_is_logged() {
    for missing in ["ZADD", "ZREM", "PEXPIREAT", "PERSIST"] {
        let server = Launch::default()
            .with(&["--rename-command", missing, "hidden"])
            .start();
        let mut c = server.connection();
        for name in ["RL.ACQUIRE", "RL.RENEW", "RL.RELEASE", "RL.LEASES"] {
            let error = c.error_of(&call(name, &["k", "1", "1m", "t"]));
            assert!(error.starts_with("ERR unknown command"), "{error}");
        }
        assert_eq!(c.ask::<Reply>("RL.TAKE k 1/d 2")[0], 1);
        let log = server.log();
        let tells = |text: &str| log.lines().any(|line| line.contains(text));
        assert!(
            tells("RL.ACQUIRE") && tells(&format!("no command {missing} ")),
            "{log}"
        );
    }
    // The commands that it calls only if it cannot walk may be missing: then it walks.
    let server = Launch::default()
        .with(&["--rename-command", "ZCOUNT", "hidden"])
        .with(&["--rename-command", "ZRANGE", "concealed"])
        .start();
    let mut c = server.connection();
    for n in 1..=300 {
        acquire(&mut c, "k", 300, &format!("{n}h"), &format!("t{n}"));
        c.call::<i64>(&["ZADD", "k", "1", &format!("dead{n}")]);
    }
    let [taken, .., wait_ms, _] = acquire(&mut c, "k", 100, LONG, "more");
    assert_eq!(taken, 0);
    assert_about(wait_ms, 201 * LONG_MS);
    assert_eq!(leases(&mut c, "k", 300).0, 300);
}

#[test]
fn cluster_redirects_a_lease_key_of_another_node() {
    let node = launch().with(&["--cluster-enabled", "yes"]).start();
    let mut c = node.connection();
    let slots: Vec<u16> = (0..16_000).collect();
    let () = call("CLUSTER", &["ADDSLOTS"])
        .arg(slots)
        .query(&mut c)
        .expect("OK");
    let () = node.ask("CONFIG SET cluster-require-full-coverage no");
    wait_until("the node serves its slots", || {
        call("RL.LEASES", &["hello", "1"])
            .query::<Value>(&mut c)
            .is_ok()
    });
    assert_eq!(acquire(&mut c, "hello", 1, LONG, "a")[0], 1);
    assert_about(leases(&mut c, "hello", 1).4, LONG_MS);
    let slot = |c: &mut Connection, key: &str| c.call::<u16>(&["CLUSTER", "KEYSLOT", key]);
    let away = (0..100_000)
        .map(|n| n.to_string())
        .find(|key| slot(&mut c, key) >= 16_000)
        .expect("a key of a slot that nobody has");
    let error = c.error_of(&call("RL.ACQUIRE", &[&away, "1", LONG, "a"]));
    assert!(error.starts_with("CLUSTERDOWN"), "{error}");
}

/// More leases at once than in the largest semaphores in use.
#[test]
fn lease_calls_are_fast_with_thousands_of_leases() {
    let server = Server::start();
    let mut c = server.connection();
    let mut time = |held: u32| {
        for n in 0..held {
            acquire(&mut c, "k", held, LONG, &format!("t{n}"));
        }
        let mut round = || {
            let start = Instant::now();
            acquire(&mut c, "k", held + 1, LONG, "more");
            c.ask::<i64>("RL.RELEASE k more");
            start.elapsed()
        };
        // The fastest: whatever holds up the machine lengthens most rounds, but not all.
        (0..2_000).map(|_| round()).min().expect("rounds")
    };
    let (few, many) = (time(5), time(20_000));
    assert!(many < 4 * few, "{few:?} {many:?}");
}
