//! Replicas hold what their master holds, byte for byte, whatever happened on the way.

use redis::Value;

use crate::common::{module, wait_until, Server};
use crate::support::node::{assert_equal, launch, Paused};
use crate::support::traffic::{self, Dice, Traffic};

/// Waits for the replica, then compares it with its master, key for key.
fn assert_same(master: &Server, replica: &Server) {
    replica.wait_for(master);
    let contents = master.contents();
    assert_equal(&contents, &replica.contents());
    for (key, (value, expires_at)) in &contents {
        assert!(*expires_at > 0, "{key:?} never expires");
        let held = match key.split(|&byte| byte == b':').next() {
            Some(b"fixed") => value.len() == 25,
            Some(b"sliding") => value.len() == 153,
            Some(b"slots") => value.starts_with(b"rl:leases 0 "),
            _ => value.len() == 16,
        };
        assert!(held, "{key:?}: {value:?}");
    }
}

/// Hangs the replica and cuts its connection, so that its master has none.
fn cut_off(replica: &Server, master: &Server) -> Paused {
    let paused = replica.pause();
    let _: i64 = master.ask("CLIENT KILL TYPE replica");
    wait_until("no replica is there", || {
        master.count("connected_slaves") == 0
    });
    paused
}

/// One replica from the start, one that is attached under load, cut off twice and promoted in
/// between, one behind another, and one without the module.
#[test]
fn random_calls_leave_master_and_replicas_equal() {
    // Calls that are made while a replica is away must not make its partial resync impossible.
    let master = launch().with(&["--repl-backlog-size", "256mb"]).start();
    let first = master.attach(launch());
    let traffic = Traffic::on(&master, 1);
    traffic.pass(1_000);

    let second = master.attach(launch());
    let without_module = first.attach(launch().without_module());
    traffic.pass(1_000);
    master.wait_for_no_save();
    let _: String = master.ask("BGSAVE");
    let _: i64 = master.ask("CLIENT KILL TYPE replica");
    traffic.pass(1_000);
    first.wait_for_link();

    let () = second.ask("REPLICAOF NO ONE");
    traffic::run(&second, &mut Dice::new(2), 500);
    second.replicate(&master);
    second.wait_for_link();
    traffic.pass(1_000);

    let paused = first.pause();
    let _: i64 = master.ask("CLIENT KILL TYPE replica");
    traffic.pass(1_000);
    paused.resume();
    first.wait_for_link();
    traffic.pass(5_000);

    let calls = traffic.stop();
    assert!(calls >= 10_000, "{calls} calls");
    assert!(master.count("sync_full") >= 3);
    assert!(master.count("sync_partial_ok") >= 1);
    assert_same(&master, &first);
    assert_same(&master, &second);
    assert_same(&first, &without_module);
}

/// A replica serves its own data while it loads its master's only if every module declares support
/// for that.
#[test]
fn replica_serves_its_data_until_the_sync_is_complete() {
    let master = launch().start();
    traffic::run(&master, &mut Dice::new(4), 300);
    let replica = master.attach(launch().with(&["--repl-diskless-load", "swapdb"]));
    assert_same(&master, &replica);
    let log = replica.log();
    assert!(!log.contains("Skipping diskless-load"), "{log}");
}

#[test]
fn disconnected_replica_receives_what_it_missed() {
    let master = launch().start();
    let replica = master.attach(launch());
    let mut dice = Dice::new(3);
    for cut in 1..=3 {
        traffic::run(&master, &mut dice, 300);
        let paused = cut_off(&replica, &master);
        traffic::run(&master, &mut dice, 300);
        paused.resume();
        assert_same(&master, &replica);
        assert_eq!(master.count("sync_partial_ok"), cut);
    }
    assert_eq!(master.count("sync_full"), 1);
}

#[test]
fn module_loaded_while_the_replica_is_away_feeds_it() {
    let master = launch().without_module().start();
    let replica = master.attach(launch());
    let paused = cut_off(&replica, &master);
    load_module(&master);
    traffic::run(&master, &mut Dice::new(4), 500);
    paused.resume();
    assert_same(&master, &replica);
    assert_eq!(master.count("sync_full"), 1);
}

#[test]
fn module_loaded_with_a_replica_feeds_it() {
    let master = launch().without_module().start();
    let replica = master.attach(launch());
    load_module(&master);
    traffic::run(&master, &mut Dice::new(5), 1_000);
    assert_same(&master, &replica);
}

fn load_module(server: &Server) {
    let path = module();
    let path = path.to_str().expect("UTF-8");
    let () = server.call(&["MODULE", "LOAD", path, "CL.THROTTLE"]);
}

#[test]
fn promoted_replica_feeds_its_sibling() {
    let mut master = launch().start();
    let heir = launch().start();
    let mut dice = Dice::new(6);
    // It had data of its own before.
    traffic::run(&heir, &mut dice, 100);
    heir.replicate(&master);
    heir.wait_for_link();
    let sibling = master.attach(launch());
    traffic::run(&master, &mut dice, 1_000);
    heir.wait_for(&master);
    sibling.wait_for(&master);
    master.kill();
    let () = heir.ask("REPLICAOF NO ONE");
    traffic::run(&heir, &mut dice, 500);
    sibling.replicate(&heir);
    traffic::run(&heir, &mut dice, 500);
    assert_same(&heir, &sibling);
    assert_eq!(heir.count("sync_full"), 0, "{}", heir.log());
    assert_eq!(heir.count("sync_partial_ok"), 1);
}

#[test]
fn first_replica_is_brought_up_to_date() {
    let master = launch().start();
    let traffic = Traffic::on(&master, 7);
    traffic.pass(2_000);
    let replica = master.attach(launch());
    traffic.pass(1_000);
    traffic.stop();
    assert_same(&master, &replica);
}

/// It lost its master before it received anything.
#[test]
fn replica_without_its_master_feeds_its_own_replicas() {
    let server = launch().start();
    let mut dice = Dice::new(8);
    traffic::run(&server, &mut dice, 300);
    let () = server.ask("REPLICAOF 127.0.0.1 1");
    let () = server.ask("REPLICAOF NO ONE");
    traffic::run(&server, &mut dice, 300);
    let replica = server.attach(launch());
    traffic::run(&server, &mut dice, 300);
    assert_same(&server, &replica);
}

/// Loads its own snapshot, and is still what its replicas take it for.
#[test]
fn restarted_master_continues_with_its_replica() {
    let mut master = launch().start();
    let replica = master.attach(launch());
    let mut dice = Dice::new(9);
    traffic::run(&master, &mut dice, 500);
    replica.wait_for(&master);
    master.wait_for_no_save();
    let () = master.ask("SAVE");
    master.restart();
    traffic::run(&master, &mut dice, 500);
    replica.wait_for_link();
    traffic::run(&master, &mut dice, 500);
    assert_same(&master, &replica);
}

/// Limits that are exhausted for hours, and calls that are denied, refund to full limits, or peek.
#[test]
fn unchanged_state_replicates_nothing() {
    const CALLS: &[&str] = &[
        "RL.TAKE empty 1/h 2",
        "RL.TAKE empty 1/h 2 COST 2",
        "RL.TAKE empty 1/h 2 COST 3",
        "RL.TAKE empty 1/h 2 ATMOST",
        "RL.TAKE empty 1/h 2 MAXWAIT 1000",
        "RL.TAKE full 1/h 2 COST 3 MAXWAIT 1000",
        "RL.TAKE owing 1/h 2",
        "RL.PEEK empty 1/h 2",
        "RL.PEEK full 1/h 2",
        "RL.PEEK owing 1/h 2 COST 2",
        "RL.GIVE full 1/h 2",
        "RL.MTAKE 2 full 1/h 2 empty 1/h 2",
        "RL.MTAKE 2 full 1/h 2 fuller 1/h 2 COST 3",
        "CL.THROTTLE empty 1 1 3600",
        "CL.THROTTLE empty 1 1 3600 0",
        "CL.THROTTLE full 1 1 3600 0",
        "RL.WTAKE fixed: 2 9h",
        "RL.WTAKE fixed: 2 1h COST 2",
        "RL.WTAKE fixed: 2 DAY ATMOST",
        "RL.WTAKE fixed: 9 MONTH KEEP 8",
        "RL.WTAKE fixed: 2 YEAR COST 3",
        "RL.WTAKE sliding: 2 SLIDING 9h",
        "RL.WTAKE sliding: 2 SLIDING 9h ATMOST",
        "RL.WTAKE unused 2 DAY COST 3",
        "RL.WTAKE unused 2 SLIDING 1h COST 3",
        "RL.WPEEK fixed: 2 9h",
        "RL.WPEEK sliding: 2 SLIDING 9h",
        "RL.WPEEK sliding: 2 SLIDING 1h",
        "RL.WPEEK unused 2 DAY",
        "RL.WGIVE unused 2 DAY",
        "RL.WGIVE unused 2 SLIDING 1h",
        "RL.WGIVE fixed: 2 9h AT 100000000000",
        "RL.WGIVE sliding: 2 SLIDING 9h AT 100000000000",
        "RL.WGIVE sliding: 2 SLIDING 1h AT 100000000000",
    ];
    let master = launch().start();
    let replica = master.attach(launch());
    master.take("empty 1/h 2 COST 2");
    master.take("owing 1/h 2 COST 9 FORCE");
    let _: Value = master.ask("RL.WTAKE fixed: 2 9h COST 2");
    let _: Value = master.ask("RL.WTAKE sliding: 2 SLIDING 9h COST 2");
    let before = (master.offset(), master.contents());
    for call in CALLS {
        let _: Value = master.ask(call);
        assert_eq!(master.offset(), before.0, "{call}");
    }
    for wrapped in [in_a_script, in_a_transaction] {
        // Redis 6.2 ships the empty transaction around any command that might have written.
        let nothing = wrapped(&master, "SETNX empty x");
        for call in CALLS {
            let shipped = wrapped(&master, call);
            assert!(
                shipped == 0 || shipped == nothing,
                "{call}: {shipped} bytes"
            );
        }
    }
    assert_eq!(master.contents(), before.1);
    assert_same(&master, &replica);
}

/// Bytes that a call in a script ships.
fn in_a_script(master: &Server, call: &str) -> i64 {
    let mut eval = redis::cmd("EVAL");
    eval.arg("return redis.call(unpack(ARGV))").arg(0);
    eval.arg(call.split(' ').collect::<Vec<_>>());
    let before = master.offset();
    let _: Value = eval.query(&mut master.connection()).expect("an answer");
    master.offset() - before
}

/// Bytes that a call in a transaction ships.
fn in_a_transaction(master: &Server, call: &str) -> i64 {
    let mut pipe = redis::pipe();
    let words: Vec<_> = call.split(' ').collect();
    pipe.atomic().cmd(words[0]).arg(&words[1..]);
    let before = master.offset();
    let _: Value = pipe.query(&mut master.connection()).expect("an answer");
    master.offset() - before
}
