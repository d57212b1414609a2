//! RL.WPEEK returns the state of a window and changes nothing.

use crate::common::Server;
use crate::support::node::launch;
use crate::support::windows::{assert_ends, mid_day, mid_month, now_ms};
use crate::support::{expires_at, info, Ask, Reply, HOUR_MS};

/// Returns windows that do not end while a test runs: the words of each, and its greatest length in
/// milliseconds.
fn windows() -> [(String, i64); 4] {
    [
        ("1h".into(), HOUR_MS),
        (mid_day(), 24 * HOUR_MS),
        (mid_month(), 31 * 24 * HOUR_MS),
        ("SLIDING 1h".into(), HOUR_MS + HOUR_MS / 16),
    ]
}

#[test]
fn peek_predicts_a_take_and_describes_the_state() {
    let server = Server::start();
    let mut c = server.connection();
    for (window, length) in windows() {
        c.ask::<()>("FLUSHALL");
        for (cost, taken) in [(3, 3), (4, 0), (6, 0), (2, 2), (1, 0)] {
            let words = format!("k 5 {window} COST {cost}");
            let peeked: Reply = c.ask(&format!("RL.WPEEK {words}"));
            let took: Reply = c.ask(&format!("RL.WTAKE {words}"));
            assert_eq!(peeked[..2], [taken, 5], "{words}");
            assert_eq!(took[0], taken, "{words}");
            assert_eq!(peeked[2], took[2] + taken, "{words}: nothing is taken yet");
            let waits = match (taken, cost) {
                (0, 6) => -1..=-1,
                (0, _) => 1..=length,
                _ => 0..=0,
            };
            assert!(waits.contains(&peeked[3]), "{words}: {peeked:?}");
            // Time passes between the two, and a wait grows shorter by it.
            let shorter = peeked[3] - took[3];
            assert!((0..60_000).contains(&shorter), "{peeked:?} {took:?}");
        }
        assert_eq!(
            c.ask::<Reply>(&format!("RL.WPEEK new 5 {window} COST 2")),
            [2, 5, 5, 0, 0]
        );
        assert_eq!(
            c.ask::<Reply>(&format!("RL.WPEEK new 5 {window} COST 6")),
            [0, 5, 5, -1, 0]
        );
    }
}

#[test]
fn peek_creates_and_changes_no_key() {
    let server = Server::start();
    let mut c = server.connection();
    for (window, _) in windows() {
        c.ask::<()>("FLUSHALL");
        let peek = format!("RL.WPEEK k 5 {window}");
        assert_eq!(c.ask::<Reply>(&peek)[0], 1);
        assert_eq!(c.ask::<i64>("DBSIZE"), 0);
        c.ask::<()>(&format!("RL.WTAKE k 5 {window}"));
        let look = |c: &mut redis::Connection| {
            let dump: Vec<u8> = c.ask("DUMP k");
            let changes = info(c, "rdb_changes_since_last_save");
            (dump, expires_at(c, "k"), changes)
        };
        let before = look(&mut c);
        for other in [
            &peek,
            "RL.WPEEK k 5 7d",
            "RL.WPEEK k 1 YEAR",
            "RL.WPEEK k 5 SLIDING 9h",
        ] {
            // For the other kind it is an error, and changes nothing either.
            let _ = redis::cmd("RL.WPEEK")
                .arg(other.split(' ').skip(1).collect::<Vec<_>>())
                .query::<Reply>(&mut c);
        }
        assert_eq!(look(&mut c), before, "{window}");
    }
}

/// Nothing may be written, so a sliding window of another length is reported as it is stored.
#[test]
fn read_only_replica_answers_peeks() {
    let master = launch().start();
    let replica = master.attach(launch());
    let (mut c, mut r) = (master.connection(), replica.connection());
    for (window, _) in windows() {
        let key = window.replace(' ', "-");
        c.ask::<()>(&format!("RL.WTAKE {key} 5 {window} COST 2"));
        replica.wait_for(&master);
        for (cost, taken) in [(1, 1), (4, 0)] {
            let peeked: Reply = r.ask(&format!("RL.WPEEK {key} 5 {window} COST {cost}"));
            assert_eq!(peeked[..3], [taken, 5, 3]);
        }
        for name in ["RL.WTAKE", "RL.WGIVE"] {
            let error = r.error(&format!("{name} {key} 5 {window}"));
            assert!(error.starts_with("READONLY"), "{name}: {error}");
        }
    }
    let asked = now_ms();
    let peeked: Reply = r.ask("RL.WPEEK SLIDING-1h 5 SLIDING 2h");
    assert_eq!(peeked[..4], [1, 5, 3, 0]);
    assert!(peeked[4] <= HOUR_MS + HOUR_MS / 16, "{peeked:?}");
    assert_ends(
        r.ask::<Reply>("RL.WPEEK 1h 5 DAY")[4],
        asked - 60_000..=now_ms(),
        HOUR_MS,
    );
    assert_eq!(r.ask::<i64>("DBSIZE"), 4);
}
