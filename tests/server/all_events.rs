//! The events of RL.ALL, and the actions of another module that receives them.

use std::thread;
use std::time::{Duration, Instant};

use redis::Value;

use crate::common::wait_until;
use crate::support::mixed::{all, words};
use crate::support::node::launch;
use crate::support::{listener, Ask};

#[test]
fn events_counters_and_top_name_the_denying_limits() {
    let server = launch()
        .with(&["--loadmodule", listener::library()])
        .start();
    let mut c = server.connection();
    let calls = [
        (
            "b w s l",
            "1",
            "a",
            "rl.take b\nrl.take w\nrl.take s\nrl.acquire l\n",
        ),
        // Each has one of two left.
        (
            "l s w b",
            "1",
            "b ONCE",
            "rl.acquire l\nrl.take s\nrl.take w\nrl.take b\n",
        ),
        ("b w s l", "1", "b ONCE", "rl.acquire l\n"),
        (
            "b w s l",
            "1",
            "c",
            "rl.deny b\nrl.deny w\nrl.deny s\nrl.deny l\n",
        ),
        ("b nw ns nl", "1", "c", "rl.deny b\n"),
        ("nl nb w ns", "1", "c", "rl.deny w\n"),
        ("ns s nb nl", "1", "c", ""),
    ];
    for (keys, cost, token, expected) in calls.into_iter().take(6) {
        let names: Vec<_> = keys.split(' ').collect();
        let limits: Vec<_> = names
            .iter()
            .map(|name| {
                let kind = name.trim_start_matches('n');
                (
                    *name,
                    match kind {
                        "b" => format!("BUCKET 1/d 2 COST {cost}"),
                        "w" => format!("WINDOW 2 1h COST {cost}"),
                        "s" => format!("WINDOW 2 SLIDING 1h COST {cost}"),
                        _ => format!("LEASE 2 1h {token}"),
                    },
                )
            })
            .collect();
        let limits: Vec<_> = limits
            .iter()
            .map(|(name, spec)| (*name, spec.as_str()))
            .collect();
        all(&mut c, &words(&limits));
        assert_eq!(c.ask::<String>("LISTENER.HEARD"), expected, "{limits:?}");
    }
    let told = [
        ("takes_allowed", 2),
        ("takes_denied", 2),
        ("tokens_taken", 2),
        ("buckets_created", 1),
        ("window_takes_allowed", 4),
        ("window_takes_denied", 3),
        ("window_tokens_taken", 4),
        ("window_created", 2),
        ("lease_acquired", 2),
        ("lease_denied", 1),
        ("lease_renewed", 1),
        ("peeks", 0),
        ("window_peeks", 0),
        ("errors_call", 0),
    ];
    for (name, expected) in told {
        assert_eq!(server.count(&format!("rl_{name}")), expected, "{name}");
    }
    let mut top: Vec<(String, i64)> = c
        .ask::<Vec<(String, i64, Value, Value)>>("RL.TOP")
        .into_iter()
        .map(|(key, denied, ..)| (key, denied))
        .collect();
    top.sort();
    let expected = [("b", 2), ("l", 1), ("s", 1), ("w", 2)];
    assert_eq!(top, expected.map(|(key, denied)| (key.to_owned(), denied)));
}

#[test]
fn limit_deleted_while_another_is_read_starts_unused() {
    let mut server = launch()
        .with(&["--loadmodule", listener::library()])
        .start();
    let mut c = server.connection();
    // Else B may be gone before it is looked up.
    c.ask::<()>("DEBUG SET-ACTIVE-EXPIRE 0");
    let specs = [
        "BUCKET 1/d 5",
        "WINDOW 5 1h",
        "WINDOW 5 SLIDING 1h",
        "LEASE 5 1h me",
        // Renewed.
        "LEASE 5 2h other",
    ];
    for (n, spec) in specs.iter().enumerate() {
        for limits in [
            [("A", *spec), ("B", "BUCKET 1/d 5")],
            [("B", "BUCKET 1/d 5"), ("A", *spec)],
        ] {
            // PEXPIRE deletes B if its millisecond ends before the command does.
            wait_until("B is stored and expires", || {
                c.ask::<()>("FLUSHALL");
                c.ask::<()>(
                    [
                        "RL.TAKE A 1/d 5 COST 3",
                        "RL.WTAKE A 5 1h COST 3",
                        "RL.WTAKE A 5 SLIDING 1h COST 3",
                        "RL.ACQUIRE A 5 1h other",
                        "RL.ACQUIRE A 5 1h other",
                    ][n],
                );
                c.take("B 1/d 5 COST 3");
                c.ask::<()>("PEXPIRE B 1");
                c.ask::<i64>("DBSIZE") == 2
            });
            let start = Instant::now();
            wait_until("B expires", || start.elapsed() > Duration::from_millis(3));
            // A server that crashes may hang before it ends.
            let mut other = server.connection();
            let call = words(&limits);
            let thread = thread::spawn(move || all(&mut other, &call));
            wait_until("the call is answered", || thread.is_finished());
            let (taken, ..) = thread.join().expect("a reply");
            assert_eq!(taken, 1, "{limits:?}");
            // It is an unused limit of its kind.
            let (taken, _, each) = all(&mut c, &words(&[("A", *spec)]));
            assert_eq!(taken, 1, "{limits:?} {each:?}");
            if n >= 3 {
                let score: Option<f64> = c.ask("ZSCORE A rl:leases");
                assert_eq!(score, Some(0.0), "{limits:?}");
            }
        }
    }
    assert!(server.alive());
}
