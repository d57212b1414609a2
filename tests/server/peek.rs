//! RL.PEEK tells and changes nothing; RL.GIVE gives back.

use crate::calls::{ask, call, error_of, expires_at, info, take, Reply, SLOW};
use crate::common::{wait_until, Server};

#[test]
fn a_peek_tells_what_a_take_would_reply() {
    let server = Server::start();
    let mut c = server.connection();
    for (cost, taken) in [("3", 3), ("4", 0), ("6", 0), ("2", 2)] {
        let arguments = ["k", SLOW, "5", "COST", cost];
        let peeked: Reply = ask(&mut c, "RL.PEEK", &arguments);
        let took = take(&mut c, &arguments);
        assert_eq!(peeked[..3], took[..3], "COST {cost}");
        assert_eq!(peeked[0], taken, "COST {cost}");
        // Time passes between the two, and a wait grows shorter by it.
        assert!(
            (0..60_000).contains(&(peeked[3] - took[3])),
            "{peeked:?} {took:?}"
        );
        assert!(
            (0..60_000).contains(&(peeked[4] - took[4])),
            "{peeked:?} {took:?}"
        );
    }
}

#[test]
fn a_peek_makes_no_key_and_leaves_one_alone() {
    let server = Server::start();
    let mut c = server.connection();
    assert_eq!(ask::<Reply>(&mut c, "RL.PEEK", &["k", SLOW, "5"])[0], 1);
    assert_eq!(ask::<i64>(&mut c, "DBSIZE", &[]), 0);
    take(&mut c, &["k", SLOW, "5"]);
    let look = |c: &mut redis::Connection| {
        let dump: Vec<u8> = ask(c, "DUMP", &["k"]);
        (
            dump,
            expires_at(c, "k"),
            info(c, "rdb_changes_since_last_save"),
        )
    };
    let before = look(&mut c);
    for _ in 0..3 {
        assert_eq!(
            ask::<Reply>(&mut c, "RL.PEEK", &["k", SLOW, "5"])[..2],
            [1, 5]
        );
    }
    assert_eq!(look(&mut c), before);
}

#[test]
fn a_replica_that_may_not_be_written_answers_peeks() {
    let master = Server::start();
    let replica = Server::with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    let (mut c, mut r) = (master.connection(), replica.connection());
    wait_until("the replica is in sync", || {
        info(&mut r, "master_link_status") == "up"
    });
    take(&mut c, &["k", SLOW, "5", "COST", "2"]);
    let mut peek = || ask::<Reply>(&mut r, "RL.PEEK", &["k", SLOW, "5"]);
    wait_until("the replica knows of the take", || peek()[2] == 2);
    assert_eq!(peek()[..4], [1, 5, 2, 0]);
    for name in ["RL.TAKE", "RL.GIVE"] {
        let error = error_of(&mut r, &call(name, &["k", SLOW, "5"]));
        assert!(error.starts_with("READONLY"), "{name}: {error}");
    }
    assert_eq!(
        ask::<Reply>(&mut r, "RL.PEEK", &["none", SLOW, "5"]),
        [1, 5, 4, 0, 86_400_000]
    );
    assert_eq!(ask::<i64>(&mut r, "DBSIZE", &[]), 1);
}

#[test]
fn tokens_are_given_back_at_most_to_full() {
    let server = Server::start();
    let mut c = server.connection();
    take(&mut c, &["k", SLOW, "5", "COST", "3"]);
    let mut give = |arguments: &[&str]| ask::<Reply>(&mut c, "RL.GIVE", arguments);
    assert_eq!(give(&["k", SLOW, "5"])[..4], [1, 5, 3, 0]);
    let [given, limit, remaining, wait_ms, reset_ms] = give(&["k", SLOW, "5", "COST", "10"]);
    assert!(
        [1, 2].contains(&given),
        "{given} of the two that lack, less what time gave"
    );
    assert_eq!([limit, remaining, wait_ms, reset_ms], [5, 5, 0, 0]);
    assert_eq!(
        give(&["none", SLOW, "5"]),
        [0, 5, 5, 0, 0],
        "what is not there is full"
    );
    assert_eq!(
        ask::<i64>(&mut c, "DBSIZE", &[]),
        0,
        "a full bucket is no key"
    );
    assert_eq!(take(&mut c, &["k", SLOW, "5", "COST", "5"])[0], 5);
}

#[test]
fn a_gift_repays_a_debt_first() {
    let server = Server::start();
    let mut c = server.connection();
    take(&mut c, &["k", SLOW, "5", "COST", "8", "FORCE"]);
    let given: Reply = ask(&mut c, "RL.GIVE", &["k", SLOW, "5", "COST", "4"]);
    assert_eq!(given[..3], [4, 5, 1]);
    assert_eq!(take(&mut c, &["k", SLOW, "5"])[..3], [1, 5, 0]);
}
