//! RL.WTAKE: what is admitted, and when.

use std::sync::Barrier;
use std::thread;

use redis::Connection;

use crate::calendar::{self, Unit};
use crate::common::{until, wait_until, Server};
use crate::support::windows::{fixed, mid_month, mid_year, now_ms, stored};
use crate::support::{call, expires_at, Ask, Reply, HOUR_MS};
use crate::windows::Stored;

/// Returns windows that do not end while a test runs.
fn long() -> [String; 5] {
    [
        "30d".into(),
        mid_year(),
        mid_month() + " OFFSET -05:00",
        "UNTIL 2000000000000".into(),
        "SLIDING 30d".into(),
    ]
}

/// Holds however late this test is scheduled: a denied caller asked before the wait was over, an
/// allowed one after it.
#[test]
fn two_takes_succeed_and_the_third_waits_exactly() {
    let server = Server::start();
    let mut c = server.connection();
    for window in ["400ms", "SLIDING 400ms"] {
        let take = format!("RL.WTAKE k 2 {window}");
        let (replies, before, after) = until("three calls come within a window", || {
            c.ask::<()>("DEL k");
            let [first, second] = [(); 2].map(|()| c.ask::<Reply>(&take));
            let before = now_ms();
            let third = c.ask::<Reply>(&take);
            let after = now_ms();
            (third[0] == 0).then_some(([first, second, third], before, after))
        });
        assert_eq!(replies[0][..4], [1, 2, 1, 0]);
        assert_eq!(replies[1][..4], [1, 2, 0, 0]);
        let [taken, limit, remaining, wait_ms, reset_ms] = replies[2];
        assert_eq!([taken, limit, remaining], [0, 2, 0]);
        // A sliding window counts a sixteenth longer.
        assert!((1..=425).contains(&wait_ms), "wait {wait_ms} ms");
        assert!((wait_ms..=425).contains(&reset_ms), "reset {reset_ms} ms");
        wait_until("it is allowed again", || {
            let asked = now_ms();
            let allowed = c.ask::<Reply>(&take)[0] == 1;
            if allowed {
                assert!(now_ms() >= before + wait_ms, "{window}: allowed too early");
            } else {
                assert!(asked < after + wait_ms, "{window}: denied after the wait");
            }
            allowed
        });
    }
}

/// The server's expiry is a second clock: it may neither free too early nor keep too long.
#[test]
fn retry_after_wait_ms_is_admitted() {
    let server = Server::start();
    let mut c = server.connection();
    for window in ["20ms", "SLIDING 16ms", "SLIDING 7ms", "1ms", "SLIDING 1ms"] {
        let take = format!("RL.WTAKE {} 1 {window}", window.replace(' ', "-"));
        let mut waited = 0;
        wait_until("waits are told and kept", || {
            // Sent together, because a window of a millisecond ends before the answer is read.
            let mut together = redis::pipe();
            for _ in 0..2 {
                let words: Vec<_> = take.split(' ').collect();
                together.cmd(words[0]).arg(&words[1..]);
            }
            let [_, [taken, _, _, wait_ms, _]]: [Reply; 2] =
                together.query(&mut c).expect("replies");
            let told = now_ms();
            if taken == 0 {
                assert!(wait_ms > 0, "{window}: {wait_ms} ms");
                wait_until("the wait is over", || now_ms() >= told + wait_ms);
                let again = c.ask::<Reply>(&take);
                assert_eq!(again[0], 1, "{window}: after {wait_ms} ms {again:?}");
                waited += 1;
            }
            waited >= 10
        });
    }
}

/// A key may expire by the server's clock between the beginning of a call and the moment at which
/// the server is asked for the expiry. Calls of a script follow one another so closely that some of
/// them meet that moment.
#[test]
fn windows_of_one_key_never_overlap() {
    let server = Server::start();
    let mut c = server.connection();
    let script = "local windows = {} \
         for call = 1, 20000 do \
           if redis.call('RL.WTAKE', KEYS[1], 1, '2ms')[1] == 1 then \
             windows[#windows + 1] = redis.call('GET', KEYS[1]) \
           end \
         end \
         return windows";
    let mut last = i64::MIN;
    for _ in 0..20 {
        let windows: Vec<Vec<u8>> = c.call(&["EVAL", script, "1", "k"]);
        for window in windows {
            let Some(Stored::Fixed { start, end, .. }) = Stored::read(&window) else {
                panic!("no fixed window: {window:?}");
            };
            assert!(
                last <= start,
                "the window before ended at {last}, not {start}"
            );
            last = end;
        }
    }
}

/// The same call would name an end that has passed.
#[test]
fn retry_after_until_is_admitted_under_a_later_end() {
    let server = Server::start();
    let mut c = server.connection();
    let take = |end: i64| format!("RL.WTAKE k 2 UNTIL {end} COST 2");
    let (end, taken, left, wait_ms) = until("two calls come before the end", || {
        c.ask::<()>("DEL k");
        let end = now_ms() + 300;
        let first = call(
            "RL.WTAKE",
            &take(end).split(' ').skip(1).collect::<Vec<_>>(),
        );
        let first = first.query::<Reply>(&mut c);
        let before = now_ms();
        let [taken, _, _, wait_ms, _] = c.ask::<Reply>(&take(end + HOUR_MS));
        let after = now_ms();
        let is_early = after < end;
        is_early.then(|| {
            assert_eq!(first.expect("an end to come")[0], 2);
            (end, taken, end - after..=end - before, wait_ms)
        })
    });
    assert_eq!(taken, 0, "the window in force ends when it did");
    assert!(left.contains(&wait_ms), "{wait_ms} ms, not {left:?}");
    wait_until("the wait is over", || now_ms() >= end);
    assert_eq!(c.ask::<Reply>(&take(end + HOUR_MS))[0], 2);
    let error = c.error(&take(end));
    assert!(error.starts_with("ERR UNTIL must be later"), "{error}");
}

#[test]
fn fifty_concurrent_clients_take_exactly_the_limit() {
    let server = Server::start();
    for window in long() {
        let start = Barrier::new(50);
        let client = |mut c: Connection| {
            start.wait();
            let takes = (0..10).map(|_| c.ask::<Reply>(&format!("RL.WTAKE k 123 {window}"))[0]);
            takes.sum::<i64>()
        };
        let admitted: i64 = thread::scope(|scope| {
            let connections: Vec<_> = (0..50).map(|_| server.connection()).collect();
            let clients: Vec<_> = connections
                .into_iter()
                .map(|c| scope.spawn(|| client(c)))
                .collect();
            let counts = clients.into_iter().map(|client| client.join());
            counts.map(|count| count.expect("a count")).sum()
        });
        assert_eq!(admitted, 123, "{window}");
        server.ask::<()>("FLUSHALL");
    }
}

#[test]
fn window_cost_is_charged_whole_or_not_at_all() {
    let server = Server::start();
    let mut c = server.connection();
    for window in long() {
        c.ask::<()>("FLUSHALL");
        let mut take = |options: &str| c.ask::<Reply>(&format!("RL.WTAKE k 10 {window}{options}"));
        assert_eq!(take(" COST 3")[..4], [3, 10, 7, 0], "{window}");
        let [taken, _, remaining, wait_ms, reset_ms] = take(" cost 8");
        assert_eq!([taken, remaining], [0, 7], "{window}");
        assert!(wait_ms > 0 && wait_ms <= reset_ms, "{window}");
        assert_eq!(take(" Cost 11")[..4], [0, 10, 7, -1], "{window}");
        assert_eq!(take(" COST 7")[..4], [7, 10, 0, 0], "{window}");
        let never = c.ask::<Reply>(&format!("RL.WTAKE new 10 {window} COST 11"));
        assert_eq!(never, [0, 10, 10, -1, 0], "{window}");
        assert_eq!(c.ask::<i64>("EXISTS new"), 0);
    }
}

#[test]
fn keep_leaves_a_reserve_in_a_window() {
    let server = Server::start();
    let mut c = server.connection();
    for window in long() {
        c.ask::<()>("FLUSHALL");
        let mut take = |options: &str| c.ask::<Reply>(&format!("RL.WTAKE k 10 {window} {options}"));
        assert_eq!(take("KEEP 8 COST 2")[..4], [2, 10, 8, 0], "{window}");
        let [taken, _, remaining, wait_ms, _] = take("KEEP 8");
        assert_eq!([taken, remaining], [0, 8], "{window}");
        assert!(wait_ms > 0, "{window}: {wait_ms} ms");
        assert_eq!(take("COST 9 KEEP 2")[..4], [0, 10, 8, -1], "{window}");
        assert_eq!(
            take("COST 50 KEEP 5 ATMOST")[..4],
            [3, 10, 5, 0],
            "{window}"
        );
        assert_eq!(take("COST 50 keep 5 ATMOST")[0], 0, "{window}");
        assert_eq!(take("KEEP 10 ATMOST")[..4], [0, 10, 5, -1], "{window}");
        assert_eq!(take("COST 5")[..4], [5, 10, 0, 0], "{window}");
    }
}

#[test]
fn atmost_takes_the_rest_and_force_everything() {
    let server = Server::start();
    let mut c = server.connection();
    for window in long() {
        c.ask::<()>("FLUSHALL");
        let mut take = |options: &str| c.ask::<Reply>(&format!("RL.WTAKE k 5 {window} {options}"));
        assert_eq!(take("COST 3 ATMOST")[..4], [3, 5, 2, 0], "{window}");
        assert_eq!(take("atmost COST 3")[..4], [2, 5, 0, 0], "{window}");
        assert_eq!(take("COST 3 ATMOST")[0], 0, "{window}");
        assert_eq!(take("FORCE COST 9")[..4], [9, 5, 0, 0], "{window}");
        let owed = c.ask::<Reply>(&format!("RL.WTAKE k 14 {window}"));
        assert_eq!(owed[..3], [0, 14, 0], "{window}: all fourteen are used");
        let raised = c.ask::<Reply>(&format!("RL.WTAKE k 15 {window}"));
        assert_eq!(raised[..3], [1, 15, 0], "{window}");
    }
}

#[test]
fn changed_limit_keeps_the_usage() {
    let server = Server::start();
    let mut c = server.connection();
    for window in long() {
        c.ask::<()>("FLUSHALL");
        let mut take = |words: &str| {
            let [limit, options] = words.split_once(' ').map_or([words, ""], |(l, o)| [l, o]);
            c.ask::<Reply>(format!("RL.WTAKE k {limit} {window} {options}").trim_end())
        };
        assert_eq!(take("10 COST 4")[..3], [4, 10, 6], "{window}");
        assert_eq!(take("1000")[..3], [1, 1000, 995], "{window}: raised");
        assert_eq!(
            take("3")[..3],
            [0, 3, 0],
            "{window}: lowered below what is used"
        );
        assert_eq!(take("6")[..3], [1, 6, 0], "{window}: lowered");
    }
}

#[test]
fn zero_limit_denies_everything_except_force() {
    let server = Server::start();
    let mut c = server.connection();
    for window in long() {
        c.ask::<()>("FLUSHALL");
        for call in [
            format!("RL.WTAKE k 0 {window}"),
            format!("RL.WTAKE k 0 {window} COST 5 ATMOST"),
            format!("RL.WTAKE k 0 {window} KEEP 1"),
            format!("RL.WPEEK k 0 {window}"),
        ] {
            assert_eq!(c.ask::<Reply>(&call), [0, 0, 0, -1, 0], "{call}");
        }
        assert_eq!(c.ask::<Reply>(&format!("RL.WGIVE k 0 {window}")), [0; 5]);
        assert_eq!(c.ask::<i64>("DBSIZE"), 0);
        let forced = c.ask::<Reply>(&format!("RL.WTAKE k 0 {window} COST 2 FORCE"));
        assert_eq!(forced[..4], [2, 0, 0, 0], "{window}");
    }
}

/// A duration begins with the take; a calendar window at its own start.
#[test]
fn fixed_window_is_25_bytes_and_expires_at_its_end() {
    let server = Server::start();
    let mut c = server.connection();
    let lasts = |length: i64| move |now: i64| (now, now + length);
    type Expected<'a> = Box<dyn Fn(i64) -> (i64, i64) + 'a>;
    let of = |unit, offset| move |now: i64| calendar::window(unit, offset, now);
    let windows: [(&str, Expected); 14] = [
        ("15m", Box::new(lasts(15 * 60_000))),
        ("2weeks", Box::new(lasts(14 * 24 * HOUR_MS))),
        ("36525d", Box::new(lasts(36_525 * 24 * HOUR_MS))),
        (
            "UNTIL 2000000000000",
            Box::new(|now| (now, 2_000_000_000_000)),
        ),
        ("hour", Box::new(of(Unit::Hour, 0))),
        ("HOUR OFFSET +05:45", Box::new(of(Unit::Hour, 345))),
        ("Day", Box::new(of(Unit::Day, 0))),
        ("DAY OFFSET -23:59", Box::new(of(Unit::Day, -1439))),
        ("WEEK", Box::new(of(Unit::Week(1), 0))),
        (
            "WEEK ANCHOR 7 offset +14:00",
            Box::new(of(Unit::Week(7), 840)),
        ),
        ("MONTH", Box::new(of(Unit::Month(1), 0))),
        (
            "MONTH OFFSET +09:00 ANCHOR 31",
            Box::new(of(Unit::Month(31), 540)),
        ),
        ("MONTH ANCHOR 29", Box::new(of(Unit::Month(29), 0))),
        ("YEAR OFFSET -08:00", Box::new(of(Unit::Year, -480))),
    ];
    for (window, expected) in windows {
        type State = (Option<Vec<u8>>, i64);
        let state = |c: &mut Connection| -> State { (c.ask("GET k"), expires_at(c, "k")) };
        let (from, reset_ms, to, opened, charged) = until("no window ends meanwhile", || {
            c.ask::<()>("FLUSHALL");
            let from = now_ms();
            let [.., reset_ms] = c.ask::<Reply>(&format!("RL.WTAKE k 10 {window} COST 3"));
            let to = now_ms();
            let opened = state(&mut c);
            // A later charge does not change the start.
            c.ask::<()>("RL.WTAKE k 10 1ms COST 2");
            let charged = state(&mut c);
            let (_, end) = expected(from);
            (now_ms() < end).then_some((from, reset_ms, to, opened, charged))
        });
        let holds = |now: i64| {
            let (start, end) = expected(now);
            let with = |used: u64| (Some(fixed(start, end, used)), end);
            opened == with(3) && charged == with(5) && reset_ms == end - now
        };
        assert!(
            (from..=to).any(holds),
            "{window}: {opened:?} {charged:?} {reset_ms}"
        );
    }
}

#[test]
fn sliding_window_is_153_bytes_and_expires_when_unused() {
    let server = Server::start();
    let mut c = server.connection();
    for (window, length) in [("1h", HOUR_MS), ("7d", 168 * HOUR_MS), ("1001s", 1_001_000)] {
        c.ask::<()>("FLUSHALL");
        let from = now_ms();
        let [.., reset_ms] = c.ask::<Reply>(&format!("RL.WTAKE k 10 SLIDING {window} COST 3"));
        let to = now_ms();
        assert_eq!(c.ask::<i64>("STRLEN k"), 153);
        let Stored::Sliding {
            length: stored,
            newest,
            taken,
        } = stored(&mut c, "k")
        else {
            panic!("{window} is no sliding window");
        };
        assert_eq!(stored, length as u64);
        let newest = newest as i64;
        assert!((16 * from / length..=16 * to / length).contains(&newest));
        assert_eq!(taken[&newest.into()], 3, "{window}");
        // Sub-windows begin at whole milliseconds.
        let unused = ((newest + 17) * length + 15) / 16;
        assert_eq!(expires_at(&mut c, "k"), unused, "{window}");
        assert!(
            (unused - to..=unused - from).contains(&reset_ms),
            "{window}"
        );
    }
}

#[test]
fn keys_of_any_bytes_have_separate_windows() {
    let server = Server::start();
    let mut c = server.connection();
    let long = vec![b'k'; 100_000];
    let keys: [&[u8]; 9] = [
        b"",
        b"\0",
        b"\xff\xfe\x80",
        b"a b\r\n",
        b"SLIDING",
        b"DAY",
        b"10",
        b"COST",
        &long,
    ];
    for key in keys {
        for remaining in [1, 0] {
            let command = call("RL.WTAKE", &[key, b"2", b"30d"]);
            let reply: Reply = command.query(&mut c).expect("a reply");
            assert_eq!(reply[..3], [1, 2, remaining]);
        }
    }
    assert_eq!(c.ask::<usize>("DBSIZE"), keys.len());
}

#[test]
fn del_opens_a_new_window() {
    let server = Server::start();
    let mut c = server.connection();
    for window in long() {
        let take = format!("RL.WTAKE k 5 {window} COST 5");
        assert_eq!(c.ask::<Reply>(&take)[0], 5, "{window}");
        assert_eq!(c.ask::<Reply>(&take)[0], 0, "{window}");
        c.ask::<()>("DEL k");
    }
}
