//! The server's view of RL.ALL: keys, documentation, permissions, also in a cluster.

use redis::Value;

use crate::common::{wait_until, Server};
use crate::support::mixed::{all, words};
use crate::support::node::launch;
use crate::support::{call, knows, texts, Ask};

#[test]
fn rl_all_has_key_specs_and_documentation() {
    let server = Server::start();
    let mut c = server.connection();
    for (count, keys) in [
        (1, vec!["a"]),
        (2, vec!["a", "b"]),
        (3, vec!["a", "b", "BUCKET"]),
    ] {
        let words = format!("RL.ALL {count} a b BUCKET 1 5 BUCKET 1 5 COST 3 LEASE 1 1h t");
        let found: Vec<String> = c.ask(&format!("COMMAND GETKEYS {words}"));
        assert_eq!(found, keys);
    }
    let about: Vec<Value> = c.ask("COMMAND INFO RL.ALL");
    let flags = texts(&about[0]);
    assert!(flags.contains(&"write".into()), "{flags:?}");
    for flag in ["readonly", "admin", "fast", "denyoom"] {
        assert!(!flags.contains(&flag.into()), "{flag}");
    }
    if knows(&mut c, &["COMMAND", "DOCS", "GET"]) {
        let docs = texts(&c.ask("COMMAND DOCS RL.ALL"));
        for text in [
            "numkeys",
            "BUCKET",
            "WINDOW",
            "LEASE",
            "COST",
            "KEEP",
            "ONCE",
            "rate",
            "burst",
            "ttl",
            "token",
            "0.2.0",
            "summary",
            "complexity",
        ] {
            assert!(docs.iter().any(|t| t == text), "no {text} in {docs:?}");
        }
    }
}

#[test]
fn user_needs_permission_for_every_key() {
    let server = Server::start();
    let mut c = server.connection();
    c.ask::<()>("ACL SETUSER app on >secret ~my:* +rl.all");
    let mut app = server.connection();
    app.ask::<()>("AUTH app secret");
    let keys = ["my:1", "my:2", "my:3"];
    for away in 0..3 {
        let mut keys = keys;
        keys[away] = "other";
        let specs = ["BUCKET 1/d 5", "WINDOW 5 1h", "LEASE 5 1h t"];
        let limits: Vec<_> = keys.into_iter().zip(specs).collect();
        let error = app.error(&format!("RL.ALL {}", words(&limits)));
        assert!(error.starts_with("NOPERM"), "{away}: {error}");
    }
    assert_eq!(c.ask::<i64>("DBSIZE"), 0);
    assert_eq!(all(&mut app, "2 my:1 my:2 BUCKET 1/d 5 LEASE 5 1h t").0, 1);
    c.ask::<()>("ACL SETUSER app -rl.all +rl.mtake");
    let error = app.error_of(&call("RL.ALL", &["1", "my:1", "BUCKET", "1", "5"]));
    assert!(error.starts_with("NOPERM"), "{error}");
}

#[test]
fn cluster_requires_all_keys_in_one_slot() {
    let node = launch().with(&["--cluster-enabled", "yes"]).start();
    let mut c = node.connection();
    let slots: Vec<u16> = (0..16_384).collect();
    let () = call("CLUSTER", &["ADDSLOTS"])
        .arg(slots)
        .query(&mut c)
        .expect("OK");
    wait_until("the node serves its slots", || {
        call("RL.PEEK", &["k", "1", "5"])
            .query::<Value>(&mut c)
            .is_ok()
    });
    let specs = "BUCKET 1/d 5 WINDOW 5 1h LEASE 5 1h t";
    for keys in ["{u}a {u}b other", "{u}a other {u}b", "other {u}a {u}b"] {
        let error = c.error(&format!("RL.ALL 3 {keys} {specs}"));
        assert!(error.starts_with("CROSSSLOT"), "{error}");
    }
    assert_eq!(c.ask::<i64>("DBSIZE"), 0);
    assert_eq!(all(&mut c, &format!("3 {{u}}a {{u}}b {{u}}c {specs}")).0, 1);
}
