//! Calls on several keys keep them open, unless another module could remove one meanwhile.

use std::time::{Duration, Instant};

use redis::{Connection, Value};

use crate::common::{wait_until, Launch, Server};
use crate::support::holds::{reserve_words, settle_words};
use crate::support::node::launch;
use crate::support::{call, listener, Ask, Reply};

const LISTENER: &str = "listener";

/// Starts a server whose record of a key's use counts how often the key was looked up.
fn start(launch: Launch) -> (Server, Connection) {
    let server = launch.start();
    let mut c = server.connection();
    for setting in [
        "maxmemory-policy allkeys-lfu",
        "lfu-log-factor 0",
        "lfu-decay-time 0",
    ] {
        c.ask::<()>(&format!("CONFIG SET {setting}"));
    }
    (server, c)
}

/// Returns how often each call looks up each of its keys, all of which exist.
fn lookups(c: &mut Connection) -> Vec<i64> {
    c.ask::<()>("FLUSHALL");
    let lease = "RL.ALL 2 b l BUCKET 1/d 1000 LEASE 9 1h";
    for words in [
        reserve_words(5, "1h first").as_str(),
        &format!("{lease} token"),
        "RL.TAKE c 1/d 1000",
    ] {
        c.ask::<Value>(words);
    }
    let calls = [
        ("RL.MTAKE 2 b 1/d 1000 c 1/d 1000".to_owned(), "b c"),
        (format!("{lease} other"), "b l"),
        (reserve_words(5, "1h second"), "b w h"),
        (settle_words(3, "second"), "b w h"),
        (
            "RL.SETTLE 3 b l h BUCKET 1/d 1000 USED 1 LEASE token HOLD none".into(),
            "l h",
        ),
    ];
    let mut found = Vec::new();
    for (words, keys) in calls {
        let keys: Vec<_> = keys.split(' ').collect();
        let count = |c: &mut Connection| -> Vec<i64> {
            let frequency = |key: &&str| c.call(&["OBJECT", "FREQ", key]);
            keys.iter().map(frequency).collect()
        };
        let before = count(c);
        let (taken, ..): (i64, i64, Vec<Reply>) = c.ask(&words);
        assert!(taken != 0, "{words}");
        let after = count(c);
        found.extend(
            after
                .iter()
                .zip(before)
                .map(|(after, before)| after - before),
        );
    }
    found
}

fn assert_kept_open(c: &mut Connection, expected: bool, when: &str) {
    let found = lookups(c);
    let is_right = |&lookups: &i64| (lookups == 1) == expected;
    assert!(found.iter().all(is_right), "{when}: {found:?}");
}

#[test]
fn several_keys_stay_open_only_while_no_other_module_is_loaded() {
    let (_server, mut c) = start(launch());
    assert_kept_open(&mut c, true, "alone");
    for _ in 0..2 {
        c.call::<()>(&["MODULE", "LOAD", listener::library()]);
        assert_kept_open(&mut c, false, "another module is loaded");
        c.call::<()>(&["MODULE", "UNLOAD", LISTENER]);
        assert_kept_open(&mut c, true, "it is unloaded");
    }
}

#[test]
fn several_keys_are_opened_one_by_one_if_the_modules_are_unknown() {
    let (_server, mut c) = start(launch().with(&["--rename-command", "MODULE", ""]));
    assert_kept_open(&mut c, false, "MODULE is renamed away");
}

/// The server does not list the module yet, but calls it.
#[test]
fn keys_deleted_by_a_module_during_its_load_are_written_again() {
    let mut server = launch().start();
    let mut c = server.connection();
    for round in 1..=6 {
        c.ask::<()>("FLUSHALL");
        c.ask::<Value>("RL.MTAKE 3 before 1/d 9 taker 1/d 9 behind 1/d 9");
        c.call::<()>(&["MODULE", "LOAD", listener::library(), "takes"]);
        let heard: String = c.ask("LISTENER.HEARD");
        assert_eq!(heard, "rl.take before\nrl.take taker\nrl.take behind\n");
        let there = ["before", "taker", "behind"].map(|key| c.ask::<i64>(&format!("EXISTS {key}")));
        assert_eq!(there, [0, 1, 1], "round {round}");
        c.call::<()>(&["MODULE", "UNLOAD", LISTENER]);
    }
    assert!(server.alive());
}

/// The listener deletes two keys of the call in the midst of it: one that was written, and one that
/// was read and will be.
#[test]
fn keys_deleted_by_another_module_during_a_call_are_written_again() {
    let mut server = launch().start();
    let mut c = server.connection();
    let hold = "RL.ALL 4 before taker behind h BUCKET 1/d 9 WINDOW 9 1h BUCKET 1/d 9 HOLD 1h";
    let settle = "RL.SETTLE 4 before taker behind h BUCKET 1/d 9 USED 2 WINDOW 9 1h USED 2 \
                  BUCKET 1/d 9 USED 2 HOLD";
    let take = "RL.MTAKE 3 before 1/d 9 taker 1/d 9 behind 1/d 9";
    let lease = "RL.ALL 3 before taker behind BUCKET 1/d 9 BUCKET 1/d 9 LEASE 9 1h";
    let there = |c: &mut Connection, key: &str| c.ask::<i64>(&format!("EXISTS {key}")) == 1;
    for round in 0..6 {
        let is_loaded = round % 2 == 1;
        match is_loaded {
            true => c.call::<()>(&["MODULE", "LOAD", listener::library()]),
            false if round > 0 => c.call::<()>(&["MODULE", "UNLOAD", LISTENER]),
            false => {}
        }
        for calls in [
            vec![take.to_owned(), take.to_owned()],
            vec![format!("{lease} one"), format!("{lease} two")],
            vec![format!("{hold} id"), format!("{settle} id")],
        ] {
            c.ask::<()>("FLUSHALL");
            for words in &calls {
                let (taken, ..): (i64, i64, Vec<Reply>) = c.ask(words);
                assert_eq!(taken, 1, "{words}");
                assert_eq!(there(&mut c, "before"), !is_loaded, "{words}");
                assert!(there(&mut c, "taker") && there(&mut c, "behind"), "{words}");
            }
        }
    }
    assert!(server.alive());
}

/// Each key of a call expires when it is opened, while keys before it are open.
#[test]
fn keys_that_expire_when_they_are_opened_count_as_absent() {
    let mut server = launch().start();
    let mut c = server.connection();
    c.ask::<()>("DEBUG SET-ACTIVE-EXPIRE 0");
    let keys: Vec<_> = (0..16).map(|key| format!("k{key}")).collect();
    for which in 0..4 {
        c.ask::<()>("FLUSHALL");
        let expires = |at: usize| at % 4 == which;
        for (at, key) in keys.iter().enumerate() {
            c.take(&format!("{key} 1/d 5 COST 3"));
            if expires(at) {
                c.ask::<()>(&format!("PEXPIRE {key} 1"));
            }
        }
        let start = Instant::now();
        wait_until("they expire", || start.elapsed() > Duration::from_millis(3));
        let mut command = call("RL.MTAKE", &[keys.len()]);
        for key in &keys {
            command.arg(key).arg(&["1/d", "5"]);
        }
        let (taken, _, each): (i64, i64, Vec<Reply>) = command.query(&mut c).expect("a reply");
        assert_eq!(taken, 1);
        for (at, reply) in each.iter().enumerate() {
            let left = if expires(at) { 4 } else { 1 };
            assert_eq!(reply[2], left, "{at}");
        }
    }
    assert!(server.alive());
}
