//! Holds keys with many records: walks, and a table that is full.

use std::ops::Range;
use std::time::Instant;

use redis::Connection;

use super::clock::launch_with_clock;
use crate::common::Server;
use crate::support::holds::{count, reserve, settle, settle_words, used, Replies};
use crate::support::Ask;

const MOST: i64 = 10_000;

/// Starts a server that reads its moved clock once a second. If it reads the clock at each call, about
/// one call in 200,000 sees the machine's instead, and these tests make ten thousand.
fn with_clock() -> Server {
    launch_with_clock().with_clock_seen_once_a_second().start()
}

/// Makes calls without waiting for each reply.
fn send(c: &mut Connection, calls: impl Iterator<Item = String>) {
    let calls: Vec<_> = calls.collect();
    for some in calls.chunks(1000) {
        let mut pipe = redis::pipe();
        for call in some {
            let words: Vec<_> = call.split(' ').collect();
            pipe.cmd(words[0]).arg(&words[1..]).ignore();
        }
        pipe.exec(c).expect("no errors");
    }
}

/// Holds of one each on a window of their own.
fn others(ids: Range<i64>, hold: &'static str) -> impl Iterator<Item = String> {
    ids.map(move |id| {
        let hold = hold.replace("ID", &id.to_string());
        format!("RL.ALL 2 v h WINDOW 100000 30d HOLD {hold}")
    })
}

#[test]
fn full_table_of_settled_ids_makes_room_for_a_new_hold() {
    let server = Server::start();
    let mut c = server.connection();
    send(&mut c, (0..MOST).map(|n| settle_words(1, &n.to_string())));
    assert_eq!(count(&mut c, "h"), [0, 0, MOST]);
    // A settlement needs no place: it does not close the id.
    let (status, _, each) = settle(&mut c, 1, "other");
    assert_eq!((status, each[2]), (-1, [0, MOST, 0, 0, 0]));
    assert_eq!(server.count("rl_holds_walks"), 0);

    let (taken, _, each) = reserve(&mut c, 3, "1h other");
    assert_eq!((taken, each[2][..3].to_vec()), (1, vec![1, MOST, 999]));
    assert_eq!(count(&mut c, "h"), [1, 0, MOST - 1000]);
    assert_eq!(server.count("rl_holds_dropped"), 1000);
    // The records nearest to their end.
    let forgotten = (0..MOST).filter(|n| {
        let known: bool = c.ask(&format!("HEXISTS h {n}"));
        !known
    });
    let forgotten: Vec<_> = forgotten.collect();
    assert_eq!(forgotten.len(), 1000);
    assert!(forgotten.iter().sum::<i64>() < 1000 * 1500, "the oldest");
}

/// Forgotten records make room first: then nothing that is remembered is dropped.
#[test]
fn full_table_of_forgotten_ids_drops_nothing() {
    let server = with_clock();
    let mut c = server.connection();
    // Keeps the key.
    send(&mut c, others(0..1, "1h ID"));
    let ids = 1..MOST / 2;
    send(&mut c, ids.map(|n| settle_words(1, &n.to_string())));
    server.set_clock(600);
    let ids = MOST / 2..MOST;
    send(&mut c, ids.map(|n| settle_words(1, &n.to_string())));
    let (taken, _, each) = reserve(&mut c, 3, "1h other");
    assert_eq!((taken, each[2][2]), (1, MOST / 2 - 2));
    assert_eq!(count(&mut c, "h"), [2, 0, MOST / 2]);
    assert_eq!(server.count("rl_holds_dropped"), 0);
}

/// Overdue holds, which may still be settled, are dropped last.
#[test]
fn full_table_drops_settled_ids_before_overdue_holds() {
    let server = with_clock();
    let mut c = server.connection();
    send(&mut c, others(0..10, "1h ID ELSE CHARGE"));
    server.set_clock(2 * 3_600 - 600);
    let ids = 10..MOST;
    send(&mut c, ids.map(|n| settle_words(1, &n.to_string())));
    assert_eq!(count(&mut c, "h"), [10, 10, MOST - 10]);
    assert_eq!(reserve(&mut c, 3, "1h other").0, 1);
    assert_eq!(count(&mut c, "h"), [11, 10, MOST - 1010]);
    assert_eq!(server.count("rl_holds_dropped"), 1000);
}

#[test]
fn full_table_of_open_holds_denies_until_a_walk_drops_overdue_ones() {
    let server = with_clock();
    let mut c = server.connection();
    let start = Instant::now();
    send(&mut c, others(0..MOST, "1h ID ELSE CHARGE"));
    let (taken, wait_ms, each) = reserve(&mut c, 3, "1h new");
    assert_eq!((taken, each[2]), (0, [0, MOST, 0, 0, 0]));
    assert!((1..=MOST).contains(&wait_ms), "{wait_ms}");
    assert_eq!(used(&mut c), [0, 0]);
    // No walk follows so soon after another.
    assert_eq!(reserve(&mut c, 3, "1h new").0, 0);
    let walks = server.count("rl_holds_walks");
    assert!(walks <= 1 || start.elapsed().as_secs() >= 10, "{walks}");
    // Open holds are repeated and settled as always.
    let repeat = "RL.ALL 2 v h WINDOW 100000 30d HOLD 1h 7 ELSE CHARGE";
    assert_eq!(c.ask::<Replies>(repeat).0, 1);

    server.set_clock(5_400);
    let (taken, _, each) = reserve(&mut c, 3, "1h new");
    assert_eq!((taken, each[2][2]), (1, 999), "{each:?}");
    assert_eq!(server.count("rl_holds_dropped"), 1000);
    // Their estimates stay charged.
    assert_eq!(c.ask::<Vec<i64>>("RL.WPEEK v 100000 30d")[2], 90_000);
}

#[test]
fn many_overdue_holds_are_refunded_within_25_seconds() {
    let server = with_clock();
    let mut c = server.connection();
    send(&mut c, others(0..5000, "1h ID"));
    assert_eq!(c.ask::<Vec<i64>>("RL.WPEEK v 100000 30d")[2], 95_000);
    let start = 2 * 3_600;
    let (mut seconds, mut refunded) = (start, 0);
    let time = |c: &mut Connection| c.ask::<(i64, i64)>("TIME").0;
    let mut first_walk = None;
    while refunded < 5000 {
        server.set_clock(seconds);
        let before = time(&mut c);
        let first = MOST + 3 * seconds;
        send(&mut c, others(first..first + 3, "24h ID"));
        refunded = server.count("rl_holds_returned");
        if refunded > 0 {
            first_walk.get_or_insert(before);
        }
        assert!(
            refunded % 1000 == 0 && seconds <= start + 25,
            "{refunded} after {seconds} s"
        );
        seconds += 1;
    }
    let calls = 3 * (seconds - start);
    assert_eq!(
        c.ask::<Vec<i64>>("RL.WPEEK v 100000 30d")[2],
        100_000 - calls
    );
    assert_eq!(server.count("rl_holds_walks"), 5);
    // A walk of 5000 records is allowed once in five seconds.
    let lasted = time(&mut c) - first_walk.expect("a walk");
    assert!(lasted >= 4 * 5 - 1, "{lasted} s");
}

#[test]
fn full_table_refunds_overdue_holds_and_drops_them() {
    let server = with_clock();
    let mut c = server.connection();
    send(&mut c, others(0..MOST, "1h ID"));
    server.set_clock(2 * 3_600);
    send(&mut c, others(MOST..MOST + 1, "24h ID"));
    let counts = ["rl_holds_returned", "rl_holds_dropped"].map(|name| server.count(name));
    assert_eq!(counts, [1000, 1000]);
    assert_eq!(count(&mut c, "h"), [MOST - 999, MOST - 1000, 0]);
    assert_eq!(c.ask::<i64>("HLEN h"), MOST - 999 + 1);
}

/// Not for each new id while settled ones are remembered.
#[test]
fn new_holds_walk_no_settled_ids() {
    let server = Server::start();
    let mut c = server.connection();
    send(&mut c, (0..100).map(|n| settle_words(1, &n.to_string())));
    send(&mut c, others(100..200, "1h ID"));
    assert_eq!(count(&mut c, "h"), [100, 0, 100]);
    assert_eq!(server.count("rl_holds_walks"), 0);
}

/// A walk takes time, so calls pay for one only when something is due, and at most once a second.
#[test]
fn calls_walk_the_records_only_when_something_is_due() {
    let server = with_clock();
    let mut c = server.connection();
    send(&mut c, others(0..500, "1h ID"));
    assert_eq!(server.count("rl_holds_walks"), 0);
    server.set_clock(4_000);
    let start = Instant::now();
    let seconds = || i64::try_from(start.elapsed().as_secs()).expect("a time");
    // Overdue holds of others stay due, since nobody names their window.
    let made = (0..100).map(|n| format!("RL.ALL 2 w h WINDOW 1000 30d HOLD 1h new{n}"));
    send(&mut c, made);
    let walks = server.count("rl_holds_walks");
    assert!((1..=3 + seconds()).contains(&walks), "{walks} walks");
    // A denied call walks no more often.
    let mut last = 4_000;
    while server.count("rl_holds_walks") == walks {
        last += 1;
        assert!(last < 4_060, "no call walks again");
        server.set_clock(last);
        c.ask::<()>("RL.ALL 2 w h WINDOW 1 30d COST 2 HOLD 1h denied");
    }
    let walks = server.count("rl_holds_walks");
    let denied = (0..100).map(|n| format!("RL.ALL 2 w h WINDOW 1 30d COST 2 HOLD 1h denied{n}"));
    send(&mut c, denied);
    assert!(server.count("rl_holds_walks") <= walks + 2 + seconds());
    send(
        &mut c,
        (0..100).map(|n| format!("RL.SETTLE 2 w h WINDOW 1000 30d USED 0 HOLD new{n}")),
    );
    send(
        &mut c,
        (0..100).map(|_| "RL.ALL 1 w WINDOW 1000 30d".to_owned()),
    );
    assert!(server.count("rl_holds_walks") <= walks + 1 + seconds());
    assert_eq!(server.count("rl_holds_returned"), 0);
}
