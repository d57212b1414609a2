//! A server whose memory is used up.

use std::thread;

use redis::{Connection, Value};

use crate::common::{until, wait_until, Server};
use crate::support::node::{assert_equal, launch};
use crate::support::{call, knows, Ask, Reply};

/// Sets a memory limit that suffices for the server itself and some thousand keys.
fn limit_memory(server: &Server, policy: &str) {
    let limit = (server.count("used_memory") + 3_000_000).to_string();
    let () = server.call(&["CONFIG", "SET", "maxmemory-policy", policy]);
    let () = server.call(&["CONFIG", "SET", "maxmemory", &limit]);
}

/// Stores strings until there is no room for another, then lowers the limit a little, since what
/// the server needs for a call comes and goes.
fn fill(server: &Server, c: &mut Connection) {
    for n in 0..100_000 {
        let mut set = redis::cmd("SET");
        set.arg(format!("filler:{n}")).arg(vec![b'x'; 10_000]);
        if let Err(error) = set.query::<Value>(c) {
            assert_eq!(error.code(), Some("OOM"), "{error}");
            let limit = (server.count("maxmemory") - 1_000_000).to_string();
            return server.call(&["CONFIG", "SET", "maxmemory", &limit]);
        }
    }
    panic!("memory is never used up");
}

fn take_from(c: &mut Connection, key: &str) -> [i64; 5] {
    c.take(&format!("{key} 1/d 10"))
}

#[test]
fn noeviction_keeps_existing_buckets_and_denies_new_ones() {
    let server = launch().start();
    let replica = server.attach(launch());
    let mut c = server.connection();
    for key in ["old", "older"] {
        assert_eq!(take_from(&mut c, key)[..3], [1, 10, 9]);
    }
    let windows = ["fixed 10 30d", "sliding 10 SLIDING 30d"];
    for window in windows {
        c.ask::<()>(&format!("RL.WTAKE {window}"));
    }
    limit_memory(&server, "noeviction");
    fill(&server, &mut c);

    assert_eq!(take_from(&mut c, "old")[..3], [1, 10, 8]);
    let new = [
        "RL.TAKE new 1/d 10",
        "RL.TAKE new 1/d 10 COST 11 FORCE",
        "RL.MTAKE 2 old 1/d 10 new 1/d 10",
        "RL.MTAKE 2 new 1/d 10 old 1/d 10",
        "CL.THROTTLE new 9 1 86400",
        "RL.WTAKE new 10 DAY",
        "RL.WTAKE new 10 1h COST 11 FORCE",
        "RL.WTAKE new 10 SLIDING 1h",
    ];
    for call in new {
        let error = c.error(call);
        assert!(error.starts_with("OOM "), "{call}: {error}");
    }
    assert!(!c.ask::<bool>("EXISTS new"));
    // No bucket was charged by the denied calls.
    assert_eq!(take_from(&mut c, "old")[..3], [1, 10, 7]);

    for (call, reply) in [
        ("RL.WTAKE", [1, 10, 8]),
        ("RL.WGIVE", [1, 10, 9]),
        ("RL.WPEEK", [1, 10, 9]),
    ] {
        for window in windows {
            let found: Reply = c.ask(&format!("{call} {window}"));
            assert_eq!(found[..3], reply, "{call} {window}");
        }
    }
    // Its memory is that of the length before.
    assert_eq!(
        c.ask::<Reply>("RL.WTAKE sliding 10 SLIDING 1h")[..3],
        [1, 10, 8]
    );
    assert_eq!(c.ask::<Reply>("RL.WPEEK new 10 DAY"), [1, 10, 10, 0, 0]);
    assert_eq!(
        c.ask::<Reply>("RL.WTAKE new 10 DAY COST 11"),
        [0, 10, 10, -1, 0]
    );
    let peeked: [i64; 5] = c.ask("RL.PEEK new 1/d 10");
    assert_eq!(peeked[..3], [1, 10, 10]);
    let given: [i64; 5] = c.ask("RL.GIVE old 1/d 10 COST 2");
    assert_eq!(given[..3], [2, 10, 9]);
    let (taken, ..): (i64, i64, Value) = c.ask("RL.MTAKE 2 old 1/d 10 older 1/d 10");
    assert_eq!(taken, 1);
    assert_eq!(take_from(&mut c, "older")[..3], [1, 10, 7]);
    assert_same_in_peace(&server, &replica);
}

/// Reading the contents takes memory too, which must not evict anything.
fn assert_same_in_peace(server: &Server, replica: &Server) {
    let () = server.ask("CONFIG SET maxmemory 0");
    replica.wait_for(server);
    assert_equal(&server.contents(), &replica.contents());
}

/// Takes once from each of `buckets` buckets.
fn spread(c: &mut Connection, buckets: usize) {
    let buckets: Vec<_> = (0..buckets).collect();
    // In parts, since what is waiting to be sent takes memory too.
    for part in buckets.chunks(500) {
        let mut pipe = redis::pipe();
        for n in part {
            pipe.cmd("RL.TAKE")
                .arg(format!("b:{n}"))
                .arg(&["1/d", "10"]);
        }
        let replies: Vec<[i64; 5]> = pipe.query(c).expect("no call fails");
        assert!(replies.iter().all(|reply| reply[..3] == [1, 10, 9]));
    }
}

/// Checks that a second take finds 8 left in each bucket that was not evicted, and 9 in the others.
fn assert_full_if_evicted(c: &mut Connection, buckets: usize) {
    let mut evicted = 0;
    for n in (0..buckets).step_by(7) {
        let key = format!("b:{n}");
        let stays = c.call::<bool>(&["EXISTS", &key]);
        let remaining = take_from(c, &key)[2];
        evicted += i32::from(remaining == 9);
        // The take itself may be what the bucket is evicted for.
        assert!(
            remaining == 9 || (stays && remaining == 8),
            "{key}: {remaining}"
        );
    }
    assert!(evicted > 0);
}

#[test]
fn evicted_bucket_is_full_again() {
    const BUCKETS: usize = 60_000;
    for policy in ["allkeys-lru", "volatile-ttl"] {
        // The backlog would grow into the memory for the keys.
        let server = launch().with(&["--repl-backlog-size", "100000"]).start();
        let replica = server.attach(launch());
        let mut c = server.connection();
        let () = c.ask("SET lasting value");
        limit_memory(&server, policy);
        spread(&mut c, BUCKETS);
        assert!(server.count("evicted_keys") > 0, "{policy}");
        assert_full_if_evicted(&mut c, BUCKETS);
        if policy == "volatile-ttl" {
            assert_eq!(c.ask::<String>("GET lasting"), "value");
        }
        assert_same_in_peace(&server, &replica);
    }
}

/// `[taken, wait_ms, [five integers for each bucket]]`.
type Replies = (i64, i64, Vec<Reply>);

/// If the first buckets of a call use up the memory, the others are written too. Redis 6.2 reports
/// the memory at that moment, not as of the start of the call.
#[test]
fn rl_mtake_completes_when_memory_runs_out_and_the_next_is_denied() {
    const BUCKETS: i64 = 128;
    let server = Server::with(&["--maxmemory-policy", "noeviction"]);
    let mut c = server.connection();
    // Wherever in a call it ends, one of them ends it there.
    for more in [0, 5_000, 10_000, 15_000] {
        c.ask::<()>("CONFIG SET maxmemory 0");
        c.ask::<()>("FLUSHALL");
        let limit = (server.count("used_memory") + 200_000 + more).to_string();
        c.call::<()>(&["CONFIG", "SET", "maxmemory", &limit]);
        let mut taken = 0;
        let refused = until("memory is used up", || {
            let mut command = call("RL.MTAKE", &[BUCKETS]);
            for key in taken * BUCKETS..(taken + 1) * BUCKETS {
                command.arg(key).arg(&["1/d", "5"]);
            }
            let refused = command.query::<Replies>(&mut c).err();
            taken += i64::from(refused.is_none());
            refused
        });
        assert_eq!(refused.code(), Some("OOM"), "{refused}");
        assert!(taken > 0);
        assert_eq!(c.ask::<i64>("DBSIZE"), taken * BUCKETS);
    }
}

/// By the server's own rule such a script needs `allow-oom`, whatever it calls.
#[test]
fn scripts_need_allow_oom_at_maxmemory() {
    let server = launch().start();
    let mut c = server.connection();
    let run = "return redis.call('RL.TAKE', 'old', '1/d', '10')";
    c.take("old 1/d 10");
    let functions = knows(&mut c, &["FUNCTION", "LIST"]);
    if functions {
        let library = "#!lua name=limits
            redis.register_function('strict', function() return redis.call('RL.TAKE', 'old', '1/d', '10') end)
            redis.register_function{function_name='easy', flags={'allow-oom'},
                callback=function() return redis.call('RL.TAKE', 'old', '1/d', '10') end}";
        c.call::<()>(&["FUNCTION", "LOAD", library]);
    }
    c.ask::<()>("CONFIG SET maxmemory-policy noeviction");
    c.ask::<()>("CONFIG SET maxmemory 1");
    assert_eq!(c.call::<Reply>(&["EVAL", run, "0"])[0], 1);
    if !functions {
        return;
    }
    let strict = format!("#!lua\n{run}");
    for refused in [
        call("EVAL", &[&strict, "0"]),
        call("FCALL", &["strict", "0"]),
    ] {
        let error = c.error_of(&refused);
        assert!(error.starts_with("OOM "), "{error}");
    }
    let easy = format!("#!lua flags=allow-oom\n{run}");
    assert_eq!(c.call::<Reply>(&["EVAL", &easy, "0"])[0], 1);
    assert_eq!(c.ask::<Reply>("FCALL easy 0")[0], 1);
}

/// INFO may be renamed away, and costs as much as three takes.
#[test]
fn new_bucket_that_evicts_another_is_admitted_without_info() {
    for (policy, db) in [("allkeys-lru", "0"), ("volatile-ttl", "9")] {
        let server = launch().start();
        let mut c = server.connection();
        c.call::<()>(&["SELECT", db]);
        limit_memory(&server, policy);
        spread(&mut c, 60_000);
        assert!(server.count("evicted_keys") > 0, "{policy}");
        let stats: String = server.ask("INFO commandstats");
        let mut lines = stats.lines();
        let calls = lines.find_map(|line| line.strip_prefix("cmdstat_info:calls="));
        let calls = calls.and_then(|line| line.split(',').next()?.parse::<u64>().ok());
        assert!(calls.expect("the test's own") < 100, "{policy}: {calls:?}");
    }
}

/// The bucket is full again after each pair of calls and is not stored, so no key has an expiry.
#[test]
fn new_bucket_that_evicts_a_key_without_an_expiry_is_admitted() {
    let server = launch().start();
    let mut c = server.connection();
    limit_memory(&server, "allkeys-lru");
    for part in 0..60 {
        let mut pipe = redis::pipe();
        for n in 0..500 {
            let key = format!("lasting:{part}:{n}");
            pipe.cmd("SET").arg(key).arg("x".repeat(100)).ignore();
            pipe.cmd("RL.TAKE").arg(&["b", "1/d", "1"]);
            // A full bucket is not stored.
            pipe.cmd("RL.GIVE").arg(&["b", "1/d", "1"]).ignore();
        }
        let replies: Vec<Reply> = pipe.query(&mut c).expect("no call fails");
        assert!(replies.iter().all(|reply| reply[0] == 1));
    }
    assert!(server.count("evicted_keys") > 0);
}

/// A bucket that is evicted at once would not limit anything.
#[test]
fn new_bucket_is_denied_if_nothing_can_be_evicted() {
    for policy in [
        "volatile-lru",
        "volatile-ttl",
        "volatile-random",
        "volatile-lfu",
        "allkeys-lru",
    ] {
        // With a limit on the time for an eviction, a server that stalls in one accepts a call.
        let unlimited = ["--maxmemory-eviction-tenacity", "100"];
        let server = launch().with(&unlimited).start();
        let mut c = server.connection();
        for n in 0..200 {
            c.call::<()>(&["SET".into(), format!("lasting:{n}"), "x".repeat(10_000)]);
        }
        c.call::<()>(&["CONFIG", "SET", "maxmemory-policy", policy]);
        // Less than the server takes without a key.
        c.ask::<()>("CONFIG SET maxmemory 500000");
        let mut allowed = 0;
        for _ in 0..10 {
            let take = call("RL.TAKE", &["k", "1/h", "1"]);
            match take.query::<Reply>(&mut c) {
                Ok(reply) => allowed += reply[0],
                Err(error) => assert_eq!(error.code(), Some("OOM"), "{policy}: {error}"),
            }
        }
        assert!(allowed <= 1, "{policy}: {allowed} of 10 were allowed");
        let refused = call("SET", &["new", "x"]).query::<Value>(&mut c);
        assert_eq!(
            refused.expect_err("no room").code(),
            Some("OOM"),
            "{policy}"
        );
    }
}

/// The databases are searched for a key that can be evicted.
#[test]
fn call_without_memory_stays_in_its_database() {
    let server = launch().start();
    let mut c = server.connection();
    c.ask::<()>("SELECT 3");
    c.ask::<()>("CONFIG SET maxmemory-policy allkeys-lru");
    c.ask::<()>("CONFIG SET maxmemory 1");
    let error = c.error("RL.TAKE k 1/d 10");
    assert!(error.starts_with("OOM "), "{error}");
    let client: String = c.ask("CLIENT INFO");
    assert!(client.contains(" db=3 "), "{client}");
}

/// The list of databases, which has a line for each, tells the module if something can be evicted. To
/// read it once takes milliseconds; to read it for each database takes longer than a test may wait.
#[test]
fn refusal_of_a_new_bucket_reads_the_list_of_databases_once() {
    const DATABASES: usize = 20_000;
    let databases = DATABASES.to_string();
    let server = launch().with(&["--databases", &databases]).start();
    let mut c = server.connection();
    let mut spread = redis::pipe();
    for database in 0..DATABASES {
        spread.cmd("SELECT").arg(database).ignore();
        spread.cmd("SET").arg(&["k", "v"]).ignore();
    }
    let () = spread.query(&mut c).expect("replies");
    c.ask::<()>("CONFIG SET maxmemory-policy volatile-lru");
    c.ask::<()>("CONFIG SET maxmemory 500000");
    let call = thread::spawn(move || c.error("RL.TAKE new 1 2"));
    wait_until("the call is refused", || call.is_finished());
    let error = call.join().expect("an error");
    assert!(error.starts_with("OOM "), "{error}");
}
