//! Takes survive the death of a server, and are not charged twice.

use std::time::{Duration, Instant};

use redis::Value;

use crate::common::{wait_until, Launch, Server};
use crate::support::aof;
use crate::support::node::{assert_equal, launch, Contents};
use crate::support::takers::{assert_between, Takers};
use crate::support::traffic::{self, Dice, Traffic};

fn with_aof(policy: &str) -> Launch {
    launch().with(&["--appendonly", "yes", "--appendfsync", policy])
}

/// Microseconds for each key of a snapshot. It then takes some tenths of a second, so that calls come
/// in the meantime.
const SNAPSHOT_DELAY: u64 = 2_000;

/// Kills it, starts it again, and compares.
fn assert_survives(server: &mut Server) -> Contents {
    let before = server.contents();
    server.restart();
    assert_equal(&before, &server.contents());
    before
}

#[test]
fn aof_always_loses_nothing() {
    let mut server = with_aof("always").start();
    for crash in 0..3 {
        let traffic = Traffic::on(&server, crash);
        let takers = Takers::on(&server);
        takers.pass(500);
        server.kill();
        let (taken, most) = takers.stop();
        traffic.stop();
        server.restart();
        assert_between(&server, &taken, &most);
        let () = server.ask("FLUSHALL");
    }
}

#[test]
fn aof_rewrite_loses_nothing() {
    let mut server = with_aof("always").start();
    traffic::run(&server, &mut Dice::new(10), 500);
    let takers = Takers::on(&server);
    let traffic = Traffic::on(&server, 11);
    take_while_it_is_rewritten(&server, &takers, 200);
    server.wait_for_rewrite();
    take_while_it_is_rewritten(&server, &takers, 100);
    server.kill();
    let (taken, most) = takers.stop();
    traffic.stop();
    server.restart();
    assert_between(&server, &taken, &most);
    assert_survives(&mut server);
}

/// Rewrites the AOF while `tokens` tokens are taken. Where the calls take longer than the rewrite, the
/// next rewrite is slower.
fn take_while_it_is_rewritten(server: &Server, takers: &Takers, tokens: i64) {
    let mut delay = SNAPSHOT_DELAY;
    wait_until("the rewrite takes longer than the calls", || {
        server.wait_for_rewrite();
        takers.pass(100);
        let () = server.ask(&format!("CONFIG SET rdb-key-save-delay {delay}"));
        delay *= 2;
        let _: Value = server.ask("BGREWRITEAOF");
        takers.pass(tokens);
        server.count("aof_rewrite_in_progress") == 1
    });
}

/// A write waits for a sync in progress, at most two seconds.
#[test]
fn aof_everysec_loses_no_more_than_its_policy() {
    let mut server = with_aof("everysec").start();
    let takers = Takers::on(&server);
    takers.pass(1_000);
    let _: Value = server.ask("BGREWRITEAOF");
    takers.pass(1_000);
    let (least, since) = (takers.taken(), Instant::now());
    let grace = Duration::from_millis(2_500);
    wait_until("the policy has to have written", || since.elapsed() > grace);
    // The server writes before it replies, unless it may still wait.
    let _: String = server.ask("PING");
    server.kill();
    let (_, most) = takers.stop();
    server.restart();
    assert_between(&server, &least, &most);
}

#[test]
fn aof_turned_on_under_load_is_complete() {
    let mut server = launch().with(&["--appendfsync", "always"]).start();
    traffic::run(&server, &mut Dice::new(12), 500);
    let () = server.ask(&format!("CONFIG SET rdb-key-save-delay {SNAPSHOT_DELAY}"));
    let takers = Takers::on(&server);
    let traffic = Traffic::on(&server, 13);
    takers.pass(500);
    // The AOF then has to wait for another snapshot.
    let _: Value = server.ask("BGSAVE");
    let () = server.ask("CONFIG SET appendonly yes");
    takers.pass(100);
    server.wait_for_rewrite();
    takers.pass(100);
    server.kill();
    let (taken, most) = takers.stop();
    traffic.stop();
    server.restart_as(with_aof("always"));
    assert_between(&server, &taken, &most);
    assert_survives(&mut server);
}

/// The AOF's base snapshot is taken after the first call, before the call is logged.
#[test]
fn aof_turned_on_in_a_transaction_charges_once() {
    let mut server = launch().with(&["--appendfsync", "always"]).start();
    server.take("before 1/d 10");
    let mut pipe = redis::pipe();
    pipe.atomic();
    for n in ["within", "around"] {
        pipe.cmd("RL.TAKE").arg(&[n, "1/d", "10"]);
    }
    pipe.cmd("CONFIG").arg(&["SET", "appendonly", "yes"]);
    pipe.cmd("RL.TAKE").arg(&["around", "1/d", "10"]);
    let _: Value = pipe.query(&mut server.connection()).expect("a reply");
    server.wait_for_rewrite();
    let before = server.contents();
    assert_eq!(before.len(), 3);
    server.restart_as(with_aof("always"));
    assert_equal(&before, &server.contents());
}

/// Most effects leave the expiry as it is, and the log may end anywhere: no key may then lack its
/// expiry, or be as it never was.
#[test]
fn truncated_aof_restores_the_state_after_an_earlier_call() {
    let mut server = with_aof("always").start();
    let mut states = vec![Contents::new()];
    for n in 0..40 {
        let call = match n % 5 {
            0 => "RL.TAKE bucket 100/h 1000 COST 5".to_owned(),
            1 => "RL.WTAKE fixed 100 30d".to_owned(),
            2 => "RL.WTAKE sliding 100 SLIDING 30d".to_owned(),
            3 => format!("RL.ACQUIRE leases 99 1d token{n}"),
            _ => "RL.ALL 2 bucket other BUCKET 100/h 1000 BUCKET 100/h 1000".to_owned(),
        };
        let _: Value = server.ask(&call);
        states.push(server.contents());
    }
    assert!(aof::count(&server, "KEEPTTL") > 0);
    let mut latest = states.len() - 1;
    for _ in 0..8 {
        server.kill();
        aof::truncate(&server);
        server.restart();
        let found = server.contents();
        let state = states.iter().rposition(|state| *state == found);
        let state = state.expect("the state after one of the calls");
        assert!(state < latest, "{state}, and {latest} before");
        latest = state;
    }
    assert!(latest > 0);
}

#[test]
fn bucket_refills_while_the_server_is_down() {
    let mut server = with_aof("always").start();
    let earliest = Instant::now();
    let taken = server.take("bucket 1000 1000000 COST 1000000");
    assert_eq!(taken[0], 1_000_000);
    let latest = Instant::now();
    server.restart();
    let least = latest.elapsed();
    let [_, _, level, ..]: [i64; 5] = server.ask("RL.PEEK bucket 1000 1000000");
    let most = earliest.elapsed();
    // A token a millisecond.
    let range = least.as_millis() as i64 - 1..=most.as_millis() as i64 + 1;
    assert!(range.contains(&level), "{level}, not {range:?}");
}

#[test]
fn rdb_contains_every_bucket() {
    let mut server = launch().start();
    traffic::run(&server, &mut Dice::new(14), 1_000);
    let () = server.ask("SAVE");
    assert!(assert_survives(&mut server).len() > 50);
}

/// A take counts as a change; a denied call does not.
#[test]
fn changes_count_for_save_points() {
    let mut server = launch().start();
    server.take("bucket 1/d 1");
    assert_eq!(server.count("rdb_changes_since_last_save"), 1);
    for denied in [
        "RL.TAKE bucket 1/d 1",
        "RL.PEEK bucket 1/d 1",
        "RL.GIVE full 1/d 1",
        "RL.WTAKE window 0 DAY",
        "RL.WPEEK window 1 DAY",
        "RL.WGIVE window 1 SLIDING 1h",
    ] {
        let _: Value = server.ask(denied);
        assert_eq!(server.count("rdb_changes_since_last_save"), 1, "{denied}");
    }
    let _: Value = server.ask("RL.WTAKE window 1 30d");
    let _: Value = server.ask("RL.WTAKE sliding 1 SLIDING 30d");
    assert_eq!(server.count("rdb_changes_since_last_save"), 3);
    let () = server.call(&["CONFIG", "SET", "save", "1 1"]);
    wait_until("it is saved", || {
        server.count("rdb_changes_since_last_save") == 0
    });
    server.wait_for_no_save();
    assert_survives(&mut server);
}

#[test]
fn changes_of_leases_and_holds_count_for_save_points() {
    let server = launch().start();
    let mut saved = 0;
    for call in [
        "RL.ACQUIRE lease 2 1h a",
        "RL.RENEW lease 2h a",
        "RL.RELEASE lease a",
        "RL.ALL 2 window holds WINDOW 9 30d HOLD 1h id",
        "RL.SETTLE 2 window holds WINDOW 9 30d USED 0 HOLD id",
        "RL.SETTLE 2 window holds WINDOW 9 30d USED 0 HOLD unknown",
    ] {
        let _: Value = server.ask(call);
        let changes = server.count("rdb_changes_since_last_save");
        assert!(changes > saved, "{call}");
        saved = changes;
        // Repeated, or with a shorter time, these change nothing.
        let repeated = call.replace("2h", "1h");
        let _: Value = server.ask(&repeated);
        if !call.starts_with("RL.A") {
            assert_eq!(server.count("rdb_changes_since_last_save"), saved, "{call}");
        }
    }
}

#[test]
fn a_server_without_the_module_loads_snapshot_and_aof() {
    for aof in ["no", "yes"] {
        let setup = launch().with(&["--appendonly", aof]);
        let mut server = setup.clone().start();
        traffic::run(&server, &mut Dice::new(15), 1_000);
        let () = server.ask("SAVE");
        let before = server.contents();
        server.restart_as(setup.clone().without_module());
        assert_equal(&before, &server.contents());
        server.restart_as(setup);
        assert_equal(&before, &server.contents());
    }
}

/// The usage is kept, even if a window ends while the server is down.
#[test]
fn windows_survive_a_restart() {
    let mut server = with_aof("always").start();
    let takes = ["RL.WTAKE fixed 5 30d", "RL.WTAKE sliding 5 SLIDING 30d"];
    for take in takes {
        let _: Value = server.ask(&format!("{take} COST 3"));
    }
    let _: Value = server.ask("RL.WTAKE short 5 300ms COST 5");
    let ended = Instant::now();
    server.kill();
    let window = Duration::from_millis(300);
    wait_until("the short window has ended", || ended.elapsed() > window);
    server.restart();
    for take in takes {
        let reply: [i64; 5] = server.ask(take);
        assert_eq!(reply[..3], [1, 5, 1], "{take}");
    }
    let _: Value = server.ask("DEBUG RELOAD");
    for take in takes {
        let reply: [i64; 5] = server.ask(&format!("{take} COST 2"));
        assert_eq!(reply[..3], [0, 5, 1], "{take}");
    }
    let reply: [i64; 5] = server.ask("RL.WTAKE short 5 300ms");
    assert_eq!(reply[..3], [1, 5, 4]);
}

#[test]
fn dump_restore_copy_and_rename_work_on_limits() {
    for (take, left) in [
        ("RL.TAKE {} 1/d 5 COST", "RL.TAKE c 1/d 5"),
        ("RL.WTAKE {} 5 30d COST", "RL.WTAKE c 5 YEAR"),
        ("RL.WTAKE {} 5 SLIDING 30d COST", "RL.WTAKE c 5 SLIDING 30d"),
    ] {
        assert_moves(take, left);
    }
}

/// Checks DUMP, RESTORE and so on for `take` on `{}`, whose limit is five, and `take_more` on the
/// key `c`.
fn assert_moves(take: &str, take_more: &str) {
    let server = launch().start();
    let other = launch().without_module().start();
    let take = |key: &str, cost: &str| format!("{} {cost}", take.replace("{}", key));
    let _: Value = server.ask(&take("a", "2"));
    let bucket = server.contents()[&b"a"[..]].clone();

    let _: Value = server.ask("COPY a b");
    let _: Value = server.ask("RENAME a c");
    let dump: Vec<u8> = server.ask("DUMP b");
    let at = bucket.1.to_string();
    let mut restore = redis::cmd("RESTORE");
    restore.arg("d").arg(&at).arg(dump).arg("ABSTTL");
    let () = restore.query(&mut server.connection()).expect("a reply");
    let expected = ["b", "c", "d"].map(|key| (key.as_bytes().to_vec(), bucket.clone()));
    assert_equal(&Contents::from(expected), &server.contents());

    let port = other.port().to_string();
    let () = server.call(&["MIGRATE", "127.0.0.1", &port, "b", "0", "60000"]);
    let (value, expires_at) = other.contents()[&b"b"[..]].clone();
    assert_eq!(value, bucket.0);
    // The server sends the time left.
    assert!((0..60_000).contains(&(expires_at - bucket.1)));

    let mut connection = server.connection();
    let _: Value = redis::cmd("MOVE")
        .arg("c")
        .arg(1)
        .query(&mut connection)
        .expect("a reply");
    let _: Value = redis::cmd("SELECT")
        .arg(1)
        .query(&mut connection)
        .expect("a reply");
    let mut call = redis::Cmd::new();
    let reply: [i64; 5] = call
        .arg(take_more.split(' ').collect::<Vec<_>>())
        .query(&mut connection)
        .expect("a reply");
    assert_eq!(reply[..3], [1, 5, 2]);
    let reply: [i64; 5] = server.ask(&take("d", "4"));
    assert_eq!(reply[..3], [0, 5, 3]);
}
