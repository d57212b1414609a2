//! RL.MTAKE takes from every bucket or from none.

use std::thread;
use std::time::{Duration, Instant};

use redis::{Cmd, Connection};

use crate::common::{wait_until, Server};
use crate::support::node::launch;
use crate::support::{call, expires_at, info, listener, stored, Ask, Reply, HOUR_MS};

/// `[taken, wait_ms, [five integers for each bucket]]`.
type Replies = (i64, i64, Vec<Reply>);

fn mtake(c: &mut Connection, words: &str) -> Replies {
    c.ask(&format!("RL.MTAKE {words}"))
}

/// Returns a call on `count` buckets of 5.
fn many(count: usize) -> Cmd {
    let mut command = call("RL.MTAKE", &[count]);
    for key in 0..count {
        command.arg(format!("k{key}")).arg(&["1/d", "5"]);
    }
    command
}

#[test]
fn rl_mtake_takes_from_every_bucket() {
    let server = Server::start();
    let mut c = server.connection();
    let day = 24 * HOUR_MS;
    let both = "2 second 10 3 day 1/d 100 COST 2";
    let expected = vec![[2, 3, 1, 0, 200], [2, 100, 98, 0, 2 * day]];
    assert_eq!(mtake(&mut c, both), (2, 0, expected));
    assert_eq!(c.take("day 1/d 100")[2], 97);
    assert_eq!(
        mtake(&mut c, "1 one 1/d 5"),
        (1, 0, vec![[1, 5, 4, 0, day]])
    );
}

#[test]
fn rl_mtake_takes_nothing_if_one_bucket_has_too_few() {
    let server = Server::start();
    let mut c = server.connection();
    c.take("some 1/d 5");
    c.take("few 1/h 5 COST 4");
    let look = |c: &mut Connection| {
        let values: Vec<Option<Vec<u8>>> = c.ask("MGET some few new");
        let expiries = ["some", "few", "new"].map(|key| expires_at(c, key));
        (values, expiries, info(c, "rdb_changes_since_last_save"))
    };
    let before = look(&mut c);
    let all = "3 some 1/d 5 few 1/h 5 new 1/d 5 COST 2";
    let (taken, wait_ms, each) = mtake(&mut c, all);
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
    let never = "2 some 1/d 5 new 1/d 1 COST 2";
    assert_eq!(mtake(&mut c, never).1, -1, "a burst below the cost");
    assert_eq!(look(&mut c), before);
}

#[test]
fn concurrent_rl_mtake_takes_exactly_the_smallest_burst() {
    let server = Server::start();
    let client = || {
        let mut c = server.connection();
        let calls = (0..5).map(|_| mtake(&mut c, "2 a 1/d 30 b 1/d 50").0);
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
    let left: Reply = server.connection().ask("RL.PEEK b 1/d 50");
    assert_eq!((left[0], left[2]), (1, 20));
}

#[test]
fn rl_mtake_accepts_128_buckets() {
    let server = Server::start();
    let mut c = server.connection();
    let (taken, _, each): Replies = many(128).query(&mut c).expect("a reply");
    assert_eq!((taken, each.len()), (1, 128));
    assert!(each.iter().all(|reply| reply[..3] == [1, 5, 4]));
    let error = c.error_of(&many(129));
    assert!(error.starts_with("ERR numkeys must be"), "{error}");
    assert_eq!(c.ask::<i64>("DBSIZE"), 128);
}

#[test]
fn invalid_rl_mtake_changes_no_bucket() {
    let server = Server::start();
    let mut c = server.connection();
    c.take("a 1/d 5");
    c.ask::<()>("RPUSH list x");
    c.ask::<()>("SET text x");
    let numkeys = "ERR numkeys must be a whole number from 1 to 128";
    let few = "ERR numkeys must be a whole number from 1 to 128 that matches";
    let usage = "ERR usage: RL.MTAKE numkeys key rate burst";
    let wrong: [(&str, &str); 21] = [
        ("", usage),
        ("1", usage),
        ("1 a 1/d", usage),
        ("0 a 1/d 5", numkeys),
        ("-1 a 1/d 5", numkeys),
        ("2 a 1/d 5", few),
        (
            "2 a 1/d 5 b 1/d",
            "ERR numkeys must be a whole number from 1 to 128 that matches the number of \
             arguments after it; got '2'",
        ),
        (
            "129 a 1/d 5",
            "ERR numkeys must be a whole number from 1 to 128, in plain digits",
        ),
        ("1000000000 a 1/d 5", numkeys),
        ("99999999999999999999999999 a 1/d 5", numkeys),
        (" a 1/d 5", numkeys),
        ("nan a 1/d 5", numkeys),
        ("2 a 1/d 5 a 1/d 5", "ERR key 'a' is given twice"),
        ("2 a 1/d 5 b nan 5", "ERR rate must be"),
        ("2 a 1/d 5 b 1/d -1", "ERR burst must be"),
        ("1 a 1/d 5 COST x", "ERR COST must be"),
        ("1 a 1/d 5 COST", "ERR syntax error"),
        (
            "1 a 1/d 5 ATMOST",
            "ERR syntax error: unknown option 'ATMOST'",
        ),
        ("1 a 1/d 5 b 1/d 5", "ERR syntax error"),
        ("2 a 1/d 5 list 1/d 5", "WRONGTYPE "),
        ("2 a 1/d 5 text 1/d 5", "ERR key 'text' holds "),
    ];
    let look = |c: &mut Connection| {
        let value: Vec<u8> = c.ask("DUMP a");
        (value, expires_at(c, "a"), c.ask::<i64>("DBSIZE"))
    };
    let before = look(&mut c);
    for (words, expected) in wrong {
        let error = c.error(format!("RL.MTAKE {words}").trim_end());
        // Too few words for the number of buckets are wrong in both ways.
        let counted = expected == usage && error.starts_with(numkeys);
        assert!(counted || error.starts_with(expected), "{words}: {error}");
        assert_eq!(look(&mut c), before, "{words}");
    }
}

/// The listener deletes A when a key expires, as B does while it is looked up.
#[test]
fn bucket_deleted_while_another_expires_is_harmless() {
    let mut server = launch()
        .with(&["--loadmodule", listener::library()])
        .start();
    let mut c = server.connection();
    // Else B may be gone before it is looked up.
    c.ask::<()>("DEBUG SET-ACTIVE-EXPIRE 0");
    for words in [
        "2 A 1/d 5 B 1/d 5",
        "2 B 1/d 5 A 1/d 5",
        "3 A 1/d 5 B 1/d 5 C 1/d 5",
    ] {
        for _ in 0..20 {
            c.ask::<()>("FLUSHALL");
            c.take("A 1/d 5 COST 3");
            c.take("B 1/d 5 COST 3");
            c.ask::<()>("PEXPIRE B 1");
            let start = Instant::now();
            wait_until("B expires", || start.elapsed() > Duration::from_millis(3));
            // A server that crashes may hang before it ends.
            let mut other = server.connection();
            let call = thread::spawn(move || mtake(&mut other, words));
            wait_until("the call is answered", || call.is_finished());
            let (taken, wait_ms, each) = call.join().expect("a reply");
            assert_eq!((taken, wait_ms), (1, 0));
            // B is full again. A may have been looked at before it was deleted, or after.
            for (key, reply) in words.split(' ').skip(1).step_by(3).zip(each) {
                let accepted = if key == "A" { [1, 4] } else { [4, 4] };
                assert!(accepted.contains(&reply[2]), "{words}: {key} {reply:?}");
                assert_eq!(stored(&mut c, key).1 >> 24, reply[2], "{words}: {key}");
            }
        }
    }
    assert!(server.alive());
}
