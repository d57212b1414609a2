//! RL.MTAKE takes from every bucket or from none.

use std::thread;

use redis::{Cmd, Connection, Value};

use crate::calls::{ask, call, error_of, expires_at, info, take, Reply, HOUR_MS, SLOW};
use crate::common::{until, wait_until, Server};

/// `[taken, wait_ms, [five integers for each bucket]]`.
type Replies = (i64, i64, Vec<Reply>);

fn mtake(c: &mut Connection, arguments: &[&str]) -> Replies {
    ask(c, "RL.MTAKE", arguments)
}

/// A call on so many buckets of 5.
fn many(count: usize) -> Cmd {
    let mut command = call("RL.MTAKE", &[count]);
    for key in 0..count {
        command.arg(format!("k{key}")).arg(&[SLOW, "5"]);
    }
    command
}

#[test]
fn it_takes_from_every_bucket() {
    let server = Server::start();
    let mut c = server.connection();
    let day = 24 * HOUR_MS;
    let both = ["2", "second", "10", "3", "day", "1/d", "100", "COST", "2"];
    let expected = vec![[2, 3, 1, 0, 200], [2, 100, 98, 0, 2 * day]];
    assert_eq!(mtake(&mut c, &both), (2, 0, expected));
    assert_eq!(take(&mut c, &["day", "1/d", "100"])[2], 97);
    assert_eq!(
        mtake(&mut c, &["1", "one", SLOW, "5"]),
        (1, 0, vec![[1, 5, 4, 0, day]])
    );
}

#[test]
fn where_one_has_too_few_none_is_touched() {
    let server = Server::start();
    let mut c = server.connection();
    take(&mut c, &["some", SLOW, "5"]);
    take(&mut c, &["few", "1/h", "5", "COST", "4"]);
    let look = |c: &mut Connection| {
        let values: Vec<Option<Vec<u8>>> = ask(c, "MGET", &["some", "few", "new"]);
        let expiries = ["some", "few", "new"].map(|key| expires_at(c, key));
        (values, expiries, info(c, "rdb_changes_since_last_save"))
    };
    let before = look(&mut c);
    let all = [
        "3", "some", SLOW, "5", "few", "1/h", "5", "new", SLOW, "5", "COST", "2",
    ];
    let (taken, wait_ms, each) = mtake(&mut c, &all);
    assert_eq!(taken, 0);
    assert!(
        (HOUR_MS - 60_000..=HOUR_MS).contains(&wait_ms),
        "wait {wait_ms} ms"
    );
    let inside: Vec<_> = each.iter().map(|r| (r[0], r[2], r[3])).collect();
    assert_eq!(inside[0], (2, 4, 0), "has enough alone");
    assert_eq!((inside[1].0, inside[1].1), (0, 1), "has too few");
    assert!((0..=60_000).contains(&(inside[1].2 - wait_ms).abs()));
    assert_eq!(inside[2], (2, 5, 0), "is full");
    let never = ["2", "some", SLOW, "5", "new", SLOW, "1", "COST", "2"];
    assert_eq!(mtake(&mut c, &never).1, -1, "a burst below the cost");
    assert_eq!(look(&mut c), before);
}

#[test]
fn clients_at_once_get_exactly_what_the_smallest_holds() {
    let server = Server::start();
    let client = || {
        let mut c = server.connection();
        let calls = (0..5).map(|_| mtake(&mut c, &["2", "a", SLOW, "30", "b", SLOW, "50"]).0);
        calls.sum::<i64>()
    };
    let admitted: i64 = thread::scope(|scope| {
        let clients: Vec<_> = (0..20).map(|_| scope.spawn(client)).collect();
        clients
            .into_iter()
            .map(|client| client.join().expect("a count"))
            .sum()
    });
    assert_eq!(admitted, 30);
    let left: Reply = ask(&mut server.connection(), "RL.PEEK", &["b", SLOW, "50"]);
    assert_eq!(
        (left[0], left[2]),
        (1, 19),
        "20 are left, of which one would be taken"
    );
}

#[test]
fn a_hundred_and_twenty_eight_buckets_fit_a_call() {
    let server = Server::start();
    let mut c = server.connection();
    let (taken, _, each): Replies = many(128).query(&mut c).expect("a reply");
    assert_eq!((taken, each.len()), (1, 128));
    assert!(each.iter().all(|reply| reply[..3] == [1, 5, 4]));
    let error = error_of(&mut c, &many(129));
    assert!(error.starts_with("ERR numkeys must be"), "{error}");
    assert_eq!(ask::<i64>(&mut c, "DBSIZE", &[]), 128);
}

#[test]
fn the_server_finds_just_the_keys() {
    let server = Server::start();
    let mut c = server.connection();
    for count in [1, 2, 7, 128] {
        let mut command = call("COMMAND", &["GETKEYS", "RL.MTAKE"]);
        command.arg(count);
        let keys: Vec<String> = (0..count).map(|key| format!("k{key}")).collect();
        for key in &keys {
            command.arg(key).arg(&[SLOW, "5"]);
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
        let command = call("COMMAND", &["GETKEYS", "RL.MTAKE", numkeys, "k", SLOW, "5"]);
        // What a server makes of a wrong number is its own affair, as long as it stays up.
        let _ = command.query::<Value>(&mut c);
    }
    assert_eq!(ask::<String>(&mut c, "PING", &[]), "PONG");
}

#[test]
fn wrong_calls_touch_no_bucket() {
    let server = Server::start();
    let mut c = server.connection();
    take(&mut c, &["a", SLOW, "5"]);
    ask::<()>(&mut c, "RPUSH", &["list", "x"]);
    ask::<()>(&mut c, "SET", &["text", "x"]);
    let numkeys = "ERR numkeys must be an integer from 1 to 128";
    let arity = "ERR wrong number of arguments";
    let wrong: [(&[&str], &str); 20] = [
        (&[], arity),
        (&["1"], arity),
        (&["1", "a", SLOW], arity),
        (&["0", "a", SLOW, "5"], numkeys),
        (&["-1", "a", SLOW, "5"], numkeys),
        (&["2", "a", SLOW, "5"], numkeys),
        (&["2", "a", SLOW, "5", "b", SLOW], numkeys),
        (&["1000000000", "a", SLOW, "5"], numkeys),
        (&["99999999999999999999999999", "a", SLOW, "5"], numkeys),
        (&["", "a", SLOW, "5"], numkeys),
        (&["nan", "a", SLOW, "5"], numkeys),
        (
            &["2", "a", SLOW, "5", "a", SLOW, "5"],
            "ERR key 'a' is given twice",
        ),
        (&["2", "a", SLOW, "5", "b", "nan", "5"], "ERR rate must be"),
        (&["2", "a", SLOW, "5", "b", SLOW, "0"], "ERR burst must be"),
        (&["1", "a", SLOW, "5", "COST", "0"], "ERR COST must be"),
        (&["1", "a", SLOW, "5", "COST"], "ERR syntax error"),
        (
            &["1", "a", SLOW, "5", "ATMOST"],
            "ERR syntax error: unknown option 'ATMOST'",
        ),
        (&["1", "a", SLOW, "5", "b", SLOW, "5"], "ERR syntax error"),
        (&["2", "a", SLOW, "5", "list", SLOW, "5"], "WRONGTYPE"),
        (
            &["2", "a", SLOW, "5", "text", SLOW, "5"],
            "ERR key holds a string",
        ),
    ];
    let look = |c: &mut Connection| {
        let value: Vec<u8> = ask(c, "DUMP", &["a"]);
        (value, expires_at(c, "a"), ask::<i64>(c, "DBSIZE", &[]))
    };
    let before = look(&mut c);
    for (arguments, expected) in wrong {
        let error = error_of(&mut c, &call("RL.MTAKE", arguments));
        // Redis 6.2 does not count the words for a module, so the call gets as far as numkeys.
        let counted = expected == arity && error.starts_with(numkeys);
        assert!(
            counted || error.starts_with(expected),
            "{arguments:?}: {error}"
        );
        assert_eq!(look(&mut c), before, "{arguments:?}");
    }
}

#[test]
fn with_memory_used_up_a_new_bucket_among_them_refuses_all() {
    let server = Server::with(&["--maxmemory-policy", "noeviction"]);
    let mut c = server.connection();
    take(&mut c, &["old", SLOW, "5"]);
    ask::<()>(&mut c, "CONFIG", &["SET", "maxmemory", "1"]);
    let error = error_of(
        &mut c,
        &call("RL.MTAKE", &["2", "old", SLOW, "5", "new", SLOW, "5"]),
    );
    assert!(error.starts_with("OOM "), "{error}");
    assert_eq!(ask::<i64>(&mut c, "DBSIZE", &[]), 1);
    assert_eq!(mtake(&mut c, &["1", "old", SLOW, "5"]).2[0][2], 3);
}

/// Where the first buckets of a call take the last of the memory, the others are written as well:
/// Redis 6.2 tells how much there is at the moment, and not before the call.
#[test]
fn memory_that_ends_within_a_call_refuses_the_next_one() {
    const BUCKETS: i64 = 128;
    let server = Server::with(&["--maxmemory-policy", "noeviction"]);
    let mut c = server.connection();
    // Wherever in a call it ends, one of them ends it there.
    for more in [0, 5_000, 10_000, 15_000] {
        ask::<()>(&mut c, "CONFIG", &["SET", "maxmemory", "0"]);
        ask::<()>(&mut c, "FLUSHALL", &[""; 0]);
        let limit = (server.count("used_memory") + 200_000 + more).to_string();
        ask::<()>(&mut c, "CONFIG", &["SET", "maxmemory", &limit]);
        let mut taken = 0;
        let refused = until("memory is used up", || {
            let mut command = call("RL.MTAKE", &[BUCKETS]);
            for key in taken * BUCKETS..(taken + 1) * BUCKETS {
                command.arg(key).arg(&[SLOW, "5"]);
            }
            let refused = command.query::<Replies>(&mut c).err();
            taken += i64::from(refused.is_none());
            refused
        });
        assert_eq!(refused.code(), Some("OOM"), "{refused}");
        assert!(taken > 0);
        assert_eq!(ask::<i64>(&mut c, "DBSIZE", &[""; 0]), taken * BUCKETS);
    }
}

#[test]
fn in_a_cluster_the_keys_must_share_a_slot() {
    let server = Server::with(&["--cluster-enabled", "yes"]);
    let mut c = server.connection();
    let mut slots = call("CLUSTER", &["ADDSLOTS"]);
    slots.arg((0..16_384).collect::<Vec<_>>());
    slots.query::<()>(&mut c).expect("every slot");
    wait_until("the cluster is up", || {
        ask::<String>(&mut c, "CLUSTER", &["INFO"]).contains("cluster_state:ok")
    });
    let apart = ["2", "a", SLOW, "5", "b", SLOW, "5"];
    let error = error_of(&mut c, &call("RL.MTAKE", &apart));
    assert!(error.starts_with("CROSSSLOT"), "{error}");
    assert_eq!(ask::<i64>(&mut c, "DBSIZE", &[]), 0);
    let together = ["2", "{user}:s", SLOW, "5", "{user}:d", SLOW, "5"];
    assert_eq!(mtake(&mut c, &together).0, 1);
    assert_eq!(ask::<i64>(&mut c, "DBSIZE", &[]), 2);
}
