//! Waiting callers and what a server builds around its commands: replicas, files, pauses, other
//! databases.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use redis::{Connection, Value};

use super::{assert_unloads, holders, joined, wait_until_waiting, waiting, while_waiting, Waiting};
use crate::common::{wait_until, Launch, Server};
use crate::lease::Leases;
use crate::support::node::{assert_equal, launch};
use crate::support::{knows, listener, now, Ask, Reply};

/// Returns the code that releases a slot and returns the end of the lease that its waiter has then.
fn release(keys: &str) -> String {
    format!("redis.call('RL.RELEASE', {keys}[1], 'a') return redis.call('ZSCORE', {keys}[1], 'b')")
}

/// Grants by a plain command, in MULTI, by a script, by RL.ALL and by the timer, in two databases.
fn grant_in_every_way(server: &Server) {
    for db in ["0", "3"] {
        let mut c = server.connection();
        c.call::<()>(&["SELECT", db]);
        for (n, way) in ["plain", "multi", "lua", "function", "all", "timer", "hand"]
            .iter()
            .enumerate()
        {
            let key = format!("{way}{n}");
            let ttl = if *way == "timer" { "60ms" } else { "1h" };
            c.call::<Reply>(&["RL.ACQUIRE", &key, "1", ttl, "a"]);
            let db = db.parse().expect("a number");
            let mut waiter = Waiting::call_in(server, db, &format!("{key} 1 2h b WAIT 60000"));
            wait_until("the caller waits or has a slot", || {
                server.count("rl_lease_waiting") == 1 || holders(&mut c, &key) == ["b"]
            });
            match *way {
                "plain" => assert_eq!(c.call::<i64>(&["RL.RELEASE", &key, "a"]), 1),
                "multi" => {
                    let mut together = redis::pipe();
                    together.atomic().cmd("SET").arg(&["other", "1"]).ignore();
                    together.cmd("RL.RELEASE").arg(&[&key, "a"]);
                    together.cmd("ZSCORE").arg(&[&key, "b"]);
                    let found: (i64, Option<f64>) = together.query(&mut c).expect("replies");
                    assert!(found.0 == 1 && found.1.is_some());
                }
                "lua" => {
                    let end: Option<f64> = c.call(&["EVAL", &release("KEYS"), "1", &key]);
                    assert!(end.is_some());
                }
                "function" => {
                    if !knows(&mut c, &["FUNCTION", "LIST"]) {
                        c.call::<i64>(&["RL.RELEASE", &key, "a"]);
                    } else {
                        let code = format!(
                            "#!lua name=f\nredis.register_function('f', function(keys) {} end)",
                            release("keys")
                        );
                        c.call::<()>(&["FUNCTION", "LOAD", "REPLACE", &code]);
                        let end: Option<f64> = c.call(&["FCALL", "f", "1", &key]);
                        assert!(end.is_some());
                    }
                }
                "all" => {
                    let mut together = redis::pipe();
                    together.atomic().cmd("ZREM").arg(&[&key, "a"]).ignore();
                    together
                        .cmd("RL.ALL")
                        .arg(&["1", &key, "LEASE", "2", "1h", "c"])
                        .ignore();
                    together.cmd("ZSCORE").arg(&[&key, "b"]);
                    let (end,): (Option<f64>,) = together.query(&mut c).expect("replies");
                    assert!(end.is_some());
                }
                "hand" => assert_eq!(c.call::<i64>(&["DEL", &key]), 1),
                _ => {}
            }
            assert!(waiter.taken(), "{way}");
        }
    }
}

#[test]
fn replica_and_aof_equal_the_master_after_grants_in_every_way() {
    let replica = launch().start();
    // With another policy the server may reply before it writes to the AOF.
    let policy = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut master = launch().with(&policy).start();
    replica.replicate(&master);
    wait_until("the replica is in step", || {
        replica.is_in_step_with(&master)
    });
    grant_in_every_way(&master);
    wait_until("the replica is in step", || {
        replica.is_in_step_with(&master)
    });
    let contents = |server: &Server, db: &str| {
        let mut c = server.connection();
        c.call::<()>(&["SELECT", db]);
        let mut keys: Vec<String> = c.ask("KEYS *");
        keys.sort();
        let mut found = Vec::new();
        for key in keys.iter().filter(|key| *key != "other") {
            found.push((key.clone(), crate::lease::members(&mut c, key)));
            assert!(crate::support::expires_at(&mut c, key) > 0);
        }
        assert_eq!(found.len(), 7);
        found
    };
    for db in ["0", "3"] {
        assert_eq!(contents(&replica, db), contents(&master, db));
    }
    let before = ["0", "3"].map(|db| contents(&master, db));
    master.restart();
    assert_eq!(["0", "3"].map(|db| contents(&master, db)), before);
    assert_equal(&replica.contents(), &master.contents());
    assert_unloads(&replica);
}

/// Starts a server whose last snapshot has failed.
fn after_a_failed_snapshot(launch: Launch) -> Server {
    let server = launch.with(&["--dbfilename", "folder"]).start();
    // A snapshot cannot replace a folder.
    fs::create_dir(server.dir().join("folder")).expect("a folder");
    let () = server.ask("BGSAVE");
    wait_until("the snapshot has failed", || {
        server.info(["rdb_last_bgsave_status"]) == ["err"]
    });
    server
}

/// Checks that the timer grants a slot that becomes free by hand, on a server that saves snapshots.
fn assert_timer_grants(server: &Server) {
    let mut c = server.connection();
    c.call::<()>(&["CONFIG", "SET", "save", "3600 1000000"]);
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    let mut waiter = waiting(server, "k 1 1h b WAIT 60000");
    c.ask::<i64>("ZADD k XX 1 a");
    assert!(waiter.taken());
    assert_unloads(server);
}

#[test]
fn timer_grants_after_a_failed_snapshot_that_stops_no_writes() {
    let server = after_a_failed_snapshot(launch());
    let () = server.ask("CONFIG SET stop-writes-on-bgsave-error no");
    assert_timer_grants(&server);
}

/// The timer writes nothing while a client's write would be held back or refused; waits end on
/// time all the same.
#[test]
fn timer_grants_nothing_while_writes_are_paused_or_refused() {
    let server = after_a_failed_snapshot(launch());
    let mut c = server.connection();
    for (stop, go) in [
        (
            &["CLIENT", "PAUSE", "60000", "WRITE"][..],
            &["CLIENT", "UNPAUSE"][..],
        ),
        (
            &["CONFIG", "SET", "min-replicas-to-write", "1"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
        ),
        (
            &["CONFIG", "SET", "save", "3600 1"],
            &["CONFIG", "SET", "save", ""],
        ),
    ] {
        wait_until("both wait when the slot becomes free", || {
            c.ask::<()>("DEL k");
            c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
            let mut long = waiting(&server, "k 1 1h l WAIT 60000");
            let mut short = joined(&server, "k 1 1h s WAIT 300");
            // The slot becomes free at once, and the timer would grant it.
            let both_wait = while_waiting(&mut c, "k", 2, &[&["ZADD", "k", "1", "a"], stop]);
            assert_eq!(short.reply()[0], 0, "{stop:?}");
            let held: Vec<String> = c.ask("ZRANGE k 0 -1");
            assert!(
                !held.contains(&"s".into()) && !held.contains(&"l".into()),
                "{stop:?}"
            );
            assert_eq!(server.count("rl_lease_waiting"), 1);
            c.call::<()>(go);
            assert!(long.taken(), "{stop:?}");
            both_wait
        });
    }
    assert_unloads(&server);
}

#[test]
fn timer_grants_while_just_enough_replicas_are_good_and_nothing_has_failed_to_be_saved() {
    let server = launch().with(&["--min-replicas-to-write", "1"]).start();
    let _replica = server.attach(launch());
    wait_until("the replica is good", || {
        server.info(["min_slaves_good_slaves"]) == ["1"]
    });
    assert_timer_grants(&server);
}

/// Without CONFIG nobody knows how many replicas are enough.
#[test]
fn timer_grants_nothing_without_a_good_replica_where_config_is_renamed() {
    let server = launch()
        .with(&["--rename-command", "CONFIG", "hidden"])
        .with(&["--min-replicas-to-write", "1"])
        .with(&["--min-replicas-max-lag", "600"])
        .start();
    let mut c = server.connection();
    wait_until("a caller waits when the slot becomes free", || {
        let replica = server.attach(launch());
        wait_until("the replica is good", || {
            server.info(["min_slaves_good_slaves"]) == ["1"]
        });
        c.ask::<()>("DEL k");
        c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
        let mut waiter = joined(&server, "k 1 1h b WAIT 1000");
        // It does not come back.
        replica.signal("STOP");
        let ends: [&[&str]; 2] = [
            &["ZADD", "k", "XX", "1", "a"],
            &["CLIENT", "KILL", "TYPE", "REPLICA"],
        ];
        let waits = while_waiting(&mut c, "k", 1, &ends);
        assert!(!waiter.taken());
        waits
    });
    assert_unloads(&server);
}

/// The server refuses a client's write after it could not write to its AOF.
#[test]
fn timer_grants_nothing_after_a_failed_write_to_the_aof() {
    // The largest file that the server may write, in blocks of 512 or 1024 bytes.
    let start = "ulimit -f 128 && trap '' XFSZ && exec \"$SERVER\" \"$@\"\n";
    let name = format!("small-files-{}", std::process::id());
    let script = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let program = Launch::under_test().display().to_string();
    fs::write(&script, start.replace("$SERVER", &program)).expect("a script");
    // With this policy it writes at once; with another it may wait for a sync, or exit.
    let launch = launch().binary("/bin/sh").configuration(&script).with(&[
        "--appendonly",
        "yes",
        "--appendfsync",
        "no",
    ]);
    let large = "x".repeat(1 << 18);
    let now_ms = || now() / 1_000_000;
    wait_until("a write fails before the slot becomes free", || {
        let server = launch.clone().start();
        let mut c = server.connection();
        c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
        // The wait ends later than the lease.
        let ends_at = now_ms() + 2_000;
        let mut waiter = joined(&server, "k 1 1h b WAIT 4000");
        let ends_at_text = ends_at.to_string();
        let ends: [&[&str]; 2] = [
            &["ZADD", "k", "XX", &ends_at_text, "a"],
            &["SET", "large", &large],
        ];
        let waits = while_waiting(&mut c, "k", 1, &ends);
        assert_eq!(server.info(["aof_last_write_status"]), ["err"]);
        let has_failed_before = now_ms() < ends_at;
        let is_granted = waiter.taken();
        assert!(!is_granted || !has_failed_before);
        assert_unloads(&server);
        waits && has_failed_before
    });
    fs::remove_file(script).expect("a script");
}

/// While all commands are paused nobody can look or end the pause, but the wait ends long before it,
/// and the free slot is granted after it.
#[test]
fn wait_ends_on_time_while_all_commands_are_paused() {
    let server = launch().start();
    let mut c = server.connection();
    let pause = Duration::from_secs(10);
    let pause_ms = pause.as_millis().to_string();
    // The slot becomes free at once, and the timer would grant it.
    let begins: [&[&str]; 2] = [
        &["ZADD", "k", "1", "a"],
        &["CLIENT", "PAUSE", &pause_ms, "ALL"],
    ];
    wait_until(
        "the short wait begins before the pause and ends in it",
        || {
            c.ask::<()>("DEL k");
            c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
            let mut long = waiting(&server, "k 1 1h l WAIT 60000");
            let mut short = joined(&server, "k 1 1h s WAIT 300");
            let start = Instant::now();
            let both_wait = while_waiting(&mut c, "k", 2, &begins);
            assert!(!short.taken());
            let is_on_time = start.elapsed() < pause;
            assert!(long.taken());
            assert!(start.elapsed() > pause / 2);
            both_wait && is_on_time
        },
    );
    assert_unloads(&server);
}

/// A coordinated failover pauses the writes until the replica has all of them, then makes the master
/// a replica. A slot that becomes free meanwhile is not granted.
#[test]
fn waiters_are_unblocked_by_a_failover_and_both_servers_agree() {
    wait_until("a wait ends during a failover", || {
        wait_through_a_failover()
    });
}

/// Returns whether the shortest wait had not ended before the failover.
fn wait_through_a_failover() -> bool {
    let master = launch().start();
    let mut c = master.connection();
    let replica = master.attach(launch());
    replica.wait_for(&master);
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    let mut waiters: Vec<_> = (0..5)
        .map(|n| waiting(&master, &format!("k 1 1h w{n} WAIT 60000")))
        .collect();
    c.ask::<i64>("RL.RELEASE k a");
    assert!(waiters.remove(0).taken());
    let mut short = joined(&master, "k 1 1h short WAIT 1000");
    replica.signal("STOP");
    let mut together = redis::pipe();
    together.atomic().cmd("RL.LEASES").arg(&["k", "1"]);
    together.cmd("ZADD").arg(&["k", "XX", "1", "w0"]).ignore();
    // Denied, so the timer would serve the waiters at once.
    together.cmd("RL.ACQUIRE").arg(&["k", "1", "1h", "new"]);
    together.cmd("FAILOVER").ignore();
    let (before, denied): (Leases, Reply) = together.query(&mut c).expect("replies");
    assert_eq!(denied[0], 0);
    assert!(!short.taken());
    assert_eq!(
        master.info(["master_failover_state", "rl_lease_waiting"]),
        ["waiting-for-sync", "4"]
    );
    replica.signal("CONT");
    for waiter in &mut waiters {
        let error = waiter.error();
        assert!(error.starts_with("UNBLOCKED "), "{error}");
    }
    wait_until("the roles are exchanged", || {
        replica.info(["role"]) == ["master"] && master.info(["master_link_status"]) == ["up"]
    });
    master.wait_for(&replica);
    assert_equal(&master.contents(), &replica.contents());
    assert!(holders(&mut replica.connection(), "k").is_empty());
    // Waiting goes on at the new master.
    replica.ask::<Reply>("RL.ACQUIRE k 1 1h w0");
    let mut waiter = waiting(&replica, "k 1 1h next WAIT 60000");
    replica.ask::<i64>("RL.RELEASE k w0");
    assert!(waiter.taken());
    assert_unloads(&master);
    assert_unloads(&replica);
    before.6 == 5
}

#[test]
fn waiters_of_a_master_that_becomes_a_replica_are_unblocked() {
    let master = launch().start();
    let server = launch().start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    let mut waiter = waiting(&server, "k 1 1h b WAIT 60000");
    server.replicate(&master);
    let error = waiter.error();
    assert!(error.starts_with("UNBLOCKED "), "{error}");
    wait_until_waiting(&server, 0);
    wait_until("the replica is in step", || server.is_in_step_with(&master));
    // Even a writable replica lets nobody wait.
    c.ask::<()>("CONFIG SET replica-read-only no");
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 1 1h b WAIT 60000")[0], 0);
    assert_unloads(&server);
}

#[test]
fn waiters_are_served_above_maxmemory() {
    let server = launch().start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    let mut waiter = waiting(&server, "k 1 1h b WAIT 60000");
    c.ask::<()>("CONFIG SET maxmemory 1");
    assert_eq!(c.ask::<i64>("RL.RELEASE k a"), 1);
    assert!(waiter.taken());
    c.ask::<()>("CONFIG SET maxmemory 0");
    assert_unloads(&server);
}

#[test]
fn newcomer_is_denied_above_maxmemory_while_another_waits() {
    let server = launch().start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    let mut waiter = waiting(&server, "k 1 1h b WAIT 60000");
    c.ask::<()>("CONFIG SET maxmemory 1");
    for key in ["k 2", "other 1"] {
        let error = c.error(&format!("RL.ACQUIRE {key} 1h c"));
        assert!(error.starts_with("OOM "), "{key}: {error}");
    }
    // A renewal needs no memory.
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 1 2h a")[0], 1);
    c.ask::<i64>("RL.RELEASE k a");
    assert!(waiter.taken());
    c.ask::<()>("CONFIG SET maxmemory 0");
    assert_unloads(&server);
}

#[test]
fn acquire_is_known_as_a_command_that_blocks() {
    let server = launch().start();
    let mut c = server.connection();
    if !knows(&mut c, &["COMMAND", "DOCS", "GET"]) {
        return;
    }
    let about: Vec<Value> = c.ask("COMMAND INFO RL.ACQUIRE");
    let texts = crate::support::texts(&about[0]);
    assert!(texts.iter().any(|text| text == "blocking"), "{texts:?}");
}

#[test]
fn granted_and_denied_waiters_are_counted_and_heard_of() {
    let server = launch()
        .with(&["--loadmodule", listener::library()])
        .start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    let mut first = waiting(&server, "k 1 1h t WAIT 60000");
    let mut again =
        ["1h", "1h", "2h"].map(|ttl| waiting(&server, &format!("k 1 {ttl} t WAIT 60000")));
    let mut fresh = waiting(&server, "k 1 1h t NX WAIT 60000");
    c.ask::<i64>("RL.RELEASE k a");
    assert!(first.taken() && again.iter_mut().all(Waiting::taken) && !fresh.taken());
    let mut last = waiting(&server, "k 1 1h l WAIT 60000");
    c.ask::<i64>(&format!("CLIENT UNBLOCK {}", last.id));
    assert!(!last.taken());
    let heard: String = c.ask("LISTENER.HEARD");
    let expected = ["acquire", "release", "acquire", "deny", "deny"];
    assert_eq!(
        heard,
        expected.map(|event| format!("rl.{event} k\n")).concat()
    );
    // A grant by the timer is heard of when it is made.
    let mut last = waiting(&server, "k 1 1h l WAIT 60000");
    c.ask::<i64>("ZREM k t");
    assert!(last.taken());
    assert_eq!(c.ask::<String>("LISTENER.HEARD"), "rl.acquire k\n");
    let counts = ["acquired", "renewed", "denied"];
    let counts = counts.map(|name| server.count(&format!("rl_lease_{name}")));
    assert_eq!(counts, [3, 3, 2]);
    let [(key, denials, ..)]: [(String, i64, i64, i64); 1] = c.ask("RL.TOP");
    assert_eq!((key.as_str(), denials), ("k", 2));
    assert_unloads(&server);
}

/// The server runs the timer in the database in which it was set.
#[test]
fn timer_serves_waiters_of_every_database() {
    let server = launch().start();
    let databases = [(0, "k0"), (3, "k3")];
    let mut c = server.connection();
    let select = |c: &mut Connection, db: i64| c.call::<()>(&["SELECT", &db.to_string()]);
    for (db, key) in databases {
        select(&mut c, db);
        c.call::<Reply>(&["RL.ACQUIRE", key, "1", "1h", "a"]);
    }
    let wait = |token: &str, ms: u64| {
        databases.map(|(db, key)| {
            let words = format!("{key} 1 1h {token} WAIT {ms}");
            Waiting::call_in(&server, db, &words)
        })
    };
    for mut waiter in wait("short", 300) {
        assert_eq!(waiter.reply()[..3], [0, 1, 0]);
    }
    let waiters = wait("b", 60_000);
    wait_until_waiting(&server, 2);
    for (db, key) in databases {
        select(&mut c, db);
        c.call::<i64>(&["ZREM", key, "a"]);
    }
    assert!(waiters.into_iter().all(|mut waiter| waiter.taken()));
    // The slots of callers that are gone become free again.
    let lost = wait("lost", 60_000);
    wait_until_waiting(&server, 2);
    let mut together = redis::pipe();
    together.atomic();
    for ((db, key), waiter) in databases.into_iter().zip(&lost) {
        together.cmd("SELECT").arg(db).ignore();
        together.cmd("RL.RELEASE").arg(&[key, "b"]).ignore();
        together
            .cmd("CLIENT")
            .arg(&["KILL", "ID"])
            .arg(waiter.id)
            .ignore();
    }
    let () = together.query(&mut c).expect("replies");
    for (db, key) in databases {
        select(&mut c, db);
        wait_until("the slot is free", || holders(&mut c, key).is_empty());
    }
    assert_unloads(&server);
}

/// The slot of a caller that is gone stays taken until its end if nothing may be written.
#[test]
fn timer_takes_back_no_slot_while_writes_are_paused() {
    let server = launch().start();
    let mut c = server.connection();
    wait_until("another wait ends during the pause", || {
        c.ask::<()>("DEL k other");
        for key in ["k", "other"] {
            c.call::<Reply>(&["RL.ACQUIRE", key, "1", "1h", "a"]);
        }
        let lost = waiting(&server, "k 1 1h lost WAIT 60000");
        let mut short = joined(&server, "other 1 1h short WAIT 1000");
        let ends: [&[&str]; 3] = [
            &["RL.RELEASE", "k", "a"],
            &["CLIENT", "KILL", "ID", &lost.id.to_string()],
            &["CLIENT", "PAUSE", "60000", "WRITE"],
        ];
        let waits = while_waiting(&mut c, "other", 1, &ends);
        assert!(!short.taken());
        assert_eq!(holders(&mut c, "k"), ["lost"]);
        c.ask::<()>("CLIENT UNPAUSE");
        waits
    });
    assert_unloads(&server);
}

/// A master that becomes a replica writes nothing of its own.
#[test]
fn timer_takes_back_no_slot_on_a_replica() {
    let server = launch().start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    let lost = waiting(&server, "k 1 1h lost WAIT 60000");
    let mut together = redis::pipe();
    together.atomic().cmd("RL.RELEASE").arg(&["k", "a"]);
    together.cmd("CLIENT").arg(&["KILL", "ID"]).arg(lost.id);
    // Nobody listens there.
    together.cmd("REPLICAOF").arg(&["127.0.0.1", "1"]);
    let _: Value = together.query(&mut c).expect("replies");
    // The timer has nothing left to do.
    assert_unloads(&server);
    assert_eq!(c.ask::<Vec<String>>("ZRANGE k 1 -1"), ["lost"]);
}

/// Returns the memory of the process, in kB.
fn resident_kb(server: &Server) -> u64 {
    let [process] = server.info(["process_id"]);
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let mut lines = status.lines();
    let resident = lines.find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
    resident.expect("a line").trim().parse().expect("a number")
}

/// Each grant is of another key with a long name. The test fails under valgrind, which keeps freed memory.
#[test]
fn memory_of_granted_waits_is_freed() {
    const CALLERS: usize = 100;
    const ROUNDS: usize = 150;
    let server = launch().start();
    let mut c = server.connection();
    let mut callers: Vec<_> = (0..CALLERS).map(|_| Waiting::connect(&server)).collect();
    let mut warm = 0;
    for round in 0..ROUNDS {
        let key = |n| format!("{round}:{n}:{}", "k".repeat(1000));
        let token = "t".repeat(100);
        let mut each = |command: &str, words: &[&str]| {
            let mut together = redis::pipe();
            for n in 0..CALLERS {
                together.cmd(command).arg(key(n)).arg(words).ignore();
            }
            let () = together.query(&mut c).expect("replies");
        };
        each("RL.ACQUIRE", &["1", "1h", "a"]);
        for (n, caller) in callers.iter_mut().enumerate() {
            caller.send(&[&format!("RL.ACQUIRE {} 1 1h {token} WAIT 600000", key(n))]);
        }
        wait_until_waiting(&server, CALLERS as i64);
        each("RL.RELEASE", &["a"]);
        assert!(callers.iter_mut().all(|caller| caller.taken()));
        each("DEL", &[]);
        if round == ROUNDS / 3 {
            warm = resident_kb(&server);
        }
    }
    let grown = resident_kb(&server).saturating_sub(warm);
    // The names alone are 11 MB.
    assert!(grown < 5_000, "{grown} kB");
    assert_unloads(&server);
}
