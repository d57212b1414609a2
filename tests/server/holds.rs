//! RL.ALL with a HOLD, RL.SETTLE and RL.HOLDS: estimates that are corrected once.

use crate::common::{wait_until, Server};
use crate::support::holds::{
    count, holds, reserve, reserve_words, settle, settle_words, used, Replies,
};
use crate::support::mixed::state;
use crate::support::Ask;

#[test]
fn rl_settle_charges_the_amount_used_once() {
    for used_after in [0, 1, 299, 300, 301, 1200] {
        let server = Server::start();
        let mut c = server.connection();
        let (taken, wait_ms, each) = reserve(&mut c, 300, "1h id");
        assert_eq!((taken, wait_ms), (1, 0));
        assert_eq!(each[0][..4], [300, 1000, 700, 0]);
        assert_eq!(each[1][..4], [300, 1000, 700, 0]);
        assert_eq!(each[2], [1, 10_000, 9_999, 0, 3_600_000]);

        let moved = used_after as i64 - 300;
        let left = (1000 - used_after as i64).max(0);
        let (status, wait_ms, each) = settle(&mut c, used_after, "id");
        assert_eq!((status, wait_ms), (1, 0));
        for limit in &each[..2] {
            assert_eq!(limit[..4], [moved, 1000, left, 0], "{used_after}");
        }
        assert_eq!(each[2], [0, 10_000, 9_999, 0, 0]);
        let before = state(&mut c);
        for _ in 0..3 {
            let (status, _, each) = settle(&mut c, used_after + 7, "id");
            assert_eq!((status, each[0][0], each[1][0]), (0, 0, 0));
        }
        let error = c.error(&reserve_words(300, "1h id"));
        assert_eq!(error, "ERR hold 'id' was settled");
        assert_eq!(state(&mut c), before);
        assert_eq!(used(&mut c)[1], used_after.min(1000) as i64);
    }
}

#[test]
fn rl_all_repeated_charges_nothing_and_extends_the_deadline() {
    let server = Server::start();
    let mut c = server.connection();
    reserve(&mut c, 300, "10m id");
    let charged = used(&mut c);
    let (taken, _, each) = reserve(&mut c, 300, "1h id");
    assert_eq!(taken, 1);
    assert_eq!((each[0][0], each[1][0]), (0, 0));
    assert!(each[2][4] > 3_590_000, "{each:?}");
    // Rates, limits and ttl may differ; an earlier deadline changes nothing.
    let lowered = "RL.ALL 3 w b h WINDOW 5 1h COST 300 BUCKET 2/d 9 COST 300 HOLD 1s id";
    let (taken, _, each): Replies = c.ask(lowered);
    assert_eq!(taken, 1);
    assert_eq!((each[0][..4].to_vec(), each[1][0]), (vec![0, 5, 0, 0], 0));
    assert!(each[2][4] > 3_500_000, "{each:?}");
    assert_eq!(used(&mut c), charged);
    let counts = ["rl_holds_made", "rl_holds_repeated"].map(|name| server.count(name));
    assert_eq!(counts, [1, 2]);
}

#[test]
fn rl_all_with_other_keys_costs_or_else_is_an_error() {
    let server = Server::start();
    let mut c = server.connection();
    reserve(&mut c, 300, "1h id");
    let before = state(&mut c);
    for words in [
        "3 b w h BUCKET 1/d 1000 COST 301 WINDOW 1000 30d COST 300 HOLD 1h id",
        "3 b w h BUCKET 1/d 1000 COST 300 WINDOW 1000 30d COST 30 HOLD 1h id",
        "3 b w h BUCKET 1/d 1000 COST 300 WINDOW 1000 30d COST 300 HOLD 1h id ELSE CHARGE",
        "3 b v h BUCKET 1/d 1000 COST 300 WINDOW 1000 30d COST 300 HOLD 1h id",
        "3 b w h BUCKET 1/d 1000 COST 300 BUCKET 1/d 1000 COST 300 HOLD 1h id",
        "2 b h BUCKET 1/d 1000 COST 300 HOLD 1h id",
        "4 b w v h BUCKET 1/d 1000 COST 300 WINDOW 1000 30d COST 300 WINDOW 9 1h HOLD 1h id",
    ] {
        let error = c.error(&format!("RL.ALL {words}"));
        assert_eq!(
            error,
            "ERR hold 'id' was made with other keys, costs or ELSE"
        );
        assert_eq!(state(&mut c), before, "{words}");
    }
    for words in [
        "2 b h BUCKET 1/d 1000 USED 3 HOLD id",
        "3 b v h BUCKET 1/d 1000 USED 3 WINDOW 1000 30d USED 3 HOLD id",
        "4 b w v h BUCKET 1/d 1000 USED 3 WINDOW 1000 30d USED 3 WINDOW 9 1h USED 3 HOLD id",
    ] {
        let error = c.error(&format!("RL.SETTLE {words}"));
        assert_eq!(error, "ERR hold 'id' was made for other buckets or windows");
        assert_eq!(state(&mut c), before, "{words}");
    }
    let any_order = "RL.SETTLE 3 h w b HOLD id WINDOW 9 1h USED 3 BUCKET 1/d 1000 USED 3";
    assert_eq!(c.ask::<Replies>(any_order).0, 1);
    assert_eq!(used(&mut c)[1], 3);
}

#[test]
fn rl_settle_before_the_reservation_closes_the_id() {
    let server = Server::start();
    let mut c = server.connection();
    for _ in 0..2 {
        let (status, _, each) = settle(&mut c, 0, "id");
        assert_eq!((status, each[0][0], each[1][0]), (-1, 0, 0));
        assert_eq!(each[2], [0, 10_000, 9_999, 0, 0]);
    }
    let error = c.error(&reserve_words(300, "1h id"));
    assert_eq!(error, "ERR hold 'id' was cancelled before it was made");
    assert_eq!(used(&mut c), [0, 0]);
    assert_eq!(c.ask::<i64>("EXISTS b w"), 0);
    assert_eq!(count(&mut c, "h"), [0, 0, 1]);
}

#[test]
fn rl_all_with_a_hold_charges_every_limit_or_none() {
    let server = Server::start();
    let mut c = server.connection();
    let too_much = "RL.ALL 3 b w h BUCKET 1/d 1000 COST 3 WINDOW 2 1h COST 3 HOLD 1h id";
    let (taken, _, each): Replies = c.ask(too_much);
    assert_eq!((taken, each[0][0], each[1][0]), (0, 3, 0));
    assert_eq!(each[2], [0, 10_000, 10_000, 0, 0]);
    assert_eq!(c.ask::<i64>("DBSIZE"), 0);

    // A denied repeat leaves the hold open.
    let lease = "RL.ALL 3 w l h WINDOW 9 1h COST 4 LEASE 1 1h me HOLD 1h id";
    assert_eq!(c.ask::<Replies>(lease).0, 1);
    c.ask::<()>("RL.RELEASE l me");
    c.ask::<()>("RL.ACQUIRE l 1 1h other");
    let before = state(&mut c);
    let (taken, wait_ms, each): Replies = c.ask(lease);
    assert_eq!((taken, each[0][0], each[1][0], each[2][0]), (0, 0, 0, 1));
    assert_eq!((each[0][3], wait_ms), (0, each[1][3]));
    assert_eq!(state(&mut c), before);
    // KEEP does not apply to what is still held.
    c.ask::<()>("RL.RELEASE l other");
    let keeps = "RL.ALL 3 w l h WINDOW 9 1h COST 4 KEEP 9 LEASE 1 1h me HOLD 1h id";
    assert_eq!(c.ask::<Replies>(keeps).0, 1);
}

/// A new id waits for a walk only if the table is full.
#[test]
fn rl_all_denied_with_a_hold_waits_for_its_limits() {
    let server = Server::start();
    let mut c = server.connection();
    let mut transaction = redis::pipe();
    transaction.atomic();
    for id in ["first", "second"] {
        let words = format!("RL.ALL 2 b h BUCKET 4/s 1 HOLD 1h {id}");
        let words: Vec<_> = words.split(' ').collect();
        transaction.cmd(words[0]).arg(&words[1..]);
    }
    wait_until("the second call comes before the refill", || {
        c.ask::<()>("FLUSHALL");
        let replies: Vec<Replies> = transaction.query(&mut c).expect("replies");
        let [(1, 0, _), (taken, wait_ms, each)] = &replies[..] else {
            panic!("{replies:?}");
        };
        if *taken == 0 {
            assert_eq!((*wait_ms, each[1][3]), (each[0][3], 0));
        }
        *taken == 0
    });
}

#[test]
fn rl_all_holds_up_to_16_limits_and_1024_bytes_of_names() {
    let server = Server::start();
    let mut c = server.connection();
    let names: Vec<_> = (0..16).map(|n| format!("{n:064}")).collect();
    for (command, option, hold) in [("ALL", "COST", "1h id"), ("SETTLE", "USED", "id")] {
        let names = names.join(" ");
        let limits = vec![format!("WINDOW 9 1h {option} 3"); 16].join(" ");
        let words = format!("RL.{command} 17 {names} h {limits} HOLD {hold}");
        assert_eq!(c.ask::<Replies>(&words).0, 1, "{command}");
    }
}

#[test]
fn rl_settle_counts_refunds_and_charges_beyond_the_limit() {
    let server = Server::start();
    let mut c = server.connection();
    for (id, cost) in [("fits", 1), ("less", 4), ("more", 4)] {
        let words = format!("RL.ALL 2 w h WINDOW 10 30d COST {cost} HOLD 1h {id}");
        assert_eq!(c.ask::<Replies>(&words).0, 1);
    }
    for (id, used, moved) in [("fits", 2, 1), ("less", 1, -3), ("more", 20, 16)] {
        let words = format!("RL.SETTLE 2 w h WINDOW 10 30d USED {used} HOLD {id}");
        assert_eq!(c.ask::<Replies>(&words).2[0][0], moved, "{id}");
    }
    let counts = ["taken", "given", "forced"];
    let counts = counts.map(|name| server.count(&format!("rl_window_tokens_{name}")));
    assert_eq!(counts, [1 + 4 + 4 + 1 + 16, 3, 16]);
    // A settlement is not a take.
    assert_eq!(server.count("rl_window_takes_allowed"), 3);
    assert_eq!(server.count("rl_holds_settled"), 3);
}

#[test]
fn rl_settle_releases_the_leases_it_names_whatever_it_replies() {
    let server = Server::start();
    let mut c = server.connection();
    let settle = "RL.SETTLE 3 w l h WINDOW 9 1h USED 1 LEASE me HOLD";
    let made = "RL.ALL 3 w l h WINDOW 9 1h COST 4 LEASE 5 1h me HOLD 1h id";
    assert_eq!(c.ask::<Replies>(made).0, 1);
    for (id, status) in [("id", 1), ("id", 0), ("unknown", -1), ("unknown", -1)] {
        c.ask::<()>("RL.ACQUIRE l 5 1h me");
        for released in [1, 0] {
            let (replied, _, each): Replies = c.ask(&format!("{settle} {id}"));
            let expected = if released == 1 { status } else { status.min(0) };
            assert_eq!((replied, each[1]), (expected, [released, 0, 0, 0, 0]));
        }
    }
    assert_eq!(used(&mut c)[1], 1);
    // A lease may be left out.
    let made = "RL.ALL 3 w l h WINDOW 9 1h COST 4 LEASE 5 1h me HOLD 1h other";
    assert_eq!(c.ask::<Replies>(made).0, 1);
    assert_eq!(
        c.ask::<Replies>("RL.SETTLE 2 w h WINDOW 9 1h USED 1 HOLD other")
            .0,
        1
    );
}

/// A bucket owes at most 10^11; a window's usage is at most twice that.
#[test]
fn rl_settle_cuts_an_amount_at_the_bounds() {
    let server = Server::start();
    let mut c = server.connection();
    let most = 100_000_000_000;
    for n in 0..3 {
        reserve(&mut c, 1, &format!("1h {n}"));
    }
    // The bucket held 997 before, and the window 3.
    let moved = [(most - 1, most - 1), (998, most - 2), (0, 0)];
    for (n, (bucket, window)) in moved.into_iter().enumerate() {
        let (status, _, each) = settle(&mut c, most as u64, &n.to_string());
        assert_eq!((status, each[0][0], each[1][0]), (1, bucket, window), "{n}");
    }
}

#[test]
fn rl_holds_lists_the_open_holds_and_changes_nothing() {
    let server = Server::start();
    let mut c = server.connection();
    assert_eq!(holds(&mut c, "h"), (0, 10_000, 0, 0, Vec::new()));
    for (n, ttl) in [(1, "3h"), (2, "1h"), (3, "2h ")] {
        reserve(&mut c, n, &format!("{} id{n} ELSE CHARGE", ttl.trim()));
    }
    settle(&mut c, 0, "unknown");
    let before = state(&mut c);
    let (open, most, overdue, remembered, listed) = holds(&mut c, "h");
    assert_eq!((open, most, overdue, remembered), (3, 10_000, 0, 1));
    let ids: Vec<_> = listed.iter().map(|(id, ..)| id.clone()).collect();
    assert_eq!(ids, [b"id2", b"id3", b"id1"]);
    let (_, left, otherwise, held) = &listed[0];
    assert!((3_540_000..=3_600_000).contains(left), "{left}");
    assert_eq!(otherwise, "CHARGE");
    assert_eq!(held, &[(b"b".to_vec(), 2), (b"w".to_vec(), 2)]);
    let few: (i64, i64, i64, i64, Vec<redis::Value>) = c.ask("RL.HOLDS h COUNT 2");
    assert_eq!((few.0, few.4.len()), (3, 2));
    assert_eq!(state(&mut c), before);
}

/// Leases take places among the specs, but hold no amount of the id.
#[test]
fn rl_settle_refunds_limits_that_follow_a_lease_and_the_hold() {
    let server = Server::start();
    let mut c = server.connection();
    let call = "RL.ALL 4 l h b w LEASE 5 1h t HOLD 1h id BUCKET 1/d 1000 COST 300 \
        WINDOW 1000 30d COST 200";
    assert_eq!(c.ask::<Replies>(call).0, 1);
    let settle = "RL.SETTLE 4 l h b w LEASE t HOLD id BUCKET 1/d 1000 USED 100 \
        WINDOW 1000 30d USED 50";
    let (status, _, each): Replies = c.ask(settle);
    assert_eq!((status, each[2][0], each[3][0]), (1, -200, -150));
    assert_eq!(used(&mut c), [100, 50]);
    assert_eq!(server.count("rl_holds_unknown"), 0);
    let (status, ..): Replies = c.ask(&settle.replace("id", "other"));
    assert_eq!((status, server.count("rl_holds_unknown")), (-1, 1));
}

/// A repeat charges nothing that is still held, so it needs no memory either.
#[test]
fn repeat_of_a_hold_succeeds_without_memory_for_a_limit_that_is_gone() {
    let server = Server::start();
    let mut c = server.connection();
    assert_eq!(reserve(&mut c, 300, "1h id").0, 1);
    c.ask::<()>("DEL w b");
    c.ask::<()>("CONFIG SET maxmemory 1");
    let (taken, _, each) = reserve(&mut c, 300, "1h id");
    assert_eq!((taken, each[0][0], each[1][0]), (1, 0, 0));
    let error = c.error(&reserve_words(300, "1h other"));
    assert!(error.starts_with("OOM "), "{error}");
}

#[test]
fn wrong_calls_with_a_hold_are_errors_and_change_nothing() {
    let server = Server::start();
    let mut c = server.connection();
    c.ask::<()>("SET text text");
    c.ask::<()>("HSET hash field value");
    let long_id = "i".repeat(129);
    let long_name = "n".repeat(1025);
    let many: Vec<_> = (0..17).map(|n| format!("w{n}")).collect();
    let many = format!(
        "18 {} h {} HOLD 1h id",
        many.join(" "),
        vec!["WINDOW 9 1h"; 17].join(" ")
    );
    let (ttl, id) = ("ERR ttl of a HOLD must be", "ERR id of a HOLD must be");
    let wrong = [
        ("2 w h WINDOW 9 1h HOLD", "ERR usage: RL.ALL"),
        ("2 w h WINDOW 9 1h HOLD 1h", "ERR usage: RL.ALL"),
        ("2 w h WINDOW 9 1h HOLD 999ms id", ttl),
        ("2 w h WINDOW 9 1h HOLD 25h id", ttl),
        (
            "2 w h WINDOW 9 1h HOLD 5 id",
            "ERR ttl of a HOLD must be a duration from 1s to 24h, such as 30s or 5m; got '5': a \
             duration needs a unit: write 5s",
        ),
        ("2 w h WINDOW 9 1h HOLD 1h rl:holds", id),
        (&format!("2 w h WINDOW 9 1h HOLD 1h {long_id}"), id),
        (
            "2 w h WINDOW 9 1h HOLD 1h id ELSE",
            "ERR syntax error: option 'ELSE' needs a value",
        ),
        (
            "2 w h WINDOW 9 1h HOLD 1h id ELSE KEEP",
            "ERR syntax error: ELSE must be followed by FREE or CHARGE; got 'KEEP'",
        ),
        (
            "2 w h WINDOW 9 1h HOLD 1h id ELSE FREE ELSE FREE",
            "ERR syntax error: option 'ELSE' is given twice",
        ),
        (
            "2 w h WINDOW 9 1h HOLD 1h id COST 3",
            "ERR syntax error: unknown option 'COST'; accepted: ELSE FREE, ELSE CHARGE",
        ),
        (
            "3 w h g WINDOW 9 1h HOLD 1h id HOLD 1h id",
            "ERR syntax error: a call has at most one HOLD",
        ),
        (
            "3 w l h WINDOW 9 1h LEASE 5 1h me ONCE HOLD 1h id",
            "ERR syntax error: option 'ONCE' cannot be combined with HOLD",
        ),
        ("1 h HOLD 1h id", "ERR a call with a HOLD must have 1 to 16"),
        (&many, "ERR a call with a HOLD must have 1 to 16"),
        (
            &format!("2 {long_name} h WINDOW 9 1h HOLD 1h id"),
            "ERR the keys of the buckets and windows in a call with a HOLD must have at most 1024",
        ),
        ("2 w text WINDOW 9 1h HOLD 1h id", "WRONGTYPE "),
        ("2 text h WINDOW 9 1h HOLD 1h id", "ERR key 'text' holds"),
        ("2 hash h WINDOW 9 1h HOLD 1h id", "WRONGTYPE "),
        (
            "2 w hash WINDOW 9 1h HOLD 1h id",
            "ERR key 'hash' holds a hash that was not created by RL.ALL",
        ),
    ];
    let before = state(&mut c);
    for (words, expected) in wrong {
        let error = c.error(&format!("RL.ALL {words}"));
        assert!(error.starts_with(expected), "{words}: {error}");
        assert_eq!(state(&mut c), before, "{words}");
    }
    let used = "ERR USED must be a whole number from 0 to 10^11";
    let wrong = [
        ("2 w h WINDOW 9 1h USED", "ERR syntax error: option 'USED'"),
        ("2 w h WINDOW 9 1h HOLD id", "ERR syntax error: each BUCKET"),
        ("2 w h WINDOW 9 1h USED -1 HOLD id", used),
        ("2 w h WINDOW 9 1h USED 100000000001 HOLD id", used),
        ("2 w h WINDOW 9 1h USED x HOLD id", used),
        ("2 w h WINDOW 9 1h USED 1 HOLD rl:holds", id),
        ("2 w h WINDOW 9 1h USED 1 HOLD", "ERR usage: RL.SETTLE"),
        (
            "2 w h WINDOW 9 1h USED 1 HOLD id ELSE FREE",
            "ERR syntax error: RL.SETTLE accepts LEASE token and HOLD id, without a limit, a ttl or \
             options; got 'ELSE'",
        ),
        (
            "3 w r h WINDOW 9 1h USED 1 LEASE 5 30s t HOLD id",
            "ERR syntax error: RL.SETTLE accepts LEASE token and HOLD id, without a limit, a ttl or \
             options; got '30s'",
        ),
        (
            "1 w WINDOW 9 1h USED 1",
            "ERR syntax error: RL.SETTLE needs one HOLD id",
        ),
        (
            "3 w h g WINDOW 9 1h USED 1 HOLD id HOLD id",
            "ERR syntax error: a call has at most one HOLD",
        ),
        ("1 h HOLD id", "ERR a call with a HOLD must have 1 to 16"),
        ("2 w l WINDOW 9 1h USED 1 LEASE", "ERR usage: RL.SETTLE"),
        ("1 h CIRCLE id", "ERR a limit begins with"),
        (
            &format!("3 w l h WINDOW 9 1h USED 1 LEASE {} HOLD id", "t".repeat(129)),
            "ERR token must be",
        ),
        ("2 w h WINDOW 9 1h COST 1 HOLD id", "ERR syntax error"),
        (
            "2 h h WINDOW 9 1h USED 1 HOLD id",
            "ERR key 'h' is given twice",
        ),
        ("2 w text WINDOW 9 1h USED 1 HOLD id", "WRONGTYPE "),
        (
            "3 w text h WINDOW 9 1h USED 1 LEASE me HOLD id",
            "WRONGTYPE ",
        ),
        (
            "2 text h WINDOW 9 1h USED 1 HOLD id",
            "ERR key 'text' holds",
        ),
        (
            "2 w hash WINDOW 9 1h USED 1 HOLD id",
            "ERR key 'hash' holds a hash that was not created by RL.ALL",
        ),
    ];
    for (words, expected) in wrong {
        let error = c.error(&format!("RL.SETTLE {words}"));
        assert!(error.starts_with(expected), "{words}: {error}");
        assert_eq!(state(&mut c), before, "{words}");
    }
    for (words, expected) in [
        ("RL.HOLDS", "ERR usage: RL.HOLDS"),
        ("RL.HOLDS h COUNT 0", "ERR COUNT must be"),
        ("RL.HOLDS text", "WRONGTYPE "),
        ("RL.HOLDS hash", "ERR key 'hash' holds a hash"),
    ] {
        let error = c.error(words);
        assert!(error.starts_with(expected), "{words}: {error}");
    }
    assert_eq!(settle_words(1, "x").matches("USED").count(), 2);
}
