//! RL.TAKE: what is admitted, and when, with each of its options.

use std::sync::Barrier;
use std::thread;

use redis::Connection;

use crate::common::{until, wait_until, Server};
use crate::support::{call, expires_at, now, stored, Ask, HOUR_MS};

const TOKEN: i64 = 1 << 24;
const DAY_MS: i64 = 24 * HOUR_MS;

#[test]
fn two_are_allowed_the_third_is_denied_until_its_wait_is_over() {
    let server = Server::start();
    let mut c = server.connection();
    let call = "k 2 2";
    let ([first, second, third], before, after) = until("three calls come before a token", || {
        c.ask::<()>("DEL k");
        let start = now();
        let first = c.take(call);
        let second = c.take(call);
        let before = now();
        let third = c.take(call);
        let after = now();
        (after - start < 500_000_000).then_some(([first, second, third], before, after))
    });
    assert_eq!(first[..4], [1, 2, 1, 0]);
    assert_eq!(second[..4], [1, 2, 0, 0]);
    let [taken, limit, remaining, wait_ms, reset_ms] = third;
    assert_eq!([taken, limit, remaining], [0, 2, 0]);
    assert!((1..=500).contains(&wait_ms), "wait {wait_ms} ms");
    assert!(
        (wait_ms + 499..=wait_ms + 501).contains(&reset_ms),
        "reset {reset_ms} ms"
    );

    // However late this test gets its turn: whoever is denied asked before the wait was over,
    // and whoever is allowed asked after it, less the millisecond it is rounded by.
    let wait = u64::try_from(wait_ms).expect("a wait") * 1_000_000;
    wait_until("it is allowed again", || {
        let asked = now();
        let allowed = c.take(call)[0] == 1;
        if allowed {
            assert!(now() > before + wait - 1_000_000, "allowed too early");
        } else {
            assert!(asked < after + wait, "denied after the wait");
        }
        allowed
    });
}

#[test]
fn fifty_clients_at_once_get_exactly_the_burst() {
    let server = Server::start();
    let start = Barrier::new(50);
    let client = |mut c: Connection| {
        start.wait();
        (0..10).map(|_| c.take("k 1/d 123")[0]).sum::<i64>()
    };
    let admitted: i64 = thread::scope(|scope| {
        let connections = (0..50).map(|_| server.connection()).collect::<Vec<_>>();
        let clients: Vec<_> = connections
            .into_iter()
            .map(|c| scope.spawn(|| client(c)))
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().expect("a count"))
            .sum()
    });
    assert_eq!(admitted, 123);
}

#[test]
fn a_token_comes_back_after_the_time_that_the_rate_names() {
    let server = Server::start();
    let mut c = server.connection();
    let millis_per_token = [
        ("1", 1_000),
        ("3", 334),
        ("0.5", 2_000),
        ("0.001", 1_000_000),
        ("2.5", 400),
        ("1000000", 1),
        ("250000000", 1),
        ("1/250ms", 250),
        ("1/s", 1_000),
        ("100/m", 600),
        ("1/15m", 900_000),
        ("5000/h", 720),
        ("1/d", DAY_MS),
        ("0.5/7d", 14 * DAY_MS),
    ];
    for (rate, millis) in millis_per_token {
        assert_eq!(
            c.take(&format!("{rate} {rate} 5")),
            [1, 5, 4, 0, millis],
            "{rate}"
        );
    }
}

#[test]
fn a_cost_is_taken_whole_or_not_at_all() {
    let server = Server::start();
    let mut c = server.connection();
    assert_eq!(c.take("k 1/d 10 COST 3")[..4], [3, 10, 7, 0]);
    let [taken, limit, remaining, wait_ms, _] = c.take("k 1/d 10 cost 8");
    assert_eq!([taken, limit, remaining], [0, 10, 7]);
    assert!(
        (DAY_MS - 60_000..=DAY_MS).contains(&wait_ms),
        "wait {wait_ms} ms"
    );
    assert_eq!(c.take("k 1/d 10 Cost 11")[..4], [0, 10, 7, -1]);
    assert_eq!(c.take("k 1/d 10 COST 7")[..4], [7, 10, 0, 0]);
    assert_eq!(c.take("new 1/d 10 COST 11"), [0, 10, 10, -1, 0]);
    assert_eq!(c.ask::<i64>("EXISTS new"), 0);
}

#[test]
fn limits_may_change_between_calls_and_the_tokens_stay() {
    let server = Server::start();
    let mut c = server.connection();
    assert_eq!(c.take("k 1/d 10 COST 4")[2], 6);
    assert_eq!(
        c.take("k 1/d 1000")[..4],
        [1, 1_000, 5, 0],
        "a raised burst"
    );
    assert_eq!(c.take("k 2/d 1000")[..4], [1, 1_000, 4, 0], "a raised rate");
    assert_eq!(c.take("k 1/d 3")[..4], [1, 3, 2, 0], "a lowered burst");
    assert_eq!(c.take("k 1/7d 10")[..4], [1, 10, 1, 0], "a lowered rate");
}

#[test]
fn a_bucket_is_sixteen_bytes_that_expire_when_it_is_full() {
    let server = Server::start();
    let mut c = server.connection();
    let fill = |units: i64| {
        (i128::from(units) * 3_600_000_000_000 + 7 * i128::from(TOKEN) - 1)
            / (7 * i128::from(TOKEN))
    };
    let full_at_ms =
        |(at, level): (u64, i64)| (i128::from(at) + fill(13 * TOKEN - level) + 999_999) / 1_000_000;

    let before = now();
    c.take("k 7/h 13 COST 5");
    let first = stored(&mut c, "k");
    assert!((before..=now()).contains(&first.0), "{first:?}");
    assert_eq!(first.1, 8 * TOKEN);
    assert_eq!(i128::from(expires_at(&mut c, "k")), full_at_ms(first));

    c.take("k 7/h 13 COST 2");
    let second = stored(&mut c, "k");
    let gained = u128::from(second.0 - first.0) * 7 * TOKEN as u128 / 3_600_000_000_000;
    assert_eq!(second.1, 6 * TOKEN + gained as i64);
    assert_eq!(i128::from(expires_at(&mut c, "k")), full_at_ms(second));
}

#[test]
fn an_idle_bucket_is_no_key() {
    let server = Server::start();
    let mut c = server.connection();
    let mut both = redis::pipe();
    both.atomic()
        .add_command(call("RL.TAKE", &["k", "20", "1"]));
    both.cmd("EXISTS").arg("k");
    let (reply, there): ([i64; 5], i64) = both.query(&mut c).expect("replies");
    assert_eq!((&reply[..3], there), (&[1, 1, 0][..], 1));
    wait_until("the key is gone", || c.ask::<i64>("DBSIZE") == 0);
    assert_eq!(c.take("k 20 1")[..3], [1, 1, 0]);
}

#[test]
fn deleting_the_key_resets_the_bucket() {
    let server = Server::start();
    let mut c = server.connection();
    assert_eq!(c.take("k 1/d 5 COST 5")[..3], [5, 5, 0]);
    c.ask::<()>("DEL k");
    assert_eq!(c.take("k 1/d 5 COST 5")[..3], [5, 5, 0]);
}

#[test]
fn a_key_of_any_bytes_has_a_bucket_of_its_own() {
    let server = Server::start();
    let mut c = server.connection();
    let long = vec![b'k'; 100_000];
    let keys: [&[u8]; 6] = [b"", b"\0", b"a\0b", b"\xff\xfe\x80", b"a b\r\n", &long];
    for key in keys {
        for remaining in [1, 0] {
            let command = call("RL.TAKE", &[key, b"1/d", b"2"]);
            let reply: [i64; 5] = command.query(&mut c).expect("a reply");
            assert_eq!(reply[..3], [1, 2, remaining]);
        }
    }
    let count: usize = c.ask("DBSIZE");
    assert_eq!(count, keys.len());
}

#[test]
fn atmost_takes_what_is_there() {
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
fn maxwait_reserves_in_the_order_of_asking() {
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
fn maxwait_tells_callers_who_ask_at_once_different_times() {
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
fn force_takes_into_debt_which_is_repaid_first() {
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
