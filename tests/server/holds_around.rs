//! Holds and everything around them: replicas, the AOF, memory, other modules, edits by hand.

use std::time::{Duration, Instant};

use redis::{Cmd, Connection, Value};

use super::load::without_module;
use crate::common::{module, until, wait_until, Launch, Server};
use crate::support::holds::{count, reserve, reserve_words, settle, settle_words, used, Replies};
use crate::support::mixed::state;
use crate::support::node::{assert_equal, launch};
use crate::support::{aof, call, listener, Ask};

#[test]
fn replica_and_aof_hold_the_same_and_see_effects_only() {
    let mut server = launch()
        .with(&["--appendonly", "yes", "--appendfsync", "always"])
        .with(&["--aof-use-rdb-preamble", "no"])
        .start();
    let replica = server.attach(launch());
    server.wait_for_rewrite();
    let mut c = server.connection();
    for n in 0..4 {
        reserve(&mut c, 10, &format!("1h id{n}"));
    }
    let lease = "RL.ALL 3 w l h WINDOW 1000 30d COST 5 LEASE 5 1h me HOLD 1h leased";
    assert_eq!(c.ask::<Replies>(lease).0, 1);
    reserve(&mut c, 10, "2h id0");
    let settled_at = Instant::now();
    settle(&mut c, 3, "id1");
    settle(&mut c, 30, "id2");
    settle(&mut c, 0, "unknown");
    let words = "RL.SETTLE 3 w l h WINDOW 1000 30d USED 7 LEASE me HOLD leased";
    assert_eq!(c.ask::<Replies>(words).0, 1);
    let offset = server.offset();
    // A repeat that changes nothing, a duplicate and an error send nothing.
    c.ask::<Replies>(&reserve_words(10, "1s id3"));
    settle(&mut c, 5, "id1");
    c.error(&reserve_words(11, "1s id3"));
    c.ask::<Value>("RL.HOLDS h");
    assert_eq!(server.offset(), offset);

    replica.wait_for(&server);
    assert_eq!(replica.contents(), server.contents());
    assert_eq!(count(&mut replica.connection(), "h"), [2, 0, 4]);
    for word in ["RL.ALL", "RL.SETTLE", "RL.HOLDS"] {
        assert_eq!(aof::count(&server, word), 0, "{word}");
    }
    assert!(aof::count(&server, "\r\nHSET\r\n") >= 9);
    let before = server.contents();
    server.restart();
    assert_equal(&before, &server.contents());
    let (status, ..) = settle(&mut server.connection(), 3, "id1");
    // It is remembered for a minute.
    let is_forgotten = settled_at.elapsed() >= Duration::from_secs(60);
    assert!(status == 0 || is_forgotten, "{status}");
    assert_eq!(settle(&mut server.connection(), 3, "id3").0, 1);
}

/// A walk deletes forgotten records, and with the last of them the key.
#[test]
fn walk_deletes_on_replicas_what_it_deletes_on_the_master() {
    let server = launch().start();
    let replica = server.attach(launch());
    let mut c = server.connection();
    let forgotten = |c: &mut Connection, id: &str| {
        let record = [&[2][..], &1_i64.to_le_bytes()].concat();
        let marker = [&[0xF4][..], &[0; 24]].concat();
        let fields = [
            b"HSET",
            &b"h"[..],
            id.as_bytes(),
            &record,
            b"rl:holds",
            &marker,
        ];
        c.call::<()>(&fields);
    };
    reserve(&mut c, 10, "1h id");
    forgotten(&mut c, "old");
    reserve(&mut c, 10, "1h other");
    assert_eq!(c.ask::<Vec<String>>("HKEYS h").len(), 3);
    replica.wait_for(&server);
    assert_eq!(replica.contents(), server.contents());

    c.ask::<()>("DEL h");
    forgotten(&mut c, "old");
    // Denied, so it stores nothing.
    assert_eq!(reserve(&mut c, 2_000, "1h third").0, 0);
    assert_eq!(c.ask::<i64>("EXISTS h"), 0);
    replica.wait_for(&server);
    assert_eq!(replica.contents(), server.contents());
}

#[test]
fn walk_refunds_on_replicas_what_it_refunds_on_the_master() {
    let server = launch().start();
    let replica = server.attach(launch());
    let mut c = server.connection();
    // A denied call writes nothing but what its walk found.
    for (cost, taken) in [(10, 10), (2_000, 0)] {
        // A reservation that comes late refunds those before it.
        wait_until("all are overdue together", || {
            c.ask::<()>("DEL b w h");
            for n in 0..3 {
                reserve(&mut c, 10, &format!("1s id{n}"));
            }
            let [_, overdue, _] = until("all are overdue", || {
                let counts = count(&mut c, "h");
                (counts[0] == counts[1]).then_some(counts)
            });
            overdue == 3
        });
        reserve(&mut c, cost, "1h id");
        // The bucket may lack a nanosecond of refill.
        assert_eq!(used(&mut c)[1], taken);
        replica.wait_for(&server);
        assert_eq!(replica.contents(), server.contents());
    }
}

#[test]
fn reservation_and_settlement_abort_a_watch_of_the_holds_key() {
    let server = launch().start();
    let (mut c, mut other) = (server.connection(), server.connection());
    let (reserves, settles) = (reserve_words(10, "1h id"), settle_words(10, "id"));
    for (words, aborts) in [
        (reserves.as_str(), true),
        (&reserve_words(10, "1s id"), false),
        ("RL.HOLDS h", false),
        ("RL.INSPECT h", false),
        (&settles, true),
        (&settles, false),
    ] {
        c.ask::<()>("WATCH h");
        other.ask::<Value>(words);
        c.ask::<()>("MULTI");
        c.ask::<()>("PING");
        assert_eq!(c.ask::<Value>("EXEC") == Value::Nil, aborts, "{words}");
    }
}

#[test]
fn promoted_replica_knows_the_holds() {
    let mut master = launch().start();
    let heir = master.attach(launch());
    let mut c = master.connection();
    reserve(&mut c, 300, "1h open");
    reserve(&mut c, 300, "1h settled");
    settle(&mut c, 120, "settled");
    heir.wait_for(&master);
    master.kill();
    let () = heir.ask("REPLICAOF NO ONE");
    let mut c = heir.connection();
    assert_eq!(settle(&mut c, 120, "settled").0, 0);
    assert_eq!(settle(&mut c, 120, "open").0, 1);
    assert_eq!(used(&mut c)[1], 240);
}

#[test]
fn without_memory_only_a_new_hold_is_denied() {
    let server = Server::with(&["--maxmemory-policy", "noeviction"]);
    let mut c = server.connection();
    reserve(&mut c, 300, "1h id");
    reserve(&mut c, 300, "1h other");
    c.ask::<()>("CONFIG SET maxmemory 1");
    let before = state(&mut c);
    let error = c.error(&reserve_words(3, "1h new"));
    assert!(error.starts_with("OOM "), "{error}");
    // An unknown id is not closed: that would be a new record.
    assert_eq!(settle(&mut c, 0, "unknown").0, -1);
    assert_eq!(state(&mut c), before);
    assert_eq!(reserve(&mut c, 300, "2h id").0, 1);
    assert_eq!(settle(&mut c, 900, "id").0, 1);
    assert_eq!(settle(&mut c, 0, "other").0, 1);
    assert_eq!(used(&mut c)[1], 900);
}

#[test]
fn ids_and_keys_are_any_bytes() {
    let server = Server::start();
    let mut c = server.connection();
    let long = [b'x'; 128];
    let ids: [&[u8]; 6] = [b"a\0b", b"a\0c", b"a\nb", b"7", b"\xFF\xF8", &long];
    let words = |name: &str, id: &[u8], option: &str, ttl: &[&str]| {
        let mut command = Cmd::new();
        command.arg(name).arg("2").arg(b"w\0\n").arg(b"h\0\n");
        command.arg(&["WINDOW", "1000", "1h", option, "3", "HOLD"]);
        command.arg(ttl).arg(id);
        command
    };
    for id in ids {
        let made = words("RL.ALL", id, "COST", &["1h"]);
        for taken in [3, 0] {
            let (status, _, each): Replies = made.query(&mut c).expect("a reply");
            assert_eq!((status, each[0][0]), (1, taken), "{id:?}");
        }
    }
    type Listed = Vec<(Vec<u8>, i64, String, Value)>;
    let (.., listed): (i64, i64, i64, i64, Listed) = c.call(&[&b"RL.HOLDS"[..], b"h\0\n"]);
    let mut found: Vec<_> = listed.iter().map(|hold| &hold.0[..]).collect();
    let mut expected = ids.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    for id in ids {
        let settled = words("RL.SETTLE", id, "USED", &[]);
        let (status, _, _): Replies = settled.query(&mut c).expect("a reply");
        assert_eq!(status, 1, "{id:?}");
    }
    for id in [&b""[..], &[b'x'; 129]] {
        let error = c.error_of(&words("RL.SETTLE", id, "USED", &[]));
        assert!(error.starts_with("ERR id of a HOLD must be"), "{error}");
    }
}

#[test]
fn damaged_record_is_an_error_for_its_id_and_no_other() {
    let server = Server::start();
    let mut c = server.connection();
    reserve(&mut c, 3, "1h whole");
    reserve(&mut c, 3, "1h id");
    let record: Vec<u8> = c.ask("HGET h id");
    let mut wrong: Vec<Vec<u8>> = (0..record.len()).map(|n| record[..n].to_vec()).collect();
    wrong.push([&record[..], b"\0"].concat());
    for (at, byte) in [
        (0, 0),
        (0, 4),
        (1, 2),
        (2, 0),
        (2, 17),
        (2, 3),
        (19, 2),
        (19, 127),
    ] {
        let mut bytes = record.clone();
        bytes[at] = byte;
        wrong.push(bytes);
    }
    let mut too_much = record.clone();
    too_much[20..28].fill(0xFF);
    wrong.push(too_much);
    wrong.push(vec![2; 8]);
    wrong.push(vec![3; 10]);
    for bytes in wrong {
        c.call::<()>(&[b"HSET", &b"h"[..], b"id", &bytes]);
        let before = state(&mut c);
        for words in [reserve_words(3, "1h id"), settle_words(3, "id")] {
            let error = c.error(&words);
            assert!(error.starts_with("ERR hold 'id' cannot be read"), "{error}");
        }
        assert_eq!(count(&mut c, "h"), [1, 0, 0], "{bytes:?}");
        assert_eq!(state(&mut c), before, "{bytes:?}");
    }
    assert_eq!(reserve(&mut c, 3, "1h whole").0, 1);
    assert_eq!(settle(&mut c, 3, "whole").0, 1);
    // By hand: HDEL forgets a hold, DEL all of them.
    c.ask::<()>("HDEL h id");
    assert_eq!(settle(&mut c, 3, "id").0, -1);
    c.ask::<()>("DEL h");
    assert_eq!(settle(&mut c, 3, "whole").0, -1);
}

#[test]
fn damaged_marker_makes_the_hash_a_foreign_one() {
    let server = Server::start();
    let mut c = server.connection();
    reserve(&mut c, 3, "1h id");
    let marker: Vec<u8> = c.ask("HGET h rl:holds");
    assert_eq!((marker.len(), marker[0]), (25, 0xF4));
    for bytes in [
        &marker[..24],
        &[&marker[..], b"\0"].concat(),
        &[0xF5; 25],
        b"",
    ] {
        c.call::<()>(&[b"HSET", &b"h"[..], b"rl:holds", bytes]);
        let before = state(&mut c);
        for words in [
            reserve_words(3, "1h id"),
            settle_words(3, "id"),
            "RL.HOLDS h".to_owned(),
        ] {
            let error = c.error(&words);
            let expected = "ERR key 'h' holds a hash that was not created by RL.ALL";
            assert_eq!(error, expected, "{words}");
        }
        assert_eq!(state(&mut c), before);
    }
}

#[test]
fn renamed_server_command_disables_holds_and_is_logged() {
    for missing in ["HSET", "HDEL", "PEXPIREAT"] {
        let server = Launch::default()
            .with(&["--rename-command", missing, "hidden"])
            .start();
        let mut c = server.connection();
        for name in ["RL.SETTLE", "RL.HOLDS"] {
            let error = c.error_of(&call(name, &["1", "h"]));
            assert!(error.starts_with("ERR unknown command"), "{error}");
        }
        if missing != "PEXPIREAT" {
            let error = c.error("RL.ALL 2 w h WINDOW 9 1h HOLD 1h id");
            assert!(
                error.starts_with("ERR syntax error: HOLD is not available"),
                "{error}"
            );
            assert_eq!(c.ask::<Replies>("RL.ALL 1 w WINDOW 9 1h").0, 1);
        }
        let log = server.log();
        let tells = |text: &str| log.lines().any(|line| line.contains(text));
        assert!(
            tells("RL.SETTLE") && tells(&format!("no command {missing} ")),
            "{log}"
        );
    }
}

#[test]
fn module_is_unloaded_and_loaded_with_open_holds() {
    let server = without_module().start();
    let mut c = server.connection();
    let library = module();
    let library = library.to_str().expect("a path that is text");
    c.call::<()>(&["MODULE", "LOAD", library]);
    reserve(&mut c, 300, "1h id");
    for _ in 0..2 {
        drop(c);
        c = server.connection();
        c.ask::<()>("MODULE UNLOAD rl");
        c.call::<()>(&["MODULE", "LOAD", library]);
        assert_eq!(reserve(&mut c, 300, "1h id").0, 1);
    }
    assert_eq!(settle(&mut c, 120, "id").0, 1);
    assert_eq!(used(&mut c)[1], 120);
}

#[test]
fn holds_work_in_transactions_and_scripts() {
    let server = Server::start();
    let mut c = server.connection();
    let mut transaction = redis::pipe();
    transaction.atomic();
    for words in [
        reserve_words(300, "1h id"),
        reserve_words(300, "1h id"),
        settle_words(120, "id"),
    ] {
        let words: Vec<_> = words.split(' ').collect();
        transaction.cmd(words[0]).arg(&words[1..]);
    }
    let replies: Vec<Replies> = transaction.query(&mut c).expect("replies");
    let statuses: Vec<_> = replies.iter().map(|(status, ..)| *status).collect();
    assert_eq!(statuses, [1, 1, 1]);
    let script = "redis.call('RL.ALL', 2, KEYS[1], KEYS[2], 'WINDOW', 1000, '30d', 'COST', 9, \
                  'HOLD', '1h', 'lua') \
                  return redis.call('RL.SETTLE', 2, KEYS[1], KEYS[2], 'WINDOW', 1000, '30d', \
                  'USED', 5, 'HOLD', 'lua')";
    let (status, _, each): Replies = c.call(&["EVAL", script, "2", "w", "h"]);
    assert_eq!((status, each[0][0]), (1, -4));
    assert_eq!(used(&mut c)[1], 125);
}

#[test]
fn events_name_the_holds_key_and_what_moved() {
    let server = launch()
        .with(&["--loadmodule", listener::library()])
        .start();
    let mut c = server.connection();
    for (words, expected) in [
        (
            reserve_words(300, "1h id"),
            "rl.take b\nrl.take w\nrl.hold h\n",
        ),
        (reserve_words(300, "1h id"), "rl.hold h\n"),
        (reserve_words(800, "1h other"), "rl.deny b\nrl.deny w\n"),
        (
            settle_words(120, "id"),
            "rl.give b\nrl.give w\nrl.settle h\n",
        ),
        (settle_words(120, "id"), ""),
        (settle_words(120, "unknown"), "rl.settle h\n"),
        (settle_words(120, "unknown"), ""),
    ] {
        c.ask::<Value>(&words);
        assert_eq!(c.ask::<String>("LISTENER.HEARD"), expected, "{words}");
    }
}

#[test]
fn refund_of_overdue_holds_is_counted_and_sends_one_event() {
    let server = launch()
        .with(&["--loadmodule", listener::library()])
        .start();
    let mut c = server.connection();
    for id in ["one", "two"] {
        let words = format!("RL.ALL 2 w h WINDOW 100 30d COST 10 HOLD 1s {id}");
        assert_eq!(c.ask::<Replies>(&words).0, 1);
    }
    wait_until("all are overdue", || count(&mut c, "h")[1] == 2);
    c.ask::<String>("LISTENER.HEARD");
    // Nobody held anything of the other window.
    let words = "RL.ALL 3 v w h WINDOW 100 30d WINDOW 100 30d HOLD 1h id";
    assert_eq!(c.ask::<Replies>(words).0, 1);
    let heard: String = c.ask("LISTENER.HEARD");
    assert_eq!(heard, "rl.give w\nrl.take v\nrl.take w\nrl.hold h\n");
    assert_eq!(server.count("rl_window_tokens_given"), 20);
}

#[test]
fn full_holds_key_sends_an_event_and_is_among_the_top_denied() {
    let server = launch()
        .with(&["--loadmodule", listener::library()])
        .start();
    let mut c = server.connection();
    let marker = [&[0xF4_u8][..], &[0; 24]].concat();
    let mut fill = Cmd::new();
    fill.arg("HSET").arg("h").arg("rl:holds").arg(marker);
    for id in 0..10_000 {
        fill.arg(id).arg("damaged");
    }
    fill.exec(&mut c).expect("no error");
    assert_eq!(c.ask::<Replies>(&reserve_words(3, "1h id")).0, 0);
    assert_eq!(c.ask::<String>("LISTENER.HEARD"), "rl.deny h\n");
    let top: Vec<(String, i64, Value, Value)> = c.ask("RL.TOP");
    assert_eq!((top[0].0.as_str(), top[0].1, top.len()), ("h", 1, 1));
}

/// A client may settle only keys that it may write.
#[test]
fn key_patterns_of_a_user_cover_every_key_of_a_call() {
    let server = Server::start();
    let mut c = server.connection();
    c.ask::<()>("ACL SETUSER gateway on >pw +@all ~w ~h");
    reserve(&mut c, 3, "1h id");
    c.ask::<()>("AUTH gateway pw");
    let error = c.error(&settle_words(3, "id"));
    assert!(error.starts_with("NOPERM"), "{error}");
    let own = "RL.ALL 2 w h WINDOW 1000 30d COST 3 HOLD 1h own";
    assert_eq!(c.ask::<Replies>(own).0, 1);
    assert_eq!(count(&mut c, "h")[0], 2);
}
