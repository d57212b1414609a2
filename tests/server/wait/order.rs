//! The order in which waiters get slots.

use std::time::{Duration, Instant};

use super::{assert_unloads, holders, waiting};
use crate::common::{wait_until, Server};
use crate::lease::{leases, Leases};
use crate::support::node::launch;
use crate::support::{expires_at, Ask, Reply};

#[test]
fn acquire_with_wait_is_served_in_order_of_arrival_by_the_release() {
    let server = launch().start();
    let mut c = server.connection();
    assert_eq!(
        c.ask::<Reply>("RL.ACQUIRE k 2 1h a WAIT 1000")[..4],
        [1, 2, 1, 0]
    );
    c.ask::<Reply>("RL.ACQUIRE k 2 1h b");
    let mut waiters: Vec<_> = ["c", "d", "e"]
        .map(|token| waiting(&server, &format!("k 2 1h {token} WAIT 60000")))
        .into();
    assert_eq!(leases(&mut c, "k", 2).6, 3);
    // Both slots pass on in the same command, and a look after it in the same transaction sees that.
    let mut together = redis::pipe();
    together.atomic().cmd("RL.RELEASE").arg(&["k", "a", "b"]);
    together.cmd("RL.ACQUIRE").arg(&["k", "2", "1h", "late"]);
    let (released, late): (i64, Reply) = together.query(&mut c).expect("replies");
    assert_eq!((released, late[0]), (2, 0));
    assert_eq!(holders(&mut c, "k"), ["c", "d"]);
    assert!(waiters[0].taken() && waiters[1].taken());
    assert_eq!(leases(&mut c, "k", 2).6, 1);
    assert_eq!(c.ask::<i64>("RL.RELEASE k d"), 1);
    let [taken, limit, remaining, wait_ms, reset_ms] = waiters[2].reply();
    assert_eq!([taken, limit, remaining, wait_ms], [1, 2, 0, 0]);
    assert!(reset_ms > 3_590_000);
    // A release that frees nothing grants nothing.
    assert_eq!(c.ask::<i64>("RL.RELEASE k d none"), 0);
    assert_unloads(&server);
}

#[test]
fn waiter_with_a_small_room_is_passed_over_and_keeps_its_place() {
    let server = launch().start();
    let mut c = server.connection();
    for token in ["a", "b", "c"] {
        c.call::<Reply>(&["RL.ACQUIRE", "k", "3", "1h", token]);
    }
    let mut polite = waiting(&server, "k 3 1h polite KEEP 2 WAIT 60000");
    let mut next = waiting(&server, "k 3 1h next WAIT 60000");
    c.ask::<i64>("RL.RELEASE k a");
    assert!(next.taken());
    c.ask::<i64>("RL.RELEASE k next");
    // A slot is free that the waiter cannot use, so a newcomer with more room may.
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 3 1h new")[0], 1);
    assert_eq!(c.ask::<i64>("RL.RELEASE k b c new"), 3);
    assert!(polite.taken());
    assert_eq!(holders(&mut c, "k"), ["polite"]);
    assert_unloads(&server);
}

/// With a waiter of room 3 and two slots held, a newcomer of room 5 gets its slot after the
/// waiter's, in one transaction; one of room 3 does not.
#[test]
fn newcomer_comes_after_the_waiters_that_could_have_a_slot() {
    let server = launch().start();
    let mut c = server.connection();
    for (newcomer, holders_after) in [
        ("RL.ACQUIRE k 5 1h new", &["a", "b", "new", "w"][..]),
        ("RL.ALL 1 k LEASE 5 1h new", &["a", "b", "new", "w"]),
        ("RL.ACQUIRE k 3 1h new", &["a", "b", "w"]),
        ("RL.ALL 1 k LEASE 3 1h new", &["a", "b", "w"]),
        // Its own token is the waiter's: it is a renewal.
        ("RL.ACQUIRE k 1 1h w", &["a", "b", "w"]),
        ("RL.ALL 1 k LEASE 1 1h w", &["a", "b", "w"]),
        ("RL.ACQUIRE k 9 1h w NX", &["a", "b", "w"]),
    ] {
        c.ask::<()>("DEL k");
        for token in ["a", "b", "c"] {
            c.call::<Reply>(&["RL.ACQUIRE", "k", "3", "1h", token]);
        }
        let mut waiter = waiting(&server, "k 3 1h w WAIT 60000");
        let words: Vec<_> = newcomer.split(' ').collect();
        let mut together = redis::pipe();
        together.atomic().cmd("ZREM").arg(&["k", "c"]).ignore();
        together.cmd(words[0]).arg(&words[1..]);
        let (reply,): (redis::Value,) = together.query(&mut c).expect("a reply");
        let redis::Value::Array(reply) = reply else {
            panic!("{reply:?}");
        };
        let succeeds = holders_after.contains(&"new") || newcomer.ends_with(" w");
        assert_eq!(reply[0], redis::Value::Int(succeeds.into()), "{newcomer}");
        if newcomer.starts_with("RL.ACQUIRE") && !succeeds {
            let redis::Value::Int(wait_ms) = reply[3] else {
                panic!("{reply:?}");
            };
            assert!(wait_ms >= 1, "{newcomer}");
        }
        assert!(waiter.taken(), "{newcomer}");
        assert_eq!(holders(&mut c, "k"), holders_after, "{newcomer}");
    }
    assert_unloads(&server);
}

#[test]
fn newcomer_with_the_token_of_a_later_waiter_gets_its_slot() {
    let server = launch().start();
    let mut c = server.connection();
    for token in ["a", "b"] {
        c.call::<Reply>(&["RL.ACQUIRE", "k", "2", "1h", token]);
    }
    let mut first = waiting(&server, "k 2 1h c WAIT 60000");
    let mut second = waiting(&server, "k 2 1h d WAIT 60000");
    let mut together = redis::pipe();
    together.atomic();
    together.cmd("ZREM").arg(&["k", "a", "b"]).ignore();
    together.cmd("RL.ACQUIRE").arg(&["k", "2", "1h", "d"]);
    let (newcomer,): (Reply,) = together.query(&mut c).expect("replies");
    assert_eq!(newcomer[..3], [1, 2, 0]);
    assert!(first.taken() && second.taken());
    assert_eq!(holders(&mut c, "k"), ["c", "d"]);
    assert_unloads(&server);
}

#[test]
fn token_that_gets_a_slot_answers_all_its_waiters() {
    let server = launch().start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    let mut first = waiting(&server, "k 1 1h t WAIT 60000");
    let mut again = waiting(&server, "k 1 2h t WAIT 60000");
    let mut fresh = waiting(&server, "k 1 1h t NX WAIT 60000");
    c.ask::<i64>("RL.RELEASE k a");
    assert!(first.taken() && again.taken());
    let [taken, _, _, wait_ms, _] = fresh.reply();
    assert_eq!(taken, 0);
    // The longest of their times counts.
    assert!(wait_ms > 7_100_000, "{wait_ms}");
    assert_eq!(holders(&mut c, "k"), ["t"]);
    // Another command of ours gives the token its slot: its waiters are answered too.
    let mut by_other_way = waiting(&server, "k 1 1h v WAIT 60000");
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 2 1h v")[0], 1);
    assert!(by_other_way.taken());
    // A token that was added by hand takes no second slot.
    let mut other = waiting(&server, "k 2 1h u WAIT 60000");
    c.ask::<()>("ZADD k 99999999999999 u");
    c.ask::<i64>("RL.RELEASE k t v");
    assert!(other.taken());
    assert_eq!(holders(&mut c, "k"), ["u"]);
    assert_unloads(&server);
}

#[test]
fn acquire_with_wait_is_answered_at_once_if_it_cannot_or_may_not_wait() {
    let server = launch().start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    for (words, taken, wait) in [
        ("k 1 1h a WAIT 3600000", 1, 0),
        ("k 0 1h b WAIT 3600000", 0, -1),
        ("k 2 1h b KEEP 2 WAIT 3600000", 0, -1),
    ] {
        let reply: Reply = c.ask(&format!("RL.ACQUIRE {words}"));
        assert_eq!((reply[0], reply[3]), (taken, wait), "{words}");
    }
    let held: Reply = c.ask("RL.ACQUIRE k 9 1h a NX WAIT 3600000");
    assert!(held[0] == 0 && held[3] > 0);
    let mut one = waiting(&server, "k 1 1h b WAIT 60000 QUEUE 1");
    assert_eq!(
        c.ask::<Reply>("RL.ACQUIRE k 1 1h c WAIT 3600000 QUEUE 1")[0],
        0
    );
    let mut together = redis::pipe();
    together
        .atomic()
        .cmd("RL.ACQUIRE")
        .arg(&["k", "1", "1h", "c", "WAIT", "3600000"]);
    let (reply,): (Reply,) = together.query(&mut c).expect("a reply");
    assert_eq!(reply[0], 0);
    let script = "return redis.call('RL.ACQUIRE', KEYS[1], 1, '1h', 'c', 'WAIT', 3600000)";
    assert_eq!(c.call::<Reply>(&["EVAL", script, "1", "k"])[0], 0);
    c.ask::<()>("CONFIG SET maxmemory 1");
    let refused = c.error("RL.ACQUIRE k 1 1h c WAIT 3600000");
    assert!(refused.starts_with("OOM "), "{refused}");
    c.ask::<()>("CONFIG SET maxmemory 0");
    c.ask::<()>("DEL k");
    assert!(one.taken());
    assert_unloads(&server);
}

/// The slots of two keys become free by hand, which nobody reports to the module. A newcomer that is
/// denied for the sake of the waiters of one key has them served before the other key is checked,
/// whichever is next in turn.
#[test]
fn denied_newcomer_has_the_waiters_served_at_once() {
    let server = launch().start();
    let mut c = server.connection();
    c.ask::<()>("CONFIG SET notify-keyspace-events Ed");
    let mut listener = server.connection();
    let mut events = listener.as_pubsub();
    events
        .subscribe("__keyevent@0__:rl.acquire")
        .expect("a subscription");
    for (first, second) in [("k", "l"), ("l", "k")] {
        for newcomer in [
            format!("RL.ACQUIRE {first} 1 1h new"),
            format!("RL.ALL 1 {first} LEASE 1 1h new"),
        ] {
            c.ask::<()>("DEL k l");
            let mut waiters = ["k", "l"].map(|key| {
                c.call::<Reply>(&["RL.ACQUIRE", key, "1", "1h", "a"]);
                waiting(&server, &format!("{key} 1 1h w WAIT 60000"))
            });
            let mut together = redis::pipe();
            together.atomic();
            for command in ["ZREM k a", "ZREM l a", &newcomer] {
                let words: Vec<_> = command.split(' ').collect();
                together.cmd(words[0]).arg(&words[1..]).ignore();
            }
            let () = together.query(&mut c).expect("replies");
            assert!(waiters.iter_mut().all(|waiter| waiter.taken()));
            let acquired = ["k", "l", first, second].map(|_| {
                let event = events.get_message().expect("an event");
                event.get_payload::<String>().expect("a key")
            });
            assert_eq!(acquired, ["k", "l", first, second], "{newcomer}");
        }
    }
    assert_unloads(&server);
}

#[test]
fn waiter_with_nx_gets_a_slot_and_learns_how_many_are_left() {
    let server = launch().start();
    let mut c = server.connection();
    for token in ["a", "x", "y"] {
        c.ask::<Reply>(&format!("RL.ACQUIRE k 3 1h {token}"));
    }
    let mut waiter = waiting(&server, "k 3 1h b NX WAIT 3600000");
    assert_eq!(c.ask::<i64>("RL.RELEASE k a x"), 2);
    assert_eq!(waiter.reply()[..4], [1, 3, 1, 0]);
    assert_eq!(holders(&mut c, "k"), ["b", "y"]);
    assert_unloads(&server);
}

/// A waiter whose token was added by hand is only denied by the release of the last lease.
#[test]
fn key_expires_with_its_last_lease_after_a_release_that_only_denies_a_waiter() {
    let server = launch().start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 2 1h a");
    c.ask::<Reply>("RL.ACQUIRE k 2 2h b");
    let mut waiter = waiting(&server, "k 2 1h t NX WAIT 60000");
    let by_hand = crate::support::now() / 1_000_000 + 3_600_000;
    c.ask::<()>(&format!("ZADD k {by_hand} t"));
    assert_eq!(c.ask::<i64>("RL.RELEASE k a b"), 2);
    assert!(!waiter.taken());
    assert_eq!(server.count("rl_lease_denied"), 1);
    let slack = 3_600_000 / 16;
    let expires = expires_at(&mut c, "k") as u64;
    assert!((by_hand..=by_hand + slack).contains(&expires));
    assert_unloads(&server);
}

/// Returns the tokens that get slots if none is held: the earliest that could have one, one after the
/// other.
fn served(waiting: &[(u64, String)]) -> Vec<String> {
    let mut served: Vec<String> = Vec::new();
    let next = |served: &[String]| {
        let is_next =
            |(room, token): &&(u64, String)| *room > served.len() as u64 && !served.contains(token);
        waiting.iter().find(is_next).map(|(_, token)| token.clone())
    };
    while let Some(token) = next(&served) {
        served.push(token);
    }
    served
}

/// 128 slots are released at once, with waiters in as many rooms as a key may have.
#[test]
fn waiters_in_64_rooms_are_all_served_by_releases_of_128_slots() {
    const SLOTS: u64 = 128;
    const ROOMS: u64 = 64;
    let server = launch().start();
    let mut c = server.connection();
    let mut held: Vec<_> = (0..SLOTS).map(|n| format!("h{n}")).collect();
    for token in &held {
        c.ask::<Reply>(&format!("RL.ACQUIRE k {SLOTS} 1h {token}"));
    }
    let mut callers = Vec::new();
    let mut queue = Vec::new();
    for n in 0..3 * ROOMS {
        // The rooms in a mixed order, so that many are passed over.
        let keep = n * 37 % ROOMS;
        let token = format!("w{n}");
        let words = format!("k {SLOTS} 1h {token} KEEP {keep} WAIT 600000");
        callers.push(waiting(&server, &words));
        queue.push((SLOTS - keep, token));
    }
    // One room too many.
    let denied: Reply = c.ask("RL.ACQUIRE k 128 1h x KEEP 64 WAIT 60000");
    assert_eq!(denied[0], 0);

    let mut releases = 0;
    while !queue.is_empty() {
        let mut next = served(&queue);
        let mut together = redis::pipe();
        together.atomic().cmd("RL.RELEASE").arg("k").arg(&held);
        together.cmd("ZRANGE").arg(&["k", "0", "-1"]);
        let (released, members): (usize, Vec<String>) = together.query(&mut c).expect("replies");
        assert_eq!(released, held.len());
        for token in &next {
            assert!(members.contains(token), "{token}");
        }
        assert_eq!(members.len(), next.len() + 1, "a marker, and these");
        queue.retain(|(_, token)| !next.contains(token));
        held.clear();
        held.append(&mut next);
        releases += 1;
    }
    assert!(callers.iter_mut().all(|caller| caller.taken()));
    assert!((2..9).contains(&releases), "{releases}");
    assert_unloads(&server);
}

/// A command grants at most 128 slots. The others are granted by the next runs of the timer, also
/// after all databases were emptied.
#[test]
fn waiters_for_more_slots_than_one_command_grants_are_all_served() {
    const SLOTS: usize = 200;
    let server = launch().start();
    let mut c = server.connection();
    let tokens = |name: char| (0..SLOTS).map(move |n| format!("{name}{n}"));
    for token in tokens('a') {
        c.ask::<Reply>(&format!("RL.ACQUIRE k {SLOTS} 1h {token}"));
    }
    for (name, granted) in [('b', 128), ('c', 0)] {
        let wait = |token| waiting(&server, &format!("k {SLOTS} 1h {token} WAIT 600000"));
        let mut callers: Vec<_> = tokens(name).map(wait).collect();
        let mut together = redis::pipe();
        together.atomic();
        match name {
            'b' => {
                let by_hand: Vec<_> = tokens('a').skip(1).collect();
                together.cmd("ZREM").arg("k").arg(by_hand).ignore();
                together.cmd("RL.RELEASE").arg(&["k", "a0"]).ignore();
            }
            _ => {
                together.cmd("FLUSHALL").ignore();
            }
        }
        together.cmd("RL.LEASES").arg(&["k", "200"]);
        let (held,): (Leases,) = together.query(&mut c).expect("replies");
        assert_eq!(held.0, granted);
        assert!(callers.iter_mut().all(|caller| caller.taken()));
        let mut expected: Vec<_> = tokens(name).collect();
        expected.sort();
        let mut members: Vec<String> = c.ask("ZRANGE k 1 -1");
        members.sort();
        assert_eq!(members, expected);
    }
    assert_unloads(&server);
}

#[test]
fn waiters_of_many_keys_are_all_served_by_one_transaction() {
    let server = launch().start();
    let mut c = server.connection();
    let keys: Vec<_> = (0..62).map(|n| format!("k{n}")).collect();
    let mut callers = Vec::new();
    for key in &keys {
        for token in ["a", "b"] {
            c.call::<Reply>(&["RL.ACQUIRE", key, "2", "1h", token]);
        }
        for token in ["c", "d"] {
            callers.push(waiting(&server, &format!("{key} 2 1h {token} WAIT 600000")));
        }
    }
    let mut together = redis::pipe();
    together.atomic();
    // Of an unknown hold, whose leases are released all the same.
    together.cmd("RL.SETTLE").arg(keys.len() + 2).arg(&keys);
    together.arg(&["w", "h"]);
    for _ in &keys {
        together.arg(&["LEASE", "a"]);
    }
    let words = "WINDOW 9 1h USED 0 HOLD x";
    together.arg(words.split(' ').collect::<Vec<_>>()).ignore();
    for key in &keys {
        together.cmd("RL.RELEASE").arg(&[key, "b"]).ignore();
        together.cmd("ZRANGE").arg(&[key, "1", "-1"]);
    }
    let held: Vec<Vec<String>> = together.query(&mut c).expect("replies");
    assert_eq!(held, vec![["c", "d"]; keys.len()]);
    assert!(callers.iter_mut().all(|caller| caller.taken()));
    assert_unloads(&server);
}

/// The caller does not wait for the next round of the timer's checks, 50 ms later.
#[test]
fn slot_that_a_release_frees_is_handed_over_at_once() {
    let server = Server::start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 1 1h t0");
    let mut n = 0;
    wait_until("four slots are handed over in 100 ms", || {
        let mut total = Duration::ZERO;
        for _ in 0..4 {
            let mut waiter = waiting(&server, &format!("k 1 1h t{} WAIT 3600000", n + 1));
            let began = Instant::now();
            assert_eq!(c.ask::<i64>(&format!("RL.RELEASE k t{n}")), 1);
            assert!(waiter.taken());
            total += began.elapsed();
            n += 1;
        }
        total < Duration::from_millis(100)
    });
}
