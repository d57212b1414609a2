//! RL.TAKE: what is admitted, and when.

use std::sync::Barrier;
use std::thread;

use redis::Connection;

use crate::common::{until, wait_until, Server};
use crate::support::node::launch;
use crate::support::{call, expires_at, now, stored, Ask, Reply, HOUR_MS};

const TOKEN: i64 = 1 << 24;
const DAY_MS: i64 = 24 * HOUR_MS;

#[test]
fn two_takes_succeed_and_the_third_waits_exactly() {
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
fn fifty_concurrent_clients_take_exactly_the_burst() {
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
fn token_refills_after_the_time_of_the_rate() {
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
fn cost_is_taken_whole_or_not_at_all() {
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
fn changed_limit_keeps_the_tokens() {
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
fn bucket_is_16_bytes_and_expires_a_sixteenth_of_its_fill_time_after_it_is_full() {
    let server = Server::start();
    let mut c = server.connection();
    let fill = |units: i64| {
        (i128::from(units) * 3_600_000_000_000 + 7 * i128::from(TOKEN) - 1)
            / (7 * i128::from(TOKEN))
    };
    let full_at_ms =
        |(at, level): (u64, i64)| (i128::from(at) + fill(13 * TOKEN - level) + 999_999) / 1_000_000;

    let slack_ms = fill(13 * TOKEN) / 16_000_000;
    let before = now();
    c.take("k 7/h 13 COST 5");
    let first = stored(&mut c, "k");
    assert!((before..=now()).contains(&first.0), "{first:?}");
    assert_eq!(first.1, 8 * TOKEN);
    let expires = full_at_ms(first) + slack_ms;
    assert_eq!(i128::from(expires_at(&mut c, "k")), expires);

    c.take("k 7/h 13 COST 2");
    let second = stored(&mut c, "k");
    let gained = u128::from(second.0 - first.0) * 7 * TOKEN as u128 / 3_600_000_000_000;
    assert_eq!(second.1, 6 * TOKEN + gained as i64);
    let expires = full_at_ms(second) + slack_ms;
    assert_eq!(i128::from(expires_at(&mut c, "k")), expires);
}

#[test]
fn idle_bucket_has_no_key() {
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
fn del_resets_a_bucket() {
    let server = Server::start();
    let mut c = server.connection();
    assert_eq!(c.take("k 1/d 5 COST 5")[..3], [5, 5, 0]);
    c.ask::<()>("DEL k");
    assert_eq!(c.take("k 1/d 5 COST 5")[..3], [5, 5, 0]);
}

#[test]
fn keys_of_any_bytes_have_separate_buckets() {
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
fn zero_burst_denies_everything_except_force() {
    let server = launch().start();
    let mut c = server.connection();
    for call in [
        "RL.TAKE k 1/d 0",
        "RL.TAKE k 1/d 0 COST 5",
        "RL.TAKE k 1/d 0 ATMOST",
        "RL.TAKE k 1/d 0 MAXWAIT 1000000000",
        "RL.TAKE k 1/d 0 KEEP 1",
        "RL.PEEK k 1/d 0",
    ] {
        assert_eq!(c.ask::<Reply>(call), [0, 0, 0, -1, 0], "{call}");
    }
    assert_eq!(c.ask::<Reply>("RL.GIVE k 1/d 0"), [0, 0, 0, 0, 0]);
    let (taken, wait_ms, each): (i64, i64, Vec<Reply>) = c.ask("RL.MTAKE 2 k 1/d 0 full 1/d 5");
    assert_eq!((taken, wait_ms), (0, -1));
    assert_eq!(each, [[0, 0, 0, -1, 0], [1, 5, 5, 0, 0]]);
    assert_eq!(c.ask::<i64>("DBSIZE"), 0);

    assert_eq!(c.take("k 1/d 0 COST 2 FORCE"), [2, 0, 0, 0, 2 * DAY_MS]);
    assert_eq!(c.take("k 1/d 0")[..4], [0, 0, 0, -1]);
    let before = (stored(&mut c, "k"), expires_at(&mut c, "k"));
    assert_eq!(c.ask::<Reply>("RL.GIVE k 1/d 0")[0], 0);
    assert_eq!((stored(&mut c, "k"), expires_at(&mut c, "k")), before);
}

/// However long a debt lasts, the reply contains the time from which the key may expire.
#[test]
fn bucket_is_full_when_its_key_expires() {
    let server = Server::start();
    let mut c = server.connection();
    for (words, slack_ms) in [
        ("k 1/36525d 1 COST 100000000000 FORCE", 36_525 * DAY_MS / 16),
        ("k 1/36525d 1 COST 1000 FORCE", 36_525 * DAY_MS / 16),
        ("k 1/d 5 FORCE", 5 * DAY_MS / 16),
        ("k 1/d 0 FORCE", 0),
    ] {
        c.ask::<i64>("DEL k");
        let before = now() / 1_000_000;
        let [.., reset_ms] = c.take(words);
        let after = now() / 1_000_000 + 1;
        let told = before as i64 + reset_ms..=after as i64 + reset_ms;
        let at = expires_at(&mut c, "k") - slack_ms;
        assert!(told.contains(&at), "{words}: {at}, not {told:?}");
    }
}

/// Looking up such a key takes the server longer than a millisecond, and nothing may rely on less.
#[test]
fn key_of_megabytes_is_accepted() {
    let server = Server::start();
    let mut c = server.connection();
    let calls = thread::spawn(move || {
        let key = "k".repeat(20_000_000);
        let taken: Reply = c.call(&["RL.TAKE", &key, "1000/h", "1000", "COST", "1000"]);
        assert_eq!(taken[0], 1000);
        // Denied under a slower limit, so its expiry is asked for, and moved.
        let denied: Reply = c.call(&["RL.TAKE", &key, "1/d", "1000", "COST", "1000"]);
        assert_eq!(denied[0], 0);
    });
    wait_until("the calls are answered", || calls.is_finished());
    calls.join().expect("the replies");
}
