//! Replicas and the AOF receive the effect of a call, never the call, which they would execute
//! again by their own clock.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use redis::Value;

use crate::common::{wait_until, Launch, Server};
use crate::support::node::{assert_equal, launch};
use crate::support::windows::now_ms;
use crate::support::{aof, call, expires_at, now, stored, Ask, HOUR_MS};

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn take_from_each(server: &Server, times: usize) {
    let mut c = server.connection();
    for key in KEYS.iter().cycle().take(times * KEYS.len()) {
        assert_eq!(c.take(&format!("{key} 1/d 100"))[0], 1);
    }
}

fn with_aof() -> Launch {
    launch()
        .with(&["--appendonly", "yes", "--appendfsync", "always"])
        .with(&["--aof-use-rdb-preamble", "no"])
}

/// Starts a server whose AOF, of the form that all servers read, holds these commands.
fn after_loading(commands: &[redis::Cmd], options: &[&str]) -> Server {
    let mut server = launch().with(options).start();
    let log: Vec<u8> = commands
        .iter()
        .flat_map(redis::Cmd::get_packed_command)
        .collect();
    fs::write(server.dir().join("appendonly.aof"), log).expect("an AOF");
    server.restart_as(with_aof().with(options));
    server
}

/// Each effect on a window is replicated once, and never as a call.
#[test]
fn window_is_replicated_as_its_new_state() {
    let mut server = with_aof().start();
    let replica = server.attach(launch());
    server.wait_for_rewrite();
    for (window, other) in [("9h", "DAY"), ("SLIDING 9h", "SLIDING 2h")] {
        for (call, set, del) in [
            (format!("RL.WTAKE k 10 {window} COST 3"), 1, 0),
            (format!("RL.WTAKE k 10 {window} COST 8"), 0, 0),
            (format!("RL.WTAKE k 10 {window} COST 8 ATMOST"), 1, 0),
            (format!("RL.WTAKE k 10 {window} FORCE"), 1, 0),
            (format!("RL.WGIVE k 10 {window} COST 4"), 1, 0),
            (format!("RL.WPEEK k 10 {other}"), 0, 0),
            (format!("RL.WTAKE k 10 {other} COST 9"), 0, 0),
            (format!("RL.WTAKE k 10 {other}"), 1, 0),
            (format!("RL.WGIVE k 10 {other} COST 99"), 0, 1),
            (format!("RL.WGIVE k 10 {other} COST 99"), 0, 0),
        ] {
            let counts = |server: &Server| {
                ["\r\nSET\r\n", "\r\nDEL\r\n"].map(|word| aof::count(server, word))
            };
            let before = counts(&server);
            let _: Value = server.ask(&call);
            let after = counts(&server);
            let sent = [after[0] - before[0], after[1] - before[1]];
            assert_eq!(sent, [set, del].map(|n: i32| n as usize), "{call}");
            replica.wait_for(&server);
            assert_eq!(replica.contents(), server.contents(), "{call}");
        }
        let _: Value = server.ask(&format!("RL.WTAKE {} 10 {window}", &window[..2]));
    }
    assert_eq!(aof::count(&server, "RL.W"), 0);
    // Only an effect that moves the expiry contains it.
    let (sets, moves) = (
        aof::count(&server, "\r\nSET\r\n"),
        aof::count(&server, "PXAT"),
    );
    assert!(moves > 0 && moves < sets, "{moves} of {sets}");
    assert_eq!(aof::count(&server, "KEEPTTL"), sets - moves);
    assert_eq!(aof::count(&server, "\r\nXX\r\n"), sets - moves);
    let before = server.contents();
    server.restart();
    assert_equal(&before, &server.contents());
}

fn assert_logs_effects(mut server: Server) {
    let calls = aof::count(&server, "RL.TAKE");
    for remaining in [8, 7, 6] {
        assert_eq!(server.take("k 1/d 10")[..3], [1, 10, remaining]);
    }
    assert_eq!(aof::count(&server, "RL.TAKE"), calls);
    assert!(aof::count(&server, "\r\nSET\r\n") >= 3);
    let before = server.contents();
    server.restart();
    assert_eq!(server.take("k 1/d 10")[2], 5);
    assert_eq!(before.len(), server.contents().len());
}

#[test]
fn effects_are_replicated_after_an_aof_with_a_call() {
    let take = call("RL.TAKE", &["k", "1/d", "10"]);
    assert_logs_effects(after_loading(&[call("SELECT", &["0"]), take], &[]));
}

/// Redis 6.2 logs scripts like this with `lua-replicate-commands no`.
#[test]
fn effects_are_replicated_after_an_aof_with_a_scripted_call() {
    let script = "return redis.call('RL.TAKE', KEYS[1], '1/d', '10')";
    let eval = call("EVAL", &[script, "1", "k"]);
    assert_logs_effects(after_loading(&[call("SELECT", &["0"]), eval], &[]));
}

/// Starts a master that waits for more replicas before it sends data to the first one.
fn hesitating() -> Server {
    launch()
        .with(&["--repl-diskless-sync", "yes"])
        .with(&["--repl-diskless-sync-delay", "3600"])
        .start()
}

fn ask_for_sync(master: &Server) -> Server {
    let replica = launch().start();
    replica.replicate(master);
    wait_until("the replica asks for a sync", || {
        master.count("connected_slaves") == 1
    });
    replica
}

/// Waits for a tick of the server's timer, which also measures the rate of commands. Asking for the
/// rate changes it.
fn wait_for_tick(server: &Server) {
    let rate = || server.count("instantaneous_ops_per_sec");
    let before = rate();
    wait_until("the server's timer ticks", || rate() != before);
}

/// A snapshot contains a replication offset from which its reader may continue.
#[test]
fn replica_continuing_from_a_copied_snapshot_receives_effects() {
    let master = hesitating();
    take_from_each(&master, 2);
    let first = ask_for_sync(&master);
    let () = master.ask("SAVE");
    take_from_each(&master, 3);

    let mut second = launch().start();
    let [from, to] = [&master, &second].map(|server| server.dir().join("dump.rdb"));
    fs::copy(from, to).expect("a copy of the snapshot");
    let port = master.port().to_string();
    second.restart_as(launch().with(&["--replicaof", "127.0.0.1", &port]));
    second.wait_for(&master);
    assert_eq!(master.count("sync_partial_ok"), 1, "{}", second.log());
    let commands: String = second.ask("INFO commandstats");
    assert!(commands.contains("cmdstat_set:"), "{commands}");
    assert!(!commands.to_lowercase().contains("rl.take"), "{commands}");
    assert_equal(&master.contents(), &second.contents());
    let () = master.ask("CONFIG SET repl-diskless-sync-delay 0");
    first.wait_for(&master);
    assert_equal(&master.contents(), &first.contents());
}

/// Any client that knows the offset may request the changes since then.
#[test]
fn psync_by_hand_receives_effects() {
    let master = hesitating();
    take_from_each(&master, 2);
    let _first = ask_for_sync(&master);
    wait_for_tick(&master);
    let [id, offset] = master.info(["master_replid", "master_repl_offset"]);
    take_from_each(&master, 3);
    let next = offset.parse::<u64>().expect("a number") + 1;

    let mut socket = TcpStream::connect(("127.0.0.1", master.port())).expect("a connection");
    let ask = format!("PSYNC {id} {next}\r\n");
    socket.write_all(ask.as_bytes()).expect("sent");
    let mut stream = Vec::new();
    let end = b"the end";
    let _: Value = master.call(&["SET", "last", "the end"]);
    wait_until("the stream is read", || {
        let mut part = [0; 4096];
        let length = socket.read(&mut part).expect("a stream");
        assert!(length > 0, "the server hung up");
        stream.extend_from_slice(&part[..length]);
        stream.windows(end.len()).any(|window| window == end)
    });
    let stream = String::from_utf8_lossy(&stream).to_uppercase();
    assert!(stream.starts_with("+CONTINUE"), "{stream}");
    assert!(!stream.contains("RL.TAKE"), "{stream}");
    // One more for the key that marks the end.
    let sets = stream.matches("\r\nSET\r\n").count();
    assert_eq!(sets, 3 * KEYS.len() + 1);
}

/// Its effects could not be replicated.
#[test]
fn renamed_set_or_del_prevents_the_load() {
    for name in ["SET", "DEL"] {
        let Err(log) = Launch::default()
            .with(&["--rename-command", name, ""])
            .try_start()
        else {
            panic!("it loads without {name}");
        };
        let names = |line: &str| {
            line.split(|c: char| !c.is_alphanumeric())
                .any(|word| word == name)
        };
        assert!(log.lines().any(names), "{log}");
    }
}

/// Checks that a key lives a sixteenth of the fill time longer than until its bucket is full; a minute
/// may have passed.
fn assert_a_sixteenth_longer(left: i64, reset_ms: i64, fill_ms: i64) {
    let slack = fill_ms / 16;
    assert!(
        (left - reset_ms - slack).abs() < 60_000,
        "{left} ms, {reset_ms} ms"
    );
}

/// An expiry that lies between the time at which the bucket is full and a sixteenth of the fill time
/// later stays; others, also those that a client set, become the latest of these.
#[test]
fn expiry_moves_only_if_it_must() {
    const HOUR: i64 = 3_600_000;
    let server = with_aof().start();
    let mut c = server.connection();
    let of_aof = || ["\r\nSET\r\n", "PXAT"].map(|word| aof::count(&server, word));
    for (left, moves) in [
        // The bucket is full in two hours, and its slack is 37.5 minutes.
        (2 * HOUR + HOUR / 60, false),
        (2 * HOUR + HOUR / 2, false),
        (2 * HOUR + HOUR * 3 / 4, true),
        (30 * HOUR, true),
        (HOUR, true),
        (-1, true),
    ] {
        c.ask::<()>("FLUSHALL");
        c.take("k 1/h 10");
        let by_hand = match left {
            -1 => "PERSIST k".to_owned(),
            left => format!("PEXPIRE k {left}"),
        };
        assert_eq!(c.ask::<i64>(&by_hand), 1);
        let (expires, sent) = (expires_at(&mut c, "k"), of_aof());
        let [taken, .., reset_ms] = c.take("k 1/h 10");
        assert_eq!(taken, 1);
        // Redis 6.2 reports only the time left, so its expiry is read to some milliseconds.
        let moved = (expires_at(&mut c, "k") - expires).abs() > 60_000;
        assert_eq!(moved, moves, "{left}");
        let now_sent = of_aof();
        let sent = [now_sent[0] - sent[0], now_sent[1] - sent[1]];
        assert_eq!(sent, [1, usize::from(moves)], "{left}");
        let left = expires_at(&mut c, "k") - i64::try_from(now() / 1_000_000).expect("a time");
        // The expiry is rounded up to a millisecond, and the present down.
        let most = reset_ms + HOUR * 10 / 16 + 1;
        assert!(
            (reset_ms - 60_000..=most).contains(&left),
            "{left} {reset_ms}"
        );
    }
}

/// The effect of a call that leaves the expiry as it is cannot create a key on a replica that lacks it,
/// where it would have no expiry: a client removed it there, or the replica evicts for itself. The
/// next change of the expiry restores the key.
#[test]
fn replica_that_lacks_a_key_gets_it_with_its_expiry_or_not_at_all() {
    let master = launch().start();
    let replica = master.attach(launch().with(&["--replica-read-only", "no"]));
    let behind = replica.attach(launch());
    let mut c = master.connection();
    let calls = [
        "RL.TAKE bucket 1/d 1000",
        "RL.WTAKE window 1000 9d",
        "RL.WTAKE sliding 1000 SLIDING 30d",
        "RL.ACQUIRE slots 1000 9d a",
    ];
    let expiries =
        |server: &Server| -> Vec<i64> { server.contents().values().map(|(_, at)| *at).collect() };
    // In a new sub-window the expiry of the sliding window would move.
    let sub_window = || now_ms() / (30 * 24 * HOUR_MS / 16);
    wait_until("the rounds are in one sub-window", || {
        c.ask::<()>("FLUSHALL");
        let began_in = sub_window();
        for call in calls {
            let _: Value = c.ask(call);
        }
        replica.wait_for(&master);
        let before = expiries(&master);
        assert_eq!(expiries(&replica), before);
        let _: i64 = replica.ask("DEL bucket window sliding slots");
        for round in 0..3 {
            for call in &calls[..3] {
                let _: Value = c.ask(call);
            }
            let _: Value = c.ask(&format!("RL.ACQUIRE slots 1000 9d {round}"));
            replica.wait_for(&master);
            behind.wait_for(&master);
            // The calls did not move the expiry, except for leases, whose effect always contains it.
            let after = expiries(&master);
            if sub_window() != began_in {
                return false;
            }
            assert_eq!(after, before, "{round}");
            for server in [&replica, &behind] {
                assert!(expiries(server).iter().all(|at| *at > 0), "{round}");
            }
            let held: i64 = replica.ask("EXISTS bucket window sliding");
            assert_eq!(held, 0, "{round}");
        }
        assert_eq!(expiries(&behind), before);
        true
    });
    // 70 of 1000 days are more than a sixteenth.
    let _: Value = c.ask("RL.TAKE bucket 1/d 1000 COST 70");
    replica.wait_for(&master);
    let both = [&master, &replica].map(|server| server.contents().remove(&b"bucket"[..]));
    assert!(both[0].is_some() && both[0] == both[1], "{both:?}");
}

/// Otherwise a caller with a wait of an hour would find the bucket full as soon as the key expired
/// under the limit of the previous call.
#[test]
fn denied_call_under_a_lower_rate_extends_the_expiry_until_full() {
    let server = with_aof().start();
    let replica = server.attach(launch());
    let mut c = server.connection();
    for (before, denied, hours) in [
        ("1000/h 1000 COST 1000", "1/h 10", 10),
        ("1000/h 1000 COST 2000 FORCE", "1/h 10", 1010),
        ("1000/h 1000 COST 1000", "1/h 10 MAXWAIT 1000", 10),
        ("1000/h 1000 COST 1000", "1/h 10 ATMOST", 10),
    ] {
        c.ask::<()>("FLUSHALL");
        c.take(&format!("k {before}"));
        let logged = aof::count(&server, "PXAT");
        let [taken, _, _, wait_ms, reset_ms] = c.take(&format!("k {denied}"));
        assert_eq!(taken, 0, "{denied}");
        let hour = 3_600_000;
        let full = hours * hour;
        assert!(
            (full - hour..=full).contains(&reset_ms),
            "{denied}: {reset_ms} ms"
        );
        assert!(wait_ms > 0);
        let now_ms = i64::try_from(now() / 1_000_000).expect("a time");
        let left = expires_at(&mut c, "k") - now_ms;
        assert_a_sixteenth_longer(left, reset_ms, 10 * hour);
        assert_eq!(aof::count(&server, "PXAT"), logged + 1, "{denied}");
        replica.wait_for(&server);
        assert_equal(&server.contents(), &replica.contents());
        // The next one has nothing left to move.
        assert_eq!(c.take(&format!("k {denied}"))[0], 0);
        assert_eq!(aof::count(&server, "PXAT"), logged + 1, "{denied}");
    }
}

/// However many other keys are remembered.
#[test]
fn denied_call_keeps_its_bucket_among_very_many_keys() {
    let server = launch().start();
    let mut c = server.connection();
    let script = "for n = 1, 300000 do redis.call('RL.TAKE', 'other:' .. n, '1/h', '1') end";
    c.call::<()>(&["EVAL", script, "0"]);
    for n in 0..50 {
        let key = format!("k{n}");
        c.take(&format!("{key} 1 1000 COST 1000"));
        let [taken, .., reset_ms] = c.take(&format!("{key} 1/h 10"));
        assert_eq!(taken, 0);
        let left = expires_at(&mut c, &key) - i64::try_from(now() / 1_000_000).expect("a time");
        assert_a_sixteenth_longer(left, reset_ms, 36_000_000);
    }
}

/// Only an expiry that is too early is changed: a denied call never makes a key expire earlier.
#[test]
fn denied_call_under_a_higher_rate_keeps_the_expiry() {
    let server = launch().start();
    let mut c = server.connection();
    c.take("k 1/h 10 COST 10");
    let before = (stored(&mut c, "k"), expires_at(&mut c, "k"));
    assert_eq!(c.take("k 2/h 10")[0], 0);
    assert_eq!((stored(&mut c, "k"), expires_at(&mut c, "k")), before);
}

/// All of a transaction, or of a script, is at one time, and so is what is stored.
#[test]
fn denied_call_keeps_a_bucket_written_by_two_limits_in_one_transaction() {
    let server = launch().start();
    let mut c = server.connection();
    let mut transaction = redis::pipe();
    transaction.atomic();
    for words in ["k 1/h 10 COST 10", "k 1000/h 1000 COST 1000 FORCE"] {
        let words: Vec<_> = words.split(' ').collect();
        transaction.cmd("RL.TAKE").arg(words);
    }
    let _: Value = transaction.query(&mut c).expect("replies");
    let [taken, _, _, _, reset_ms] = c.take("k 1/h 10");
    assert_eq!(taken, 0);
    let now_ms = i64::try_from(now() / 1_000_000).expect("a time");
    let left = expires_at(&mut c, "k") - now_ms;
    assert_a_sixteenth_longer(left, reset_ms, 36_000_000);
}

/// The same key may be in several databases.
#[test]
fn denied_call_keeps_a_bucket_that_is_also_in_another_database() {
    let server = launch().start();
    let mut c = server.connection();
    let mut transaction = redis::pipe();
    transaction.atomic();
    transaction
        .cmd("RL.TAKE")
        .arg(&["k", "1000/h", "1000", "COST", "1000"]);
    transaction.cmd("SELECT").arg(1);
    transaction
        .cmd("RL.TAKE")
        .arg(&["k", "1/h", "10", "COST", "10"]);
    transaction.cmd("SELECT").arg(0);
    let _: Value = transaction.query(&mut c).expect("replies");
    let [taken, _, _, _, reset_ms] = c.take("k 1/h 10");
    assert_eq!(taken, 0);
    let now_ms = i64::try_from(now() / 1_000_000).expect("a time");
    let left = expires_at(&mut c, "k") - now_ms;
    assert_a_sixteenth_longer(left, reset_ms, 36_000_000);
}
