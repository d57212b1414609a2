//! RL.WGIVE refunds a window.

use crate::clock::launch_with_clock;
use crate::common::{until, wait_until, Server};
use crate::support::windows::{
    mid_day, mid_month, mid_year, now_ms, put, put_five_used, sliding, used,
};
use crate::support::{Ask, Reply, HOUR_MS};
use crate::windows::Stored;

#[test]
fn window_refund_is_capped_at_the_usage() {
    let server = Server::start();
    let mut c = server.connection();
    let year = mid_year() + " OFFSET +01:00";
    for window in ["1h", &mid_day(), &year, "SLIDING 1h"] {
        let mut give = |words: &str| c.ask::<Reply>(&format!("RL.WGIVE {words}"));
        let none = give(&format!("k 5 {window}"));
        assert_eq!(none, [0, 5, 5, 0, 0], "{window}: nothing is used");
        c.ask::<()>(&format!("RL.WTAKE k 5 {window} COST 3"));
        let mut give = |words: &str| c.ask::<Reply>(&format!("RL.WGIVE {words}"));
        let one = give(&format!("k 5 {window}"));
        assert_eq!(one[..4], [1, 5, 3, 0], "{window}");
        let rest = give(&format!("k 5 {window} COST 10"));
        assert_eq!(rest, [2, 5, 5, 0, 0], "{window}");
        assert_eq!(c.ask::<i64>("DBSIZE"), 0, "{window}: unused, it is no key");
        assert_eq!(
            c.ask::<Reply>(&format!("RL.WTAKE k 5 {window} COST 5"))[0],
            5
        );
        c.ask::<()>("FLUSHALL");
    }
}

#[test]
fn window_refund_repays_forced_usage_first() {
    let server = Server::start();
    let mut c = server.connection();
    for window in ["1h", &mid_month(), "SLIDING 1h"] {
        c.ask::<()>("FLUSHALL");
        c.ask::<()>(&format!("RL.WTAKE k 5 {window} COST 8 FORCE"));
        let given: Reply = c.ask(&format!("RL.WGIVE k 5 {window} COST 4"));
        assert_eq!(given[..3], [4, 5, 1], "{window}");
        assert_eq!(
            c.ask::<Reply>(&format!("RL.WTAKE k 5 {window}"))[..3],
            [1, 5, 0]
        );
    }
}

#[test]
fn at_refunds_only_the_window_in_force() {
    let server = Server::start();
    let mut c = server.connection();
    let sub_window = |instant: i64| 16 * instant / HOUR_MS;
    for (window, is_sliding) in [("2h", ""), ("SLIDING 1h", "SLIDING ")] {
        for (ago, given) in [
            (2 * HOUR_MS, 0),
            (400 * 24 * HOUR_MS, 0),
            (0, 3),
            // Later than now is now.
            (-100 * HOUR_MS, 3),
        ] {
            until("no sub-window ends between the calls", || {
                let began = now_ms();
                put_five_used(&mut c, is_sliding);
                let words = format!("RL.WGIVE k 10 {window} COST 3 AT {}", now_ms() - ago);
                let reply: Reply = c.ask(&words);
                let same = sub_window(began) == sub_window(now_ms());
                same.then(|| {
                    assert_eq!(reply[..3], [given, 10, 5 + given], "{words}");
                    assert_eq!(used(&mut c, "k"), 5 - given, "{words}");
                })
            });
        }
    }
}

/// The youngest usage, which counts longest, stays, so nothing is freed too early.
#[test]
fn sliding_refund_without_at_starts_with_the_oldest() {
    let server = Server::start();
    let mut c = server.connection();
    let sixteenth = HOUR_MS / 16;
    let now = now_ms();
    let old = sliding(HOUR_MS, now - 8 * sixteenth, 3);
    put(&mut c, "k", &old, now + HOUR_MS);
    c.ask::<()>("RL.WTAKE k 10 SLIDING 1h COST 4");
    let before: Reply = c.ask("RL.WPEEK k 10 SLIDING 1h COST 6");
    assert!(before[3] <= 9 * sixteenth, "{before:?}");
    let given: Reply = c.ask("RL.WGIVE k 10 SLIDING 1h COST 3");
    assert_eq!(given[..3], [3, 10, 6]);
    let after: Reply = c.ask("RL.WPEEK k 10 SLIDING 1h COST 7");
    assert_eq!(after[0], 0);
    assert!(after[3] > 15 * sixteenth, "{after:?}");
    // The sub-window of the old takes is empty by now.
    let at = now - 8 * sixteenth;
    let none: Reply = c.ask(&format!("RL.WGIVE k 10 SLIDING 1h AT {at}"));
    assert_eq!(none[..3], [0, 10, 6]);
}

#[test]
fn refund_with_an_invalid_end_is_zero() {
    let server = Server::start();
    let mut c = server.connection();
    for end in ["0", "1700000000", "1700000000000", "9223372036854775807"] {
        put_five_used(&mut c, "");
        let reply: Reply = c.ask(&format!("RL.WGIVE k 10 UNTIL {end} COST 2"));
        assert_eq!(reply[..4], [0, 10, 5, 0], "{end}");
        assert_eq!(used(&mut c, "k"), 5, "{end}");
        assert_eq!(
            c.ask::<Reply>(&format!("RL.WGIVE none 10 UNTIL {end}")),
            [0, 10, 10, 0, 0]
        );
    }
}

/// Returns when the window at `k` began, or `None` if it is not a fixed one or has ended.
fn start(c: &mut redis::Connection) -> Option<i64> {
    let value: Option<Vec<u8>> = c.ask("GET k");
    match Stored::read(&value?) {
        Some(Stored::Fixed { start, .. }) => Some(start),
        _ => None,
    }
}

fn time_ms(c: &mut redis::Connection) -> i64 {
    let (seconds, micros): (i64, i64) = c.ask("TIME");
    seconds * 1_000 + micros / 1_000
}

/// A caller reads its clock before the take, and a window that opens with the take begins later.
#[test]
fn a_refund_of_the_take_that_opened_its_window_may_be_a_sixteenth_early() {
    let server = Server::start();
    let mut c = server.connection();
    for window in ["5h", "SLIDING 5h", "UNTIL"] {
        let (window, reply, start) = until("the take comes within a second", || {
            c.ask::<()>("FLUSHALL");
            let at = time_ms(&mut c);
            let window = match window {
                "UNTIL" => format!("UNTIL {}", at + 5 * HOUR_MS),
                window => window.to_owned(),
            };
            wait_until("the clock goes on", || time_ms(&mut c) > at + 2);
            c.ask::<Reply>(&format!("RL.WTAKE k 100 {window} COST 50"));
            let reply: Reply = c.ask(&format!("RL.WGIVE k 100 {window} COST 20 AT {at}"));
            let start = start(&mut c);
            let is_early = start.is_none_or(|start| start - at <= 1_000);
            is_early.then_some((window, reply, start))
        });
        assert_eq!(reply[..3], [20, 100, 70], "{window}");
        assert_eq!(start.is_none(), window.starts_with("SLIDING"));
        // A second, and no more.
        let Some(start) = start else {
            continue;
        };
        for (ago, given) in [(1_000, 1), (1_001, 0)] {
            let give = format!("RL.WGIVE k 100 {window} AT {}", start - ago);
            assert_eq!(c.ask::<Reply>(&give)[0], given, "{give}");
        }
    }
    // Of a short window it is a sixteenth.
    for (ago, expected) in [(600, 1), (601, 0)] {
        let given = until("the window lasts until the refund", || {
            c.ask::<()>("FLUSHALL");
            c.ask::<Reply>("RL.WTAKE k 100 9600ms COST 50");
            let start = start(&mut c)?;
            let reply: Reply = c.ask(&format!("RL.WGIVE k 100 9600ms AT {}", start - ago));
            (time_ms(&mut c) < start + 9_600).then_some(reply[0])
        });
        assert_eq!(given, expected, "{ago}");
    }
    // The edges of the calendar are exact.
    c.ask::<()>("FLUSHALL");
    let year = mid_year();
    c.ask::<Reply>(&format!("RL.WTAKE k 100 {year} COST 50"));
    let start = start(&mut c).expect("a fixed window");
    for (at, given) in [(start, 1), (start - 1, 0)] {
        let give = format!("RL.WGIVE k 100 {year} AT {at}");
        assert_eq!(c.ask::<Reply>(&give)[0], given, "{give}");
    }
}

/// TIME in a transaction is that of its beginning from Redis 7.2 on, also where it follows the take.
#[test]
fn a_refund_at_the_time_of_a_transaction_finds_its_take() {
    let server = Server::start();
    let mut c = server.connection();
    for window in ["5h", "SLIDING 16ms"] {
        let take = format!("RL.WTAKE k 100 {window} COST 50");
        let (give, given) = until("the take comes within a second", || {
            c.ask::<()>("FLUSHALL");
            let (_, (seconds, micros)): (Reply, (i64, i64)) = redis::pipe()
                .atomic()
                .add_command(words(&take))
                .cmd("TIME")
                .query(&mut c)
                .expect("replies");
            let at = seconds * 1_000 + micros / 1_000;
            let is_early = start(&mut c).is_none_or(|start| start - at <= 1_000);
            let give = format!("RL.WGIVE k 100 {window} COST 20 AT {at}");
            let given = c.ask::<Reply>(&give)[0];
            is_early.then_some((give, given))
        });
        // The window of 16 ms may have ended by now.
        assert!(given == 20 || window != "5h", "{give}: {given}");
    }
}

fn words(call: &str) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    command.arg(call.split(' ').collect::<Vec<_>>());
    command
}

/// The window in force is the one that the clock was in before it stepped back.
#[test]
fn after_a_step_back_a_refund_at_now_is_of_the_window_in_force() {
    let server = launch_with_clock().start();
    let mut c = server.connection();
    for window in ["5h", "SLIDING 16m", "UNTIL"] {
        server.set_clock(0);
        let window = match window {
            "UNTIL" => format!("UNTIL {}", time_ms(&mut c) + 5 * HOUR_MS),
            window => window.to_owned(),
        };
        c.ask::<Reply>(&format!("RL.WTAKE k 100 {window} COST 50"));
        server.set_clock(-130);
        for ago in [0, 500] {
            let at = time_ms(&mut c) - ago;
            let give = format!("RL.WGIVE k 100 {window} COST 20 AT {at}");
            assert_eq!(c.ask::<Reply>(&give)[0], 20, "{give}");
        }
        c.ask::<()>("FLUSHALL");
    }
}
