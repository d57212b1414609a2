//! Holds as time passes: overdue and forgotten ones, windows that end, a clock that steps back.

use redis::{Connection, Value};

use super::clock::with_clock;
use crate::common::{wait_until, Server};
use crate::support::holds::{count, holds, reserve, reserve_words, settle, used, Replies};
use crate::support::mixed::state;
use crate::support::{call, expires_at, Ask, Reply, HOUR_MS};

/// Starts a server with a movable clock, and connects to it.
fn start() -> (Server, Connection) {
    let server = with_clock();
    let connection = server.connection();
    (server, connection)
}

/// Returns the server's time in milliseconds since 1970.
fn server_ms(c: &mut Connection) -> i64 {
    let (seconds, micros): (i64, i64) = c.ask("TIME");
    seconds * 1_000 + micros / 1_000
}

#[test]
fn overdue_hold_is_refunded_by_the_next_call_on_its_limits() {
    let (server, mut c) = start();
    for (otherwise, refunded) in [("FREE", 300), ("CHARGE", 0)] {
        server.set_clock(0);
        c.ask::<()>("FLUSHALL");
        reserve(&mut c, 300, &format!("1h id ELSE {otherwise}"));
        // The estimate counts until such a call, whoever asks.
        server.set_clock(5_000);
        assert_eq!(used(&mut c)[1], 300);
        assert_eq!(count(&mut c, "h"), [1, 1, 0]);
        let (taken, _, each) = reserve(&mut c, 5, "1h other");
        assert_eq!((taken, each[1][2]), (1, 1000 - 305 + refunded));
        assert_eq!(used(&mut c)[1], 305 - refunded);
        // A late settlement charges what was used.
        assert_eq!(settle(&mut c, 120, "id").0, 1);
        assert_eq!(used(&mut c)[1], 125);
        assert_eq!(settle(&mut c, 120, "id").0, 0);
    }
    let counts = ["rl_holds_returned", "rl_holds_settled_late"].map(|name| server.count(name));
    assert_eq!(counts, [1, 2]);
}

#[test]
fn hold_is_refunded_at_its_deadline_and_not_before() {
    let (server, mut c) = start();
    reserve(&mut c, 300, "1h id");
    // Lets a walk begin.
    reserve(&mut c, 1, "1s due");
    for (seconds, refunded) in [(3_500, 1), (3_660, 301)] {
        server.set_clock(seconds);
        reserve(&mut c, 1, &format!("24h at{seconds}"));
        let made = 1 + (seconds > 3_600) as i64;
        assert_eq!(used(&mut c)[1], 301 + made - refunded, "{seconds}");
    }
}

/// A walk in the last second before a deadline leaves the hold alone.
#[test]
fn hold_is_not_refunded_a_second_early() {
    let (server, mut c) = start();
    wait_until("a walk comes in that second", || {
        server.set_clock(0);
        c.ask::<()>("FLUSHALL");
        reserve(&mut c, 300, "5s id");
        // Lets a walk begin.
        reserve(&mut c, 20, "1s due");
        server.set_clock(4);
        reserve(&mut c, 1, "24h other");
        let used = used(&mut c)[1];
        let (.., listed) = holds(&mut c, "h");
        let hold = listed.iter().find(|hold| hold.0 == b"id");
        let left = hold.expect("it is open").1;
        if left > 0 {
            assert_eq!((left <= 1000, used), (true, 301), "{left}");
        }
        left > 0
    });
}

#[test]
fn hold_with_else_charge_is_never_refunded() {
    let (server, mut c) = start();
    reserve(&mut c, 300, "1h charged ELSE CHARGE");
    reserve(&mut c, 20, "1h free");
    server.set_clock(4_000);
    reserve(&mut c, 1, "1h other");
    assert_eq!(used(&mut c)[1], 301);
    assert_eq!(server.count("rl_holds_returned"), 1);
    // Once a walk has seen it, the key still lives until the id is forgotten.
    let left: i64 = c.ask("PTTL h");
    assert!(left > 7_200_000 - 4_000_000, "{left}");
    assert_eq!(settle(&mut c, 120, "charged").0, 1);
    assert_eq!(used(&mut c)[1], 121);
}

/// A hold that still holds something in another limit is remembered for longer than an hour.
#[test]
fn hold_that_was_refunded_in_part_is_remembered() {
    let (server, mut c) = start();
    reserve(&mut c, 300, "1h id");
    server.set_clock(4_000);
    let only_window = "RL.ALL 2 w h WINDOW 1000 30d COST 1 HOLD 24h other";
    assert_eq!(c.ask::<Replies>(only_window).0, 1);
    assert_eq!(used(&mut c), [300, 1]);
    server.set_clock(4_000 + 2 * 3_600);
    let next = "RL.ALL 2 w h WINDOW 1000 30d COST 1 HOLD 24h next";
    assert_eq!(c.ask::<Replies>(next).0, 1);
    let (status, _, each) = settle(&mut c, 120, "id");
    assert_eq!((status, each[0][0], each[1][0]), (1, -180, 120));
}

/// The walk of a call forgets every other id, and its own is a new one.
#[test]
fn key_ends_with_the_only_hold_that_a_walk_leaves() {
    let (server, mut c) = start();
    let call = "2 w h WINDOW 1000 30d";
    let again = format!("RL.ALL {call} COST 1 HOLD 5s id ELSE CHARGE");
    c.ask::<Replies>(&format!("RL.ALL {call} COST 1 HOLD 5s long"));
    c.ask::<Replies>(&again);
    c.ask::<Value>(&format!("RL.SETTLE {call} USED 1 HOLD long"));
    let month_ms = 30 * 24 * HOUR_MS;
    assert!(expires_at(&mut c, "h") > server_ms(&mut c) + month_ms - HOUR_MS);
    server.set_clock(3_600);
    assert_eq!(c.ask::<Replies>(&again).0, 1);
    let left = expires_at(&mut c, "h") - server_ms(&mut c);
    assert!(left <= 65_000, "{left}");
}

/// The part that is still held stays charged once, and is remembered for as long as before.
#[test]
fn repeat_of_a_hold_that_was_refunded_in_part_charges_that_part() {
    let (server, mut c) = start();
    reserve(&mut c, 300, "10s id");
    server.set_clock(30);
    let only_window = "RL.ALL 2 w h WINDOW 1000 30d COST 1 HOLD 1m other";
    assert_eq!(c.ask::<Replies>(only_window).0, 1);
    assert_eq!(used(&mut c), [300, 1]);
    let (taken, _, each) = reserve(&mut c, 300, "10s id");
    assert_eq!((taken, each[0][0], each[1][0]), (1, 0, 300));
    assert_eq!(used(&mut c), [300, 301]);
    // The bucket takes 300 days to fill, and the window lasts for 30.
    let left: i64 = c.ask("PTTL h");
    assert!(left > 290 * 24 * HOUR_MS, "{left}");
}

/// The call is denied, but the limits get back what the record no longer holds.
#[test]
fn denied_call_refunds_an_overdue_hold_of_one() {
    let (server, mut c) = start();
    reserve(&mut c, 1, "10s id");
    server.set_clock(30);
    assert_eq!(reserve(&mut c, 2_000, "10s other").0, 0);
    assert_eq!(used(&mut c), [0, 0]);
    let counts = ["tokens_given", "window_tokens_given", "holds_returned"];
    assert_eq!(
        counts.map(|name| server.count(&format!("rl_{name}"))),
        [1; 3]
    );
}

#[test]
fn overdue_hold_is_refunded_after_the_clock_stepped_back_behind_the_last_walk() {
    let (server, mut c) = start();
    reserve(&mut c, 300, "1h id");
    server.set_clock(4_000);
    reserve(&mut c, 1, "24h walks");
    assert_eq!(used(&mut c)[1], 1);
    server.set_clock(100);
    reserve(&mut c, 20, "60s back");
    server.set_clock(1_000);
    reserve(&mut c, 1, "24h other");
    assert_eq!(used(&mut c)[1], 2);
}

/// Whatever is wrong with a call is found before an overdue hold is refunded.
#[test]
fn wrong_call_refunds_no_overdue_hold() {
    let (server, mut c) = start();
    reserve(&mut c, 300, "10s id");
    c.ask::<()>("SET text something");
    server.set_clock(50);
    let before = state(&mut c);
    for words in [
        "RL.ALL 3 w text h WINDOW 1000 30d WINDOW 9 1h HOLD 1h other",
        "RL.ALL 3 w text h WINDOW 1000 30d LEASE 9 1h me HOLD 1h other",
        "RL.ALL 3 w v h WINDOW 1000 30d WINDOW 9 UNTIL 1000 HOLD 1h other",
        "RL.ALL 2 w h WINDOW 1000 30d HOLD 1h id",
    ] {
        c.error(words);
        assert_eq!(state(&mut c), before, "{words}");
    }
    assert_eq!(server.count("rl_holds_walks"), 0);
}

#[test]
fn overdue_hold_on_a_sliding_window_is_refunded() {
    let (server, mut c) = start();
    let call = "RL.ALL 2 w h WINDOW 1000 SLIDING 16h";
    assert_eq!(
        c.ask::<Replies>(&format!("{call} COST 300 HOLD 10s id")).0,
        1
    );
    server.set_clock(30);
    let (taken, _, each): Replies = c.ask(&format!("{call} COST 1 HOLD 1h other"));
    assert_eq!((taken, each[0][2]), (1, 999));
    assert_eq!(server.count("rl_holds_returned"), 1);
}

#[test]
fn overdue_hold_of_other_limits_stays_charged() {
    let (server, mut c) = start();
    reserve(&mut c, 300, "10s id");
    server.set_clock(30);
    let other = "RL.ALL 2 v h WINDOW 9 1h HOLD 1h other";
    assert_eq!(c.ask::<Replies>(other).0, 1);
    let only_window = "RL.ALL 2 w h WINDOW 1000 30d COST 1 HOLD 1h third";
    server.set_clock(32);
    assert_eq!(c.ask::<Replies>(only_window).0, 1);
    assert_eq!(used(&mut c), [300, 1]);
    let listed = holds(&mut c, "h").4.remove(0);
    assert_eq!(listed.3, [(b"b".to_vec(), 300), (b"w".to_vec(), 0)]);
    // Its settlement moves each limit from what it still holds.
    let (status, _, each) = settle(&mut c, 100, "id");
    assert_eq!((status, each[0][0], each[1][0]), (1, -200, 100));
    assert_eq!(used(&mut c), [100, 101]);
}

#[test]
fn repeat_of_a_refunded_hold_charges_it_again() {
    let (server, mut c) = start();
    reserve(&mut c, 300, "10s id");
    server.set_clock(20);
    // A repeat never refunds its own hold.
    let (_, _, each) = reserve(&mut c, 300, "10s id");
    assert_eq!((each[0][0], each[1][0]), (0, 0));
    server.set_clock(40);
    reserve(&mut c, 1, "1h other");
    assert_eq!(used(&mut c), [1, 1]);
    let (taken, _, each) = reserve(&mut c, 300, "10s id");
    assert_eq!((taken, each[0][0], each[1][0]), (1, 300, 300));
    assert_eq!(used(&mut c), [301, 301]);
    assert_eq!(settle(&mut c, 0, "id").0, 1);
    assert_eq!(used(&mut c), [1, 1]);
}

#[test]
fn ids_are_remembered_for_a_minute() {
    let (server, mut c) = start();
    wait_until("the ids are used again within their minute", || {
        server.set_clock(0);
        c.ask::<()>("FLUSHALL");
        reserve(&mut c, 300, "1h settled");
        let settled_at = server_ms(&mut c);
        settle(&mut c, 120, "settled");
        settle(&mut c, 0, "closed");
        // Keeps the key: otherwise it would expire with its last record.
        reserve(&mut c, 1, "1h other");
        server.set_clock(58);
        let errors = ["1h settled", "1h closed"].map(|hold| {
            let words = reserve_words(300, hold);
            let words: Vec<_> = words.split(' ').collect();
            let error = call(words[0], &words[1..]).query::<Replies>(&mut c).err();
            error.and_then(|error| error.detail().map(str::to_owned))
        });
        let (status, ..) = settle(&mut c, 0, "settled");
        if server_ms(&mut c) >= settled_at + 60_000 {
            return false;
        }
        let expected = [
            "hold 'settled' was settled",
            "hold 'closed' was cancelled before it was made",
        ];
        assert_eq!(errors, expected.map(|error| Some(error.to_owned())));
        assert_eq!((status, used(&mut c)[1]), (0, 121));
        true
    });
    server.set_clock(61);
    // No call has deleted them yet.
    assert_eq!(c.ask::<i64>("HLEN h"), 4);
    assert_eq!(count(&mut c, "h"), [1, 0, 0]);
    for id in ["settled", "closed"] {
        assert_eq!(reserve(&mut c, 10, &format!("1h {id}")).0, 1, "{id}");
    }
    assert_eq!(used(&mut c)[1], 141);
}

/// Makes the call, and checks that the holds key then expires this many milliseconds after it.
fn assert_key_lives(c: &mut Connection, lives: i64, call: impl FnOnce(&mut Connection) -> Replies) {
    let before = server_ms(c);
    call(c);
    let after = server_ms(c);
    let expires = expires_at(c, "h");
    assert!(
        (before + lives..=after + lives).contains(&expires),
        "{lives}: {expires}, {before} to {after}"
    );
}

/// A walk leaves the record of the call's own id alone, and counts it: once it is the last one that is
/// open, the key lives as long as it does.
#[test]
fn repeat_that_walks_keeps_its_hold() {
    let (server, mut c) = start();
    let ids = ["own", "other", "overdue"];
    reserve(&mut c, 300, "24h own ELSE CHARGE");
    reserve(&mut c, 20, "1h other ELSE CHARGE");
    reserve(&mut c, 1, "10s overdue");
    server.set_clock(20);
    let (taken, _, each) = reserve(&mut c, 300, "24h own ELSE CHARGE");
    assert_eq!((taken, each[2][..3].to_vec()), (1, vec![1, 10_000, 9_997]));
    assert_eq!(server.count("rl_holds_returned"), 1);
    for id in &ids[1..] {
        settle(&mut c, 1, id);
    }
    let left: i64 = c.ask("PTTL h");
    assert!(left > 24 * HOUR_MS, "{left}");
    server.set_clock(12 * 3_600);
    assert_eq!(settle(&mut c, 120, "own").0, 1);
    assert_eq!(used(&mut c)[1], 122);
}

/// A walk that finds only shorter holds leaves the key until the new one is forgotten.
#[test]
fn hold_of_a_call_that_walks_outlives_the_others() {
    let (server, mut c) = start();
    reserve(&mut c, 20, "1h other ELSE CHARGE");
    reserve(&mut c, 1, "10s overdue");
    server.set_clock(20);
    reserve(&mut c, 300, "24h own ELSE CHARGE");
    assert_eq!(server.count("rl_holds_returned"), 1);
    let left: i64 = c.ask("PTTL h");
    assert!(left > 47 * HOUR_MS, "{left}");
}

#[test]
fn holds_key_lives_until_its_last_id_is_forgotten() {
    let (server, mut c) = start();
    // ELSE CHARGE: the deadline and the greater of ttl and a minute. ELSE FREE: the window's end.
    for (hold, lives) in [
        ("2h id ELSE CHARGE", 4 * HOUR_MS),
        ("5s id ELSE CHARGE", 65_000),
    ] {
        c.ask::<()>("FLUSHALL");
        assert_key_lives(&mut c, lives, |c| reserve(c, 3, hold));
    }
    c.ask::<()>("FLUSHALL");
    let month = 30 * 24 * HOUR_MS;
    assert_key_lives(&mut c, month, |c| reserve(c, 3, "5s id"));
    // Refunded and settled ids are forgotten soon, even if the call that refunds is denied.
    for cost in [2_000, 3] {
        server.set_clock(0);
        c.ask::<()>("FLUSHALL");
        reserve(&mut c, 3, "5s id");
        server.set_clock(10);
        assert_key_lives(&mut c, HOUR_MS, |c| {
            reserve(c, cost, "5s other ELSE CHARGE")
        });
    }
    settle(&mut c, 3, "other");
    assert_key_lives(&mut c, 60_000, |c| settle(c, 3, "id"));
    server.set_clock(75);
    assert_eq!(c.ask::<i64>("EXISTS h"), 0);
}

/// After the window has ended, the held amount stays in the old one, and only the excess is charged
/// to the new one.
#[test]
fn settlement_after_midnight_charges_the_new_window_only_the_difference() {
    let (server, mut c) = start();
    let hour = "RL.ALL 2 w h WINDOW 1000 HOUR COST 300 HOLD 10m id";
    for (used_after, others, moved) in [
        (120, 0, 0),
        (300, 0, 0),
        (450, 0, 150),
        // Nothing comes back from the use of others.
        (120, 700, 0),
        (450, 700, 150),
    ] {
        server.set_clock(0);
        c.ask::<()>("FLUSHALL");
        // A minute before the hour ends.
        let (seconds, _): (i64, i64) = c.ask("TIME");
        let to_edge = 3_600 - seconds % 3_600;
        server.set_clock(to_edge - 60);
        let (taken, _, each): Replies = c.ask(hour);
        assert_eq!((taken, each[0][0]), (1, 300));
        server.set_clock(to_edge + 2);
        wait_until("the hour has ended", || {
            c.ask::<Reply>("RL.WPEEK w 1000 HOUR")[2] == 1000
        });
        c.ask::<Reply>(&format!("RL.WTAKE w 1000 HOUR COST {others}"));
        let settle = format!("RL.SETTLE 2 w h WINDOW 1000 HOUR USED {used_after} HOLD id");
        let (status, _, each): Replies = c.ask(&settle);
        assert_eq!((status, each[0][0]), (1, moved), "{used_after}");
        let window: Reply = c.ask("RL.WPEEK w 1000 HOUR");
        assert_eq!(1000 - window[2], others + moved, "{used_after}");
        assert_eq!(c.ask::<i64>("EXISTS w"), i64::from(others + moved > 0));
    }
}

#[test]
fn until_that_has_passed_is_no_error_for_what_is_held() {
    let (server, mut c) = start();
    let (seconds, _): (i64, i64) = c.ask("TIME");
    let end = (seconds + 60) * 1_000;
    let call = |id: &str| format!("RL.ALL 2 w h WINDOW 1000 UNTIL {end} COST 300 HOLD 10m {id}");
    assert_eq!(c.ask::<Replies>(&call("id")).0, 1);
    server.set_clock(120);
    let (taken, _, each): Replies = c.ask(&call("id"));
    assert_eq!((taken, each[0]), (1, [0, 1000, 1000, 0, 0]));
    assert!(c.error(&call("new")).starts_with("ERR UNTIL must be"));
    let settle =
        |end: i64, id: &str| format!("RL.SETTLE 2 w h WINDOW 1000 UNTIL {end} USED 450 HOLD {id}");
    let error = c.error(&settle(end * 1_000, "id"));
    assert!(error.starts_with("ERR UNTIL must be"), "{error}");
    let (status, _, each): Replies = c.ask(&settle(end, "id"));
    assert_eq!((status, each[0][0]), (1, 0));
    assert_eq!(c.ask::<i64>("EXISTS w"), 0, "no window was opened");
}

/// Only the sub-window of the charge is refunded, whoever else used the window.
#[test]
fn sliding_window_is_refunded_from_the_sub_window_of_the_charge() {
    let (server, mut c) = start();
    let call = "RL.ALL 2 w h WINDOW 100 SLIDING 16m COST 30 HOLD 1h";
    let (seconds, _): (i64, i64) = c.ask("TIME");
    let sub_window = |n: i64| 60 - seconds % 60 + 60 * n + 5;
    server.set_clock(sub_window(0));
    c.ask::<()>("RL.WTAKE w 100 SLIDING 16m COST 7");
    server.set_clock(sub_window(1));
    c.ask::<Replies>(&format!("{call} id"));
    server.set_clock(sub_window(2));
    c.ask::<()>("RL.WTAKE w 100 SLIDING 16m COST 11");
    let before: Vec<u8> = c.ask("GET w");
    let settle = |used: u64, id: &str| {
        format!("RL.SETTLE 2 w h WINDOW 100 SLIDING 16m USED {used} HOLD {id}")
    };
    let (status, _, each): Replies = c.ask(&settle(10, "id"));
    assert_eq!((status, each[0][0]), (1, -20));
    let counters = |bytes: &[u8]| -> Vec<u64> {
        let words = bytes[17..].chunks(8);
        words
            .map(|word| u64::from_le_bytes(word.try_into().expect("a word")))
            .collect()
    };
    assert_eq!(counters(&before)[..3], [11, 30, 7]);
    assert_eq!(counters(&c.ask::<Vec<u8>>("GET w"))[..3], [11, 10, 7]);

    // Once a take has converted the window to another length, nothing comes back.
    c.ask::<Replies>(&format!("{call} other"));
    server.set_clock(sub_window(5));
    c.ask::<()>("RL.WTAKE w 100 SLIDING 8m COST 1");
    let (status, _, each): Replies = c.ask(&settle(0, "other"));
    assert_eq!((status, each[0][0]), (1, 0));
}

/// A bucket that became full would have lost its refill. A late settlement does not restore it:
/// otherwise held tokens could be saved up beyond the burst.
#[test]
fn bucket_never_gets_more_back_than_if_less_had_been_taken() {
    let (server, mut c) = start();
    for n in 0..5 {
        server.set_clock(n * 1_000);
        let call = format!("RL.ALL 2 b h BUCKET 1/m 10 COST 10 HOLD 24h {n}");
        assert_eq!(c.ask::<Replies>(&call).0, 1);
    }
    server.set_clock(6_000);
    assert_eq!(c.take("b 1/m 10 COST 10")[0], 10);
    for n in 0..5 {
        let (status, _, each): Replies =
            c.ask(&format!("RL.SETTLE 2 b h BUCKET 1/m 10 USED 0 HOLD {n}"));
        assert_eq!((status, each[0][0]), (1, 0), "{n}");
    }
    assert!(c.take("b 1/m 10 COST 10")[0] == 0, "no more than the burst");

    // In part: soon after the charge, a bucket that lost nothing gets all of it.
    server.set_clock(10_000);
    c.ask::<()>("FLUSHALL");
    c.ask::<Replies>("RL.ALL 2 b h BUCKET 1/m 10 COST 10 HOLD 1h id");
    let (_, _, each): Replies = c.ask("RL.SETTLE 2 b h BUCKET 1/m 10 USED 4 HOLD id");
    assert_eq!((each[0][0], each[0][2]), (-6, 6));
}

/// The window stays in force, and the charge counts as made at its start.
#[test]
fn refund_after_a_small_step_back_reaches_the_window_that_was_charged() {
    let (server, mut c) = start();
    for window in ["1h", "SLIDING 16h"] {
        server.set_clock(0);
        c.ask::<()>("FLUSHALL");
        c.ask::<()>(&format!("RL.WTAKE w 1000 {window} COST 1"));
        server.set_clock(-600);
        let call = format!("RL.ALL 2 w h WINDOW 1000 {window} COST 300 HOLD 1h id");
        assert_eq!(c.ask::<Replies>(&call).0, 1, "{window}");
        let settle = format!("RL.SETTLE 2 w h WINDOW 1000 {window} USED 120 HOLD id");
        let (status, _, each): Replies = c.ask(&settle);
        assert_eq!((status, each[0][0]), (1, -180), "{window}");
        assert_eq!(c.ask::<Reply>(&format!("RL.WPEEK w 1000 {window}"))[2], 879);
    }
}
