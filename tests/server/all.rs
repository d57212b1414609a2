//! RL.ALL takes from every limit or from none: of every kind, in every order.

use redis::Connection;

use crate::common::Server;
use crate::support::mixed::{all, state, words, Replies, KINDS};
use crate::support::{Ask, Reply, HOUR_MS};

/// Returns every order of four things.
fn orders() -> Vec<[usize; 4]> {
    let mut orders = Vec::new();
    for n in 0..256 {
        let order = [n / 64, n / 16 % 4, n / 4 % 4, n % 4];
        if (0..4).all(|kind| order.contains(&kind)) {
            orders.push(order);
        }
    }
    assert_eq!(orders.len(), 24);
    orders
}

/// Returns the spec of a kind. A lease limit of 1 is full, one of 2 is not.
fn spec(kind: usize, exhausted: bool) -> &'static str {
    match (kind, exhausted) {
        (3, true) => "LEASE 1 1h me",
        _ => KINDS[kind].spec,
    }
}

#[test]
fn in_every_order_each_limit_is_charged_its_own_cost() {
    let server = Server::start();
    let mut c = server.connection();
    for order in orders() {
        c.ask::<()>("FLUSHALL");
        let limits = order.map(|kind| (KINDS[kind].key, KINDS[kind].spec));
        let (taken, wait_ms, each) = all(&mut c, &words(&limits));
        assert_eq!((taken, wait_ms), (1, 0), "{order:?}");
        for (kind, reply) in order.into_iter().zip(&each) {
            assert_eq!(reply[..3], KINDS[kind].passes, "{order:?}");
            assert_eq!(reply[3], 0, "{order:?}");
            assert!(reply[4] > HOUR_MS - 60_000, "{order:?} {reply:?}");
        }
        // The replies of the commands on one key.
        let found = [
            c.ask::<Reply>("RL.PEEK bucket 1/d 5")[2],
            c.ask::<Reply>("RL.WPEEK window 6 1h")[2],
            c.ask::<Reply>("RL.WPEEK sliding 7 SLIDING 1h")[2],
        ];
        assert_eq!(found, [3, 3, 6]);
        let held: Vec<String> = c.ask("ZRANGE lease 0 -1");
        assert_eq!(held, ["rl:leases", "me"]);
    }
}

/// Tests every subset of limits that have too little, in every order.
#[test]
fn denial_changes_no_key_and_identifies_the_denying_limits() {
    let server = Server::start();
    let mut c = server.connection();
    for exhausted in 1..16 {
        let is_exhausted = |kind: usize| exhausted >> kind & 1 == 1;
        c.ask::<()>("FLUSHALL");
        // Half of the others are keys that exist.
        if exhausted % 2 == 0 {
            c.ask::<()>("RL.TAKE bucket 1/d 5");
            c.ask::<()>("RL.WTAKE window 6 1h");
        }
        for (n, kind) in KINDS.iter().enumerate() {
            if is_exhausted(n) {
                c.ask::<()>(kind.exhaust);
            }
        }
        let before = state(&mut c);
        for order in orders() {
            let limits = order.map(|kind| (KINDS[kind].key, spec(kind, is_exhausted(kind))));
            let (taken, wait_ms, each) = all(&mut c, &words(&limits));
            assert_eq!(taken, 0, "{exhausted:04b} {order:?}");
            for (kind, reply) in order.into_iter().zip(&each) {
                let (passes, waits) = (reply[0] > 0, reply[3] > 0);
                assert_eq!(passes, !is_exhausted(kind), "{order:?} {each:?}");
                assert_eq!(waits, is_exhausted(kind), "{order:?} {each:?}");
            }
            let longest = each.iter().map(|reply| reply[3]).max();
            assert_eq!(Some(wait_ms), longest, "{order:?}");
            assert_eq!(state(&mut c), before, "{exhausted:04b} {order:?}");
        }
    }
}

#[test]
fn impossible_limit_makes_the_wait_never() {
    let server = Server::start();
    let mut c = server.connection();
    for never in 0..4 {
        for first in 0..4 {
            c.ask::<()>("FLUSHALL");
            // Another that has to be waited for changes nothing about it.
            let waits = &KINDS[(never + 1) % 4];
            c.ask::<()>(waits.exhaust);
            let before = state(&mut c);
            let limits: Vec<_> = (0..4)
                .map(|n| (n + first) % 4)
                .map(|n| match n == never {
                    true => (KINDS[n].key, KINDS[n].never),
                    false => (KINDS[n].key, spec(n, n == (never + 1) % 4)),
                })
                .collect();
            let (taken, wait_ms, each) = all(&mut c, &words(&limits));
            assert_eq!((taken, wait_ms), (0, -1), "{limits:?} {each:?}");
            let endless: Vec<_> = each.iter().map(|reply| reply[3] == -1).collect();
            let expected: Vec<_> = (0..4).map(|n| (n + first) % 4 == never).collect();
            assert_eq!(endless, expected, "{limits:?}");
            assert_eq!(state(&mut c), before, "{limits:?}");
        }
    }
}

/// A denial replies with the integers of the peek commands.
#[test]
fn denial_replies_for_each_limit_as_a_peek() {
    let server = Server::start();
    let mut c = server.connection();
    c.ask::<()>("RL.TAKE bucket 1/h 5 COST 2");
    c.ask::<()>("RL.WTAKE window 6 1h COST 2");
    c.ask::<()>("RL.WTAKE sliding 7 SLIDING 1h COST 7");
    c.ask::<()>("RL.ACQUIRE lease 2 2h other");
    let specs = [
        "BUCKET 1/h 5 COST 4",
        "WINDOW 6 1h COST 3",
        "WINDOW 7 SLIDING 1h",
        "LEASE 1 1h me",
    ];
    let limits: Vec<_> = KINDS.iter().map(|kind| kind.key).zip(specs).collect();
    let (_, _, each) = all(&mut c, &words(&limits));
    type Leases = (i64, i64, i64, i64, i64, redis::Value, i64);
    let (_, limit, remaining, wait, reset, _, _): Leases = c.ask("RL.LEASES lease 1");
    let looks: [Reply; 4] = [
        c.ask("RL.PEEK bucket 1/h 5 COST 4"),
        c.ask("RL.WPEEK window 6 1h COST 3"),
        c.ask("RL.WPEEK sliding 7 SLIDING 1h"),
        [0, limit, remaining, wait, reset],
    ];
    for (told, look) in each.iter().zip(&looks) {
        assert_eq!(told[..3], look[..3], "{each:?} {looks:?}");
        for (told, look) in told[3..].iter().zip(&look[3..]) {
            // The peek comes a moment later, so its wait is shorter by that much.
            assert!((0..=60_000).contains(&(told - look)), "{told} {look}");
        }
    }
}

/// Windows that open and buckets that are written begin at the same nanosecond.
#[test]
fn rl_all_charges_128_limits_at_one_instant() {
    let server = Server::start();
    let mut c = server.connection();
    let names: Vec<_> = (0..129).map(|n| format!("k{n}")).collect();
    let limits = |count: usize| {
        let specs = [
            "BUCKET 1/d 5",
            "WINDOW 5 1h",
            "WINDOW 5 SLIDING 1h",
            "LEASE 5 1h me",
        ];
        let names = names.iter().map(String::as_str);
        let limits: Vec<_> = names.zip(specs.into_iter().cycle()).collect();
        words(&limits[..count])
    };
    let (taken, _, each) = all(&mut c, &limits(128));
    assert_eq!((taken, each.len()), (1, 128));
    assert!(each.iter().all(|reply| reply[..4] == [1, 5, 4, 0]));
    let state = state(&mut c);
    assert_eq!(state.len(), 128);
    for n in 4..128 {
        assert_eq!(state[&names[n]], state[&names[n % 4]], "k{n}");
    }
    let error = c.error(&format!("RL.ALL {}", limits(129)));
    assert!(error.starts_with("ERR numkeys must be"), "{error}");
}

#[test]
fn each_limit_honours_its_keep() {
    let server = Server::start();
    let mut c = server.connection();
    // Three are left of five.
    let kinds = [
        ("RL.TAKE k 1/d 5 COST 2", "BUCKET 1/d 5 COST 1 KEEP"),
        ("RL.WTAKE k 5 1h COST 2", "WINDOW 5 1h KEEP"),
        (
            "RL.WTAKE k 5 SLIDING 1h COST 2",
            "WINDOW 5 SLIDING 1h COST 1 KEEP",
        ),
        ("RL.ACQUIRE k 5 1h a", "LEASE 4 1h me KEEP"),
    ];
    for (prepare, limit) in kinds {
        let reset = |c: &mut Connection| {
            c.ask::<()>("FLUSHALL");
            c.ask::<()>(prepare);
        };
        for (keep, taken, left) in [(2, 1, 2), (3, 0, 3), (4, 0, 3)] {
            reset(&mut c);
            let before = state(&mut c);
            let (told, wait_ms, each) = all(&mut c, &format!("1 k {limit} {keep}"));
            assert_eq!(
                (told, each[0][2]),
                (taken, left),
                "{limit} {keep}: {each:?}"
            );
            assert_eq!((each[0][0], each[0][3]), (taken, wait_ms), "{limit} {keep}");
            let waits = match (limit.starts_with("LEASE"), keep) {
                (_, 2) => 0..=0,
                (false, 3) | (true, 3) => 1..=72 * HOUR_MS,
                (false, _) => 1..=72 * HOUR_MS,
                // KEEP leaves all four slots free.
                (true, _) => -1..=-1,
            };
            assert!(waits.contains(&wait_ms), "{limit} {keep}: {wait_ms}");
            assert_eq!(taken == 0, state(&mut c) == before, "{limit} {keep}");
        }
        // It makes the call fail for the other limit, which stays unchanged.
        reset(&mut c);
        let both = format!("2 other k BUCKET 1/d 5 {limit} 3");
        assert_eq!(all(&mut c, &both).0, 0, "{limit}");
        assert_eq!(c.ask::<i64>("EXISTS other"), 0, "{limit}");
    }
    // Cost and keep together above the limit.
    for limit in ["BUCKET 1/d 5", "WINDOW 5 1h", "WINDOW 5 SLIDING 1h"] {
        let never = format!("1 new {limit} KEEP 4 COST 2");
        assert_eq!(all(&mut c, &never).1, -1, "{limit}");
    }
    // A token that holds a slot needs no room.
    c.ask::<()>("RL.ACQUIRE held 1 1h me");
    assert_eq!(all(&mut c, "1 held LEASE 1 2h me KEEP 1").0, 1);
}

/// Keys come first and limits after them, whatever they are called.
#[test]
fn specs_are_matched_by_position() {
    let server = Server::start();
    let mut c = server.connection();
    let call = "5 BUCKET WINDOW LEASE ONCE KEEP \
        BUCKET 1/d 5 KEEP 1 COST 2 WINDOW 5 1h LEASE 5 1h BUCKET ONCE LEASE 5 1h ONCE ONCE \
        LEASE 5 1h KEEP KEEP 1 ONCE";
    let (taken, _, each) = all(&mut c, call);
    assert_eq!(taken, 1);
    let remaining: Vec<_> = each.iter().map(|reply| reply[2]).collect();
    assert_eq!(remaining, [3, 4, 4, 4, 4]);
    for (key, token) in [("LEASE", "BUCKET"), ("ONCE", "ONCE"), ("KEEP", "KEEP")] {
        let held: Vec<String> = c.call(&["ZRANGE", key, "1", "-1"]);
        assert_eq!(held, [token]);
    }
    assert_eq!(all(&mut c, call).2[0][2], 3, "a retry");

    let numbers = "3 1 2 3 bucket 1/d 5 window 5 day offset +09:00 cost 2 lease 5 1h COST keep 2";
    let (taken, _, each) = all(&mut c, numbers);
    assert_eq!((taken, each[1][2]), (1, 3), "any case");
    let any = [
        &b"RL.ALL"[..],
        b"1",
        b"\xff\0\r\n",
        b"LEASE",
        b"1",
        b"1h",
        b"\0\xfe",
    ];
    let (taken, ..): Replies = c.call(&any);
    assert_eq!(taken, 1, "any bytes");
}
