//! `RL.TAKE … ATMOST | MAXWAIT ms | FORCE` and `KEEP n`.

use std::thread;

use crate::common::Server;
use crate::support::{Ask, HOUR_MS};

const DAY_MS: i64 = 24 * HOUR_MS;

#[test]
fn atmost_takes_the_available_tokens() {
    let server = Server::start();
    let mut c = server.connection();
    let some = "k 1/d 5 COST 3 ATMOST";
    assert_eq!(c.take(some)[..4], [3, 5, 2, 0]);
    assert_eq!(c.take(some)[..4], [2, 5, 0, 0]);
    let [taken, _, remaining, wait_ms, _] = c.take(some);
    assert_eq!((taken, remaining), (0, 0));
    assert!(
        (DAY_MS - 60_000..=DAY_MS).contains(&wait_ms),
        "wait {wait_ms} ms for one token"
    );
    let more = "new 1/d 5 atmost COST 50";
    assert_eq!(c.take(more)[..4], [5, 5, 0, 0], "a cost above the burst");
}

#[test]
fn maxwait_reserves_first_come_first_served() {
    let server = Server::start();
    let mut c = server.connection();
    let call = "k 1/h 1 MAXWAIT 7200000";
    assert_eq!(
        c.take(call)[..4],
        [1, 1, 0, 0],
        "what is there is not waited for"
    );
    for hours in 1..=2 {
        let [taken, _, remaining, wait_ms, _] = c.take(call);
        assert_eq!((taken, remaining), (1, 0));
        let expected = hours * HOUR_MS - 60_000..=hours * HOUR_MS;
        assert!(expected.contains(&wait_ms), "wait {wait_ms} ms");
    }
    assert_eq!(c.take(call)[0], 0, "it would be three hours");
    assert_eq!(c.take("k 1/h 1")[0], 0, "a reservation is not overtaken");
    assert_eq!(c.take("k 1/h 1 MAXWAIT 10800000")[0], 1);
    let never = "new 1/h 1 COST 2 maxwait 1000000000000";
    assert_eq!(c.take(never)[..4], [0, 1, 1, -1], "a cost above the burst");
    let now_or_not = "k 1/h 1 MAXWAIT 0";
    assert_eq!(c.take(now_or_not)[0], 0);
}

#[test]
fn maxwait_gives_concurrent_callers_different_times() {
    let server = Server::start();
    let wait = || {
        let reply = server.connection().take("k 1/h 1 MAXWAIT 36000000");
        (reply[0] == 1).then_some(reply[3])
    };
    let mut waits: Vec<i64> = thread::scope(|scope| {
        let callers: Vec<_> = (0..50).map(|_| scope.spawn(wait)).collect();
        callers
            .into_iter()
            .filter_map(|caller| caller.join().expect("a reply"))
            .collect()
    });
    waits.sort_unstable();
    assert_eq!(
        waits.len(),
        11,
        "one now and ten within ten hours: {waits:?}"
    );
    for (hours, wait_ms) in (0..).zip(waits) {
        let expected = (hours * HOUR_MS - 60_000).max(0)..=hours * HOUR_MS;
        assert!(expected.contains(&wait_ms), "{wait_ms} ms is not {hours} h");
    }
}

#[test]
fn force_takes_into_debt_that_is_repaid_first() {
    let server = Server::start();
    let mut c = server.connection();
    let forced = c.take("k 1/d 5 COST 8 FORCE");
    assert_eq!(forced, [8, 5, 0, 0, 8 * DAY_MS]);
    let [taken, _, remaining, wait_ms, _] = c.take("k 1/d 5");
    assert_eq!((taken, remaining), (0, 0));
    let four_days = 4 * DAY_MS - 60_000..=4 * DAY_MS;
    assert!(
        four_days.contains(&wait_ms),
        "three owed and one wanted: {wait_ms} ms"
    );
    assert_eq!(c.take("k 1/d 5 force")[0], 1);
    assert_eq!(
        c.take("k 1/d 1000")[0],
        0,
        "a debt stays one under a new burst"
    );
}

#[test]
fn keep_leaves_a_reserve() {
    let server = Server::start();
    let mut c = server.connection();
    assert_eq!(c.take("k 1/d 10 KEEP 8 COST 2")[..4], [2, 10, 8, 0]);
    let [taken, _, remaining, wait_ms, _] = c.take("k 1/d 10 KEEP 8");
    assert_eq!([taken, remaining], [0, 8]);
    assert!(
        (DAY_MS - 60_000..=DAY_MS).contains(&wait_ms),
        "wait {wait_ms} ms"
    );
    assert_eq!(c.take("k 1/d 10 COST 9 KEEP 2")[..4], [0, 10, 8, -1]);
    assert_eq!(c.take("k 1/d 10 COST 50 KEEP 5 ATMOST")[..4], [3, 10, 5, 0]);
    assert_eq!(c.take("k 1/d 10 COST 50 keep 5 ATMOST")[0], 0);
    assert_eq!(c.take("k 1/d 10 KEEP 10 ATMOST")[..4], [0, 10, 5, -1]);
    assert_eq!(c.take("k 1/d 10 COST 5")[..4], [5, 10, 0, 0]);
    for wrong in ["FORCE", "MAXWAIT 1"] {
        for call in [
            format!("RL.TAKE k 1/d 10 KEEP 1 {wrong}"),
            format!("RL.TAKE k 1/d 10 {wrong} KEEP 1"),
        ] {
            let error = c.error(&call);
            assert!(error.starts_with("ERR syntax error"), "{call}: {error}");
        }
    }
}
