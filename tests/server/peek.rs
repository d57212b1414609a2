//! RL.PEEK returns the state of a bucket and changes nothing.

use std::time::{Duration, Instant};

use crate::common::{wait_until, Server};
use crate::support::{expires_at, info, Ask, Reply};

#[test]
fn peek_predicts_a_take_and_describes_the_state() {
    let server = Server::start();
    let mut c = server.connection();
    for (cost, taken) in [(3, 3), (4, 0), (6, 0), (2, 2)] {
        let words = format!("k 1/d 5 COST {cost}");
        let peeked: Reply = c.ask(&format!("RL.PEEK {words}"));
        let took = c.take(&words);
        assert_eq!(peeked[..2], [taken, 5], "COST {cost}");
        assert_eq!(took[0], taken, "COST {cost}");
        assert_eq!(
            peeked[2],
            took[2] + taken,
            "COST {cost}: nothing is taken yet"
        );
        // Time passes between the two, and a wait grows shorter by it, but for the rounding: the
        // smallest part of a token takes 5.2 ms to flow in.
        let shorter = peeked[3] - took[3];
        assert!((-6..60_000).contains(&shorter), "{peeked:?} {took:?}");
        let shorter = peeked[4] + taken * 86_400_000 - took[4];
        assert!((-6..60_000).contains(&shorter), "{peeked:?} {took:?}");
    }
    assert_eq!(c.ask::<Reply>("RL.PEEK new 1/d 5 COST 2"), [2, 5, 5, 0, 0]);
    assert_eq!(c.ask::<Reply>("RL.PEEK new 1/d 5 COST 6"), [0, 5, 5, -1, 0]);
}

#[test]
fn peek_creates_and_changes_no_key() {
    let server = Server::start();
    let mut c = server.connection();
    assert_eq!(c.ask::<Reply>("RL.PEEK k 1/d 5")[0], 1);
    assert_eq!(c.ask::<i64>("DBSIZE"), 0);
    c.take("k 1/d 5");
    let look = |c: &mut redis::Connection| {
        let dump: Vec<u8> = c.ask("DUMP k");
        (
            dump,
            expires_at(c, "k"),
            info(c, "rdb_changes_since_last_save"),
        )
    };
    let before = look(&mut c);
    for _ in 0..3 {
        assert_eq!(c.ask::<Reply>("RL.PEEK k 1/d 5")[..2], [1, 5]);
    }
    assert_eq!(look(&mut c), before);
}

#[test]
fn read_only_replica_answers_peeks() {
    let master = Server::start();
    let replica = Server::with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    let (mut c, mut r) = (master.connection(), replica.connection());
    wait_until("the replica is in sync", || {
        info(&mut r, "master_link_status") == "up"
    });
    c.take("k 1/d 5 COST 2");
    let mut peek = || r.ask::<Reply>("RL.PEEK k 1/d 5");
    wait_until("the replica knows of the take", || peek()[2] == 3);
    assert_eq!(peek()[..4], [1, 5, 3, 0]);
    for name in ["RL.TAKE", "RL.GIVE"] {
        let error = r.error(&format!("{name} k 1/d 5"));
        assert!(error.starts_with("READONLY"), "{name}: {error}");
    }
    assert_eq!(r.ask::<Reply>("RL.PEEK none 1/d 5"), [1, 5, 5, 0, 0]);
    assert_eq!(r.ask::<i64>("DBSIZE"), 1);
}

/// Valkey lets such a client see expired keys: a peek and a take must agree.
#[test]
fn peek_and_take_agree_for_an_import_source_client() {
    let server = Server::start();
    let mut c = server.connection();
    let mode: Vec<String> = c.ask("CONFIG GET import-mode");
    if mode.is_empty() {
        return;
    }
    c.ask::<()>("CONFIG SET import-mode yes");
    c.ask::<()>("CLIENT IMPORT-SOURCE ON");
    c.take("k 1000 1");
    let start = Instant::now();
    wait_until("the bucket's time is over", || {
        start.elapsed() > Duration::from_millis(5)
    });
    let peeked: Reply = c.ask("RL.PEEK k 1/m 53");
    let taken = c.take("k 1/m 53");
    assert_eq!((peeked[0], peeked[2]), (taken[0], taken[2] + taken[0]));
}
