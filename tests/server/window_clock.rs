//! Windows on a server whose clock moves: the calendar's edges, and steps back.

use redis::Connection;

use super::clock::{launch_with_clock, with_clock};
use crate::calendar::{window, Unit};
use crate::common::{until, wait_until, Server};
use crate::support::windows::{now_ms, stored, used};
use crate::support::{expires_at, Ask, Reply, HOUR_MS};
use crate::windows::Stored;

const DAY_MS: i64 = 24 * HOUR_MS;
const HOUR: i64 = 3_600;

/// Returns the server's clock in milliseconds since 1970.
fn server_ms(c: &mut Connection) -> i64 {
    let (seconds, micros): (i64, i64) = c.ask("TIME");
    seconds * 1_000 + micros / 1_000
}

/// Moves the clock to this time, or a second before it.
fn set(server: &Server, instant: i64) {
    server.set_clock((instant - now_ms()).div_euclid(1_000));
}

/// Returns noon of a day in UTC, in milliseconds since 1970.
fn noon_of(year: i64, month: u32, day: u32) -> i64 {
    let is = |n: &i64| {
        let date = crate::calendar::date(*n);
        (date.year, date.month, date.day) == (year, month, day)
    };
    let found = (0..crate::calendar::days().end).find(is);
    found.expect("a day") * DAY_MS + DAY_MS / 2
}

#[test]
fn calendar_window_ends_exactly_at_its_edge() {
    let server = with_clock();
    let mut c = server.connection();
    let leap = noon_of(2028, 2, 10);
    let end_of_april = noon_of(2027, 4, 30);
    for (words, unit, offset, somewhere) in [
        ("DAY", Unit::Day, 0, leap),
        ("DAY OFFSET +05:45", Unit::Day, 345, leap),
        ("HOUR OFFSET -09:30", Unit::Hour, -570, leap),
        ("WEEK ANCHOR 7", Unit::Week(7), 0, leap),
        ("MONTH", Unit::Month(1), 0, leap),
        ("MONTH ANCHOR 31", Unit::Month(31), 0, leap),
        (
            "MONTH ANCHOR 31 OFFSET +09:00",
            Unit::Month(31),
            540,
            end_of_april,
        ),
        ("YEAR OFFSET -08:00", Unit::Year, -480, leap),
    ] {
        let (start, edge) = window(unit, offset, somewhere);
        let (_, next_edge) = window(unit, offset, edge);
        let take = format!("RL.WTAKE k 3 {words} COST 3");
        // On a busy machine the edge may pass meanwhile.
        let (window, expiry) = until("a take and its reading before the edge", || {
            set(&server, edge - 1_000);
            c.ask::<()>("FLUSHALL");
            assert_eq!(c.ask::<Reply>(&take)[0], 3, "{words}");
            let found: (Vec<u8>, i64) = (c.ask("GET k"), expires_at(&mut c, "k"));
            (server_ms(&mut c) < edge).then_some(found)
        });
        let first = Stored::Fixed {
            start,
            end: edge,
            used: 3,
        };
        assert_eq!(Stored::read(&window), Some(first), "{words}");
        assert_eq!(expiry, edge, "{words}");
        wait_until("the next window opens", || {
            let before = server_ms(&mut c);
            let [taken, _, remaining, wait_ms, _] = c.ask::<Reply>(&take);
            let after = server_ms(&mut c);
            if taken == 0 {
                assert!(before < edge, "{words}: denied after the edge");
                let left = edge - after..=edge - before;
                assert!(
                    left.contains(&wait_ms),
                    "{words}: {wait_ms} ms, not {left:?}"
                );
            } else {
                assert!(after >= edge, "{words}: allowed before the edge");
                assert_eq!(remaining, 0, "{words}");
            }
            taken == 3
        });
        let second = Stored::Fixed {
            start: edge,
            end: next_edge,
            used: 3,
        };
        assert_eq!(stored(&mut c, "k"), second, "{words}");
        assert_eq!(expires_at(&mut c, "k"), next_edge, "{words}");
    }
}

/// The last day of February, of a leap year and of another, where the anchor is the 31st.
#[test]
fn a_month_from_the_31st_on_begins_on_the_last_of_a_shorter_one() {
    let server = with_clock();
    let mut c = server.connection();
    for (today, from, to) in [
        ((2028, 2, 29), (2028, 2, 29), (2028, 3, 31)),
        ((2028, 2, 28), (2028, 1, 31), (2028, 2, 29)),
        ((2027, 2, 28), (2027, 2, 28), (2027, 3, 31)),
        ((2027, 4, 29), (2027, 3, 31), (2027, 4, 30)),
    ] {
        let midnight = |(year, month, day)| noon_of(year, month, day) - DAY_MS / 2;
        set(&server, midnight(today) + DAY_MS / 2);
        c.ask::<()>("FLUSHALL");
        c.ask::<()>("RL.WTAKE k 3 MONTH ANCHOR 31");
        let (start, end) = (midnight(from), midnight(to));
        let expected = Stored::Fixed {
            start,
            end,
            used: 1,
        };
        assert_eq!(stored(&mut c, "k"), expected, "{today:?}");
    }
}

/// A step of at most one window keeps the window, so that nobody gets a second quota.
#[test]
fn small_clock_step_back_keeps_the_window() {
    let server = with_clock();
    let mut c = server.connection();
    for (window, length) in [("1h", HOUR_MS), ("SLIDING 1h", HOUR_MS + HOUR_MS / 16)] {
        server.set_clock(0);
        c.ask::<()>("FLUSHALL");
        let take = format!("RL.WTAKE k 10 {window}");
        assert_eq!(c.ask::<Reply>(&format!("{take} COST 9"))[0], 9);
        let before: Vec<u8> = c.ask("GET k");
        let end = expires_at(&mut c, "k");
        server.set_clock(-HOUR / 2);
        let asked = server_ms(&mut c);
        let denied: Reply = c.ask(&format!("{take} COST 2"));
        assert_eq!(denied[..3], [0, 10, 1], "{window}");
        let left = end - server_ms(&mut c)..=end - asked;
        assert!(left.contains(&denied[3]), "{window}: {denied:?}, {left:?}");
        assert!(denied[3] <= length + HOUR_MS / 2, "{window}");
        assert_eq!(c.ask::<Vec<u8>>("GET k"), before, "{window}");
        assert_eq!(c.ask::<Reply>(&take)[..3], [1, 10, 0], "{window}");
        assert_eq!(expires_at(&mut c, "k"), end, "{window}: it keeps its end");
        server.set_clock(-HOUR / 2 + (denied[3] + 2_000) / 1_000);
        assert_eq!(
            c.ask::<Reply>(&format!("{take} COST 10"))[0],
            10,
            "{window}"
        );
    }
}

/// After a step of more than a window, the window of now takes over the usage, and callers wait for
/// it once.
#[test]
fn great_clock_step_back_locks_out_no_longer_than_a_window() {
    let server = with_clock();
    let replica = server.attach(launch_with_clock());
    // From noon on, so that no day or month ends between two calls.
    let noon = (noon_of(2028, 2, 10) - now_ms()) / 1_000;
    let set_both = |seconds| [&server, &replica].map(|server| server.set_clock(noon + seconds));
    let mut c = server.connection();
    for (window, back, longest) in [
        ("1h", 3 * HOUR, HOUR_MS),
        ("DAY", 53 * HOUR, DAY_MS),
        ("MONTH OFFSET +01:00", 70 * 24 * HOUR, 31 * DAY_MS),
        ("SLIDING 1h", 3 * HOUR, HOUR_MS + HOUR_MS / 16),
    ] {
        set_both(0);
        c.ask::<()>("FLUSHALL");
        let take = format!("RL.WTAKE k 10 {window}");
        let peek = format!("RL.WPEEK k 10 {window} COST 2");
        assert_eq!(c.ask::<Reply>(&format!("{take} COST 9"))[0], 9);
        let before: Vec<u8> = c.ask("GET k");
        set_both(-back);
        let peeked: Reply = c.ask(&peek);
        assert_eq!(peeked[..3], [0, 10, 1], "{window}");
        assert_eq!(
            c.ask::<Vec<u8>>("GET k"),
            before,
            "{window}: a look writes nothing"
        );

        // The reported end must not move with the clock, so a denied call writes it, once.
        let offset = server.offset();
        let asked = server_ms(&mut c);
        let denied: Reply = c.ask(&format!("{take} COST 2"));
        assert_eq!(denied[..3], [0, 10, 1], "{window}");
        assert!((1..=longest).contains(&denied[3]), "{window}: {denied:?}");
        assert!(server.offset() > offset, "{window}");
        assert_eq!(used(&mut c, "k"), 9, "{window}");
        let end = expires_at(&mut c, "k");
        let left = end - server_ms(&mut c)..=end - asked;
        assert!(left.contains(&denied[3]), "{window}: {denied:?}, {left:?}");
        let (offset, value): (_, Vec<u8>) = (server.offset(), c.ask("GET k"));
        assert_eq!(c.ask::<Reply>(&format!("{take} COST 2"))[0], 0);
        assert_eq!(server.offset(), offset, "{window}: and no more");
        assert_eq!(c.ask::<Vec<u8>>("GET k"), value, "{window}");
        replica.wait_for(&server);
        assert_eq!(replica.contents(), server.contents(), "{window}");

        set_both(-back + (denied[3] + 2_000) / 1_000);
        let allowed: Reply = c.ask(&format!("{take} COST 10"));
        assert_eq!(allowed[..3], [10, 10, 0], "{window}");
    }
}

/// An allowed take and a refund take over the usage as a denied take does.
#[test]
fn great_clock_step_back_keeps_usage_chargeable_and_refundable() {
    let server = with_clock();
    let mut c = server.connection();
    for window in ["1h", "SLIDING 1h"] {
        for (call, taken, left) in [("RL.WTAKE", 2, 9), ("RL.WGIVE", 2, 5)] {
            server.set_clock(0);
            c.ask::<()>("FLUSHALL");
            c.ask::<()>(&format!("RL.WTAKE k 10 {window} COST 7"));
            server.set_clock(-3 * HOUR);
            let reply: Reply = c.ask(&format!("{call} k 10 {window} COST 2"));
            assert_eq!(reply[..3], [taken, 10, 10 - left], "{call} {window}");
            assert_eq!(used(&mut c, "k"), left, "{call} {window}");
            assert!(
                reply[4] <= HOUR_MS + HOUR_MS / 16,
                "{call} {window}: {reply:?}"
            );
        }
    }
}

/// A clock ahead may open the next window early; a clock behind must not give a second quota.
#[test]
fn promoted_replica_with_a_clock_behind_keeps_the_limit() {
    for window in ["1h", "SLIDING 1h"] {
        let mut master = launch_with_clock().start();
        let heir = master.attach(launch_with_clock());
        heir.set_clock(-600);
        master.ask::<()>(&format!("RL.WTAKE k 100 {window} COST 60"));
        heir.wait_for(&master);
        assert_eq!(heir.contents(), master.contents());
        master.kill();
        let () = heir.ask("REPLICAOF NO ONE");
        let taken: Reply = heir.ask(&format!("RL.WTAKE k 100 {window} COST 100 ATMOST"));
        assert_eq!(taken[..3], [40, 100, 0], "{window}");
        let [_, _, _, wait_ms, _]: Reply = heir.ask(&format!("RL.WTAKE k 100 {window}"));
        let longest = HOUR_MS + HOUR_MS / 16 + 600_000;
        assert!((1..=longest).contains(&wait_ms), "{window}: {wait_ms} ms");
    }
}
