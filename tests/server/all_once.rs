//! RL.ALL with ONCE: a call that is made again because its reply was lost charges nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use redis::{Connection, Value};

use crate::common::{until, wait_until, Server};
use crate::support::mixed::{all, state, Replies};
use crate::support::traffic::Dice;
use crate::support::{call, Ask, Reply};

fn charge(c: &mut Connection, token: &str) -> Replies {
    let call = format!(
        "4 b w s l BUCKET 1/d 9 COST 2 WINDOW 9 1h WINDOW 9 SLIDING 1h \
        LEASE 9 1h {token} ONCE"
    );
    all(c, &call)
}

#[test]
fn retry_renews_and_charges_nothing() {
    let server = Server::start();
    let mut c = server.connection();
    let (taken, _, first) = charge(&mut c, "t");
    assert_eq!(taken, 1);
    let before = state(&mut c);
    let longer = "4 l b w s LEASE 9 2h t ONCE BUCKET 1/d 9 COST 2 WINDOW 9 1h \
        WINDOW 9 SLIDING 1h";
    let (taken, wait_ms, again) = all(&mut c, longer);
    assert_eq!((taken, wait_ms), (1, 0));
    assert_eq!(again[0][..4], [1, 9, 8, 0]);
    assert!(again[0][4] > first[3][4], "the lease is renewed");
    for (told, first) in again[1..].iter().zip(&first) {
        assert_eq!(told[..4], [0, first[1], first[2], 0]);
    }
    let after = state(&mut c);
    for key in ["b", "w", "s"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert!(after["l"].1 > before["l"].1);
    assert_eq!(charge(&mut c, "another").2[0][2], 5);
}

/// The limits may be full by then, and lowered.
#[test]
fn retry_needs_no_room() {
    let server = Server::start();
    let mut c = server.connection();
    assert_eq!(charge(&mut c, "t").0, 1);
    c.ask::<()>("RL.TAKE b 1/d 9 COST 7");
    c.ask::<()>("RL.WTAKE w 9 1h COST 8");
    for keep in ["", " KEEP 1"] {
        let call =
            format!("3 b l w BUCKET 1/d 9 COST 2 LEASE 0 1h t ONCE{keep} WINDOW 1 1h COST 2");
        let (taken, wait_ms, each) = all(&mut c, &call);
        assert_eq!((taken, wait_ms), (1, 0), "{each:?}");
        assert_eq!((each[0][0], each[1][0], each[2][0]), (0, 1, 0));
        assert!(each.iter().all(|reply| reply[3] == 0), "{each:?}");
    }
    assert_eq!(charge(&mut c, "new").0, 0);
}

/// Its window may have ended, and its other keys may hold anything by now.
#[test]
fn retry_never_fails_because_of_the_other_keys() {
    let server = Server::start();
    let mut c = server.connection();
    let (end, words) = until("the call comes before the window's end", || {
        let (seconds, micros): (i64, i64) = c.ask("TIME");
        let end = seconds * 1_000 + micros / 1_000 + 300;
        let words = format!(
            "4 b u w l BUCKET 1/d 9 WINDOW 9 UNTIL {end} COST 5 WINDOW 9 1h LEASE 3 1h req1 ONCE"
        );
        let arguments: Vec<_> = words.split(' ').collect();
        match call("RL.ALL", &arguments).query::<Replies>(&mut c) {
            Ok((taken, ..)) => {
                assert_eq!(taken, 1);
                Some((end, words))
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("UNTIL must be later than now"), "{text}");
                None
            }
        }
    });
    wait_until("the window has ended", || {
        let (seconds, micros): (i64, i64) = c.ask("TIME");
        seconds * 1_000 + micros / 1_000 > end
    });
    let retry = |c: &mut Connection| {
        let (taken, wait_ms, each) = all(c, &words);
        assert_eq!((taken, wait_ms), (1, 0), "{each:?}");
        assert_eq!(each[3][0], 1);
        for reply in &each[..3] {
            assert_eq!((reply[0], reply[1], reply[3]), (0, 9, 0), "{each:?}");
        }
    };
    retry(&mut c);
    for replaced in ["DEL b", "RPUSH b x", "SET w text", "RPUSH u x"] {
        c.ask::<Value>(replaced);
        let before = state(&mut c);
        retry(&mut c);
        let after = state(&mut c);
        for key in ["b", "u", "w"] {
            assert_eq!(after.get(key), before.get(key), "{replaced}: {key}");
        }
    }
    // Once the lease is free, it is a new call.
    c.ask::<i64>("RL.RELEASE l req1");
    let error = c.error(&format!("RL.ALL {words}"));
    assert!(error.starts_with("WRONGTYPE"), "{error}");
}

#[test]
fn retry_requires_once_and_a_live_token_in_every_lease() {
    let server = Server::start();
    let mut c = server.connection();
    c.ask::<()>("RL.ACQUIRE live 9 1h t");
    c.ask::<()>("RL.ACQUIRE live2 9 1h t");
    let mut left = 100;
    let mut charged = |c: &mut Connection, leases: &str| {
        let count = 1 + leases.matches("LEASE").count();
        let keys: Vec<_> = leases.split(' ').take(count - 1).collect();
        let specs = leases.splitn(count, ' ').last().expect("specs");
        let call = format!("{count} {} b {specs} BUCKET 1/d 100", keys.join(" "));
        let (taken, _, each) = all(c, call.replace("  ", " ").trim());
        assert_eq!(taken, 1, "{call}");
        let now = each[count - 1][2];
        let charged = now < left;
        left = now;
        charged
    };
    assert!(!charged(&mut c, "live LEASE 9 1h t ONCE"));
    assert!(!charged(
        &mut c,
        "live live2 LEASE 9 1h t ONCE LEASE 9 1h t ONCE"
    ));
    assert!(charged(&mut c, "live LEASE 9 1h t"), "without ONCE");
    assert!(charged(&mut c, "live LEASE 9 1h u ONCE"), "another token");
    assert!(
        charged(&mut c, "live new LEASE 9 1h t ONCE LEASE 9 1h t ONCE"),
        "one is new"
    );
    assert!(!charged(
        &mut c,
        "live new LEASE 9 1h t ONCE LEASE 9 1h t ONCE"
    ));
    c.ask::<i64>("RL.RELEASE new t");
    assert!(
        charged(&mut c, "live new LEASE 9 1h t ONCE LEASE 9 1h t ONCE"),
        "one was freed"
    );

    assert!(charged(&mut c, "short LEASE 9 10ms t ONCE"));
    let start = Instant::now();
    wait_until("the lease has ended", || {
        start.elapsed() > Duration::from_millis(15)
    });
    assert!(charged(&mut c, "short LEASE 9 1h t ONCE"), "it has ended");
    // Without a lease a retry cannot be recognised.
    for left in [8, 7] {
        assert_eq!(all(&mut c, "1 alone BUCKET 1/d 9").2[0][2], left);
    }
}

/// Connections are killed, or left before the reply comes; each call is made until it is answered.
#[test]
fn retries_are_charged_once() {
    const CLIENTS: u64 = 8;
    const CALLS: u64 = 60;
    let server = Server::start();
    let (over, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let counted: Vec<(u64, u64)> = thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut c = server.connection();
            let mut killed_at = 0;
            while !over.load(Ordering::Relaxed) {
                // Else no client would come as far as to ask.
                let now = asked.load(Ordering::Relaxed);
                if now >= killed_at + 10 {
                    killed_at = now;
                    c.ask::<i64>("CLIENT KILL TYPE normal SKIPME yes");
                }
                thread::yield_now();
            }
        });
        let (server, asked) = (&server, &asked);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(move || charge_until_answered(server, client, CALLS, asked)))
            .collect();
        let ends: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        over.store(true, Ordering::Relaxed);
        killer.join().expect("the killer ends");
        ends.into_iter().map(|end| end.expect("counts")).collect()
    });
    let tries: u64 = counted.iter().map(|(tries, _)| tries).sum();
    let found_made: u64 = counted.iter().map(|(_, found)| found).sum();
    println!(
        "{} calls, {tries} tries, {found_made} had been made",
        CLIENTS * CALLS
    );
    assert!(found_made > 0 && tries > CLIENTS * CALLS);

    let charged = i64::try_from(CLIENTS * CALLS).expect("a few");
    let bucket: Reply = server.ask("RL.PEEK bucket 1/h 100000");
    assert_eq!(100_000 - bucket[2], 3 * charged);
    let window: Reply = server.ask("RL.WPEEK window 100000 1h");
    assert_eq!(100_000 - window[2], 2 * charged);
    assert_eq!(server.ask::<i64>("ZCARD lease"), charged + 1);
}

/// Returns the number of attempts, and of those that were recognised as retries.
fn charge_until_answered(
    server: &Server,
    client: u64,
    calls: u64,
    asked: &AtomicU64,
) -> (u64, u64) {
    let mut dice = Dice::new(client + 1);
    let (mut tries, mut found_made) = (0, 0);
    for n in 0..calls {
        let token = format!("{client}-{n}");
        let words = format!(
            "3 bucket window lease BUCKET 1/h 100000 COST 3 \
            WINDOW 100000 1h COST 2 LEASE 100000 1h {token} ONCE"
        );
        let command = call(
            "RL.ALL",
            &words
                .split(' ')
                .filter(|w| !w.is_empty())
                .collect::<Vec<_>>(),
        );
        loop {
            tries += 1;
            let Ok(mut c) = server.client().get_connection() else {
                continue;
            };
            asked.fetch_add(1, Ordering::Relaxed);
            if dice.roll(0..3) == 0 {
                // Sent, and gone before the reply: whether it was carried out is not known.
                let _ = c.send_packed_command(&command.get_packed_command());
                continue;
            }
            match command.query::<Replies>(&mut c) {
                Ok((taken, _, each)) => {
                    assert_eq!(taken, 1, "{each:?}");
                    found_made += u64::from(each[0][0] == 0);
                    break;
                }
                Err(error) => assert!(error.is_unrecoverable_error(), "{error:?}"),
            }
        }
    }
    (tries, found_made)
}
