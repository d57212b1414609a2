//! The calls that RL.ALL rejects before it changes any key.

use crate::common::Server;
use crate::support::mixed::{all, state, words, KINDS};
use crate::support::{Ask, HOUR_MS};

#[test]
fn invalid_calls_change_no_key() {
    let server = Server::start();
    let mut c = server.connection();
    all(&mut c, "3 a w l BUCKET 1/d 5 WINDOW 5 1h LEASE 5 1h other");
    let usage = "ERR usage: RL.ALL numkeys key [key ...] spec";
    let numkeys = "ERR numkeys must be a whole number from 1 to 128";
    let each = "ERR numkeys is ";
    let long = "x".repeat(129);
    let long = format!("1 l LEASE 5 1h {long}");
    let wrong: [(&str, &str); 65] = [
        ("", usage),
        ("0 BUCKET 1 5", numkeys),
        ("-1 a BUCKET 1 5", numkeys),
        ("1.0 a BUCKET 1 5", numkeys),
        ("1e0 a BUCKET 1 5", numkeys),
        ("+1 a BUCKET 1 5", numkeys),
        ("nan a BUCKET 1 5", numkeys),
        ("9 a BUCKET 1 5", numkeys),
        ("129 a BUCKET 1 5", numkeys),
        ("99999999999999999999999999 a BUCKET 1 5", numkeys),
        ("1", numkeys),
        ("1 a", each),
        ("2 a b BUCKET 1/d 5", each),
        ("1 a BUCKET 1/d 5 BUCKET 1/d 5", each),
        ("1 a BUCKET 1/d 5 WINDOW", each),
        ("2 a b BUCKET 1/d 5 BUCKET 1/d 5 LEASE 5 1h t", each),
        (
            "1 a CIRCLE 1/d 5",
            "ERR a limit begins with BUCKET, WINDOW, LEASE or HOLD; got 'CIRCLE': as many keys as \
             numkeys come before the limits",
        ),
        ("1 a 1/d 5", "ERR a limit begins with"),
        ("2 a BUCKET 1/d 5", "ERR a limit begins with"),
        (
            "2 a w BUCKET 1/d 5 5 1h",
            "ERR syntax error: unknown option '5'",
        ),
        ("2 a b BUCKET 1/d 5 BUCKET 1/d", usage),
        ("1 a BUCKET", usage),
        ("1 a BUCKET 1/d", usage),
        ("1 a BUCKET fast 5", "ERR rate must be"),
        ("1 a BUCKET 5 1/d", "ERR burst must be"),
        ("1 a BUCKET 1/d -1", "ERR burst must be"),
        ("1 a BUCKET 1/d 100000000001", "ERR burst must be"),
        ("1 a BUCKET 1/36500d 5", "ERR rate and burst"),
        (
            "1 a BUCKET 1/d 5 COST",
            "ERR syntax error: option 'COST' needs a value",
        ),
        ("1 a BUCKET 1/d 5 COST x", "ERR COST must be"),
        (
            "1 a BUCKET 1/d 5 COST 1 COST 1",
            "ERR syntax error: option 'COST' is given twice",
        ),
        ("1 a BUCKET 1/d 5 KEEP x", "ERR KEEP must be"),
        ("2 a w BUCKET 1/d 5 KEEP WINDOW 5 1h", "ERR KEEP must be"),
        (
            "1 a BUCKET 1/d 5 ATMOST",
            "ERR syntax error: unknown option 'ATMOST'; accepted: COST n, KEEP n",
        ),
        (
            "1 a BUCKET 1/d 5 FORCE",
            "ERR syntax error: unknown option 'FORCE'",
        ),
        (
            "1 a BUCKET 1/d 5 MAXWAIT 5",
            "ERR syntax error: unknown option 'MAXWAIT'",
        ),
        (
            "1 a BUCKET 1/d 5 ONCE",
            "ERR syntax error: unknown option 'ONCE'",
        ),
        ("1 w WINDOW", usage),
        ("1 w WINDOW 5", usage),
        ("1 w WINDOW x 1h", "ERR limit must be"),
        ("1 w WINDOW 5 1", "ERR window must be"),
        ("1 w WINDOW 5 FORTNIGHT", "ERR window must be"),
        (
            "1 w WINDOW 5 1h SLIDING",
            "ERR syntax error: unknown option 'SLIDING'",
        ),
        (
            "1 w WINDOW 5 SLIDING",
            "ERR syntax error: option 'SLIDING' needs a value",
        ),
        ("1 w WINDOW 5 DAY OFFSET 9", "ERR OFFSET must be"),
        ("1 w WINDOW 5 DAY ANCHOR 1", "ERR ANCHOR goes with"),
        ("1 w WINDOW 5 WEEK ANCHOR 8", "ERR ANCHOR of a WEEK"),
        (
            "1 w WINDOW 5 DAY COST 1 OFFSET +09:00",
            "ERR syntax error: 'OFFSET' comes directly after",
        ),
        ("1 w WINDOW 5 UNTIL x", "ERR UNTIL must be"),
        (
            "1 w WINDOW 5 1h AT 5",
            "ERR syntax error: unknown option 'AT'",
        ),
        (
            "1 w WINDOW 5 1h FORCE",
            "ERR syntax error: unknown option 'FORCE'",
        ),
        ("1 l LEASE", usage),
        ("1 l LEASE 5 1h", usage),
        ("1 l LEASE x 1h t", "ERR limit must be"),
        ("1 l LEASE 100001 1h t", "ERR limit must be"),
        ("1 l LEASE 5 1 t", "ERR ttl must be"),
        ("1 l LEASE 5 9ms t", "ERR ttl must be"),
        ("1 l LEASE 5 31d t", "ERR ttl must be"),
        ("1 l LEASE 5 1h rl:leases", "ERR token must be"),
        (&long, "ERR token must be"),
        (
            "1 l LEASE 5 1h t COST 2",
            "ERR syntax error: unknown option 'COST'; accepted: KEEP n, ONCE",
        ),
        (
            "1 l LEASE 5 1h t ONCE ONCE",
            "ERR syntax error: option 'ONCE' is given twice",
        ),
        (
            "2 l m LEASE 5 1h t ONCE LEASE 5 1h t",
            "ERR syntax error: ONCE must be on every LEASE of a call or on none",
        ),
        (
            "3 l a m LEASE 5 1h t BUCKET 1/d 5 LEASE 5 1h t ONCE",
            "ERR syntax error: ONCE must be on every LEASE of a call or on none",
        ),
        (
            "1 l LEASE 5 1h t KEEP",
            "ERR syntax error: option 'KEEP' needs a value",
        ),
    ];
    let before = state(&mut c);
    for (words, expected) in wrong {
        let error = c.error(format!("RL.ALL {words}").trim_end());
        assert!(error.starts_with(expected), "{words}: {error}");
        // The same after a valid limit, and before one.
        if let Some(words) = words.strip_prefix("1 ").filter(|words| words.contains(' ')) {
            let (key, spec) = words.split_once(' ').expect("a key");
            for call in [
                format!("2 first {key} BUCKET 1/d 5 {spec}"),
                format!("3 first {key} last LEASE 5 1h t {spec} BUCKET 1/d 5"),
            ] {
                let error = c.error(&format!("RL.ALL {call}"));
                assert!(error.starts_with("ERR "), "{call}: {error}");
            }
        }
        assert_eq!(state(&mut c), before, "{words}");
    }
    assert_eq!(server.count("rl_errors_key"), 0);
}

#[test]
fn repeated_key_is_rejected_for_all_kinds() {
    let server = Server::start();
    let mut c = server.connection();
    for one in &KINDS {
        for other in &KINDS {
            for call in [
                words(&[("k", one.spec), ("k", other.spec)]),
                words(&[
                    ("k", one.spec),
                    ("between", "BUCKET 1/d 5"),
                    ("k", other.spec),
                ]),
            ] {
                let error = c.error(&format!("RL.ALL {call}"));
                assert_eq!(error, "ERR key 'k' is given twice", "{call}");
            }
        }
    }
    assert_eq!(c.ask::<i64>("DBSIZE"), 0);
}

/// Tests each kind on a key of each other kind and of other types, at each position.
#[test]
fn foreign_key_leaves_the_other_keys_unchanged() {
    let server = Server::start();
    let mut c = server.connection();
    for kind in &KINDS {
        c.ask::<()>(kind.exhaust);
    }
    for other in [
        "RPUSH list x",
        "SET text x",
        "SADD set x",
        "ZADD queue 1 job",
    ] {
        c.ask::<()>(other);
    }
    let before = state(&mut c);
    let holders = [
        "bucket", "window", "sliding", "lease", "list", "text", "set", "queue",
    ];
    for (n, kind) in KINDS.iter().enumerate() {
        for holder in holders.iter().filter(|holder| **holder != kind.key) {
            let other_type = match n {
                3 => *holder != "queue",
                _ => ["lease", "list", "set", "queue"].contains(holder),
            };
            for place in 0..3 {
                let mut limits = vec![("new", "BUCKET 1/d 5"), ("fresh", "LEASE 5 1h t")];
                limits.insert(place, (holder, kind.spec));
                let error = c.error(&format!("RL.ALL {}", words(&limits)));
                let starts = match other_type {
                    true => "WRONGTYPE Operation".to_owned(),
                    false => format!("ERR key '{holder}' holds "),
                };
                assert!(error.starts_with(&starts), "{limits:?}: {error}");
                assert_eq!(state(&mut c), before, "{limits:?}");
            }
        }
    }
}

/// Nor does it count a denial, or extend the expiry of a bucket that a slower limit finds too early.
#[test]
fn foreign_key_behind_an_exhausted_limit_is_an_error_without_a_denial() {
    let server = Server::start();
    let mut c = server.connection();
    for kind in &KINDS {
        c.ask::<()>(kind.exhaust);
    }
    c.ask::<()>("RPUSH list x");
    let before = state(&mut c);
    for kind in &KINDS {
        for spec in [kind.spec, "BUCKET 1/30d 5 COST 3"] {
            let key = if spec == kind.spec {
                kind.key
            } else {
                "bucket"
            };
            let call = words(&[(key, spec), ("list", "BUCKET 1/d 5")]);
            let error = c.error(&format!("RL.ALL {call}"));
            assert!(error.starts_with("WRONGTYPE"), "{call}: {error}");
            assert_eq!(state(&mut c), before, "{call}");
        }
    }
    let denials = ["takes_denied", "window_takes_denied", "lease_denied"];
    assert_eq!(
        denials.map(|name| server.count(&format!("rl_{name}"))),
        [0; 3]
    );
    assert_eq!(c.ask::<Vec<redis::Value>>("RL.TOP"), []);
}

/// Tests with a window in force, and without one.
#[test]
fn passed_until_is_an_error_before_any_write() {
    let server = Server::start();
    let mut c = server.connection();
    c.ask::<()>("RL.WTAKE stored 5 1h");
    c.ask::<()>("RL.ACQUIRE held 5 1h t");
    let before = state(&mut c);
    let (seconds, _): (i64, i64) = c.ask("TIME");
    // Now in seconds is long ago, and in microseconds far ahead.
    for end in [seconds, seconds * 1000 - 1, seconds * 1_000_000, 1] {
        for key in ["stored", "new"] {
            for (place, lease) in (0..3).flat_map(|place| {
                [("fresh", "LEASE 5 1h t ONCE"), ("held", "LEASE 5 2h t")]
                    .map(|lease| (place, lease))
            }) {
                let until = format!("WINDOW 5 UNTIL {end}");
                let mut limits = vec![("other", "BUCKET 1/d 5"), lease];
                limits.insert(place, (key, &until));
                let error = c.error(&format!("RL.ALL {}", words(&limits)));
                assert!(
                    error.starts_with("ERR UNTIL must be later than now"),
                    "{error}"
                );
                assert_eq!(state(&mut c), before, "{limits:?}");
            }
        }
    }
    let (seconds, _): (i64, i64) = c.ask("TIME");
    let until = format!(
        "2 new other WINDOW 5 UNTIL {} BUCKET 1/d 5",
        seconds * 1000 + HOUR_MS
    );
    let (taken, _, each) = all(&mut c, &until);
    assert_eq!(taken, 1);
    let left = each[0][4];
    assert!((HOUR_MS - 60_000..=HOUR_MS).contains(&left), "{each:?}");
}
