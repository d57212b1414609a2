//! Every call on every content of a key: a call on its own kind finds it, a call on another kind
//! names the content, and foreign data is never overwritten.

use redis::{Connection, Value};

use crate::calendar::Unit;
use crate::support::node::launch;
use crate::support::windows::{fixed, held_to_oracle, look, now_ms, put, sliding, take};
use crate::support::{call, expires_at, Ask, HOUR_MS};
use crate::windows::{Call, Mode, Named};

const DAY_MS: i64 = 24 * HOUR_MS;
const BUCKET: &str = "a rate-limit bucket";
const FIXED: &str = "a fixed window";
const SLIDING: &str = "a sliding window";
const OTHER: &str = "another string";

/// Returns each form of a window; a bucket's rate and burst stand for themselves.
fn asked(now: i64) -> Vec<(String, Named, &'static str)> {
    let millis = |n: i64| u64::try_from(n).expect("a time");
    let until = now + 3 * HOUR_MS;
    let calendar = |unit, offset| Named::Calendar(unit, offset);
    [
        ("1h".to_owned(), Named::For(millis(HOUR_MS))),
        ("2h".to_owned(), Named::For(millis(2 * HOUR_MS))),
        ("HOUR".to_owned(), calendar(Unit::Hour, 0)),
        ("DAY OFFSET +05:45".to_owned(), calendar(Unit::Day, 345)),
        ("WEEK ANCHOR 3".to_owned(), calendar(Unit::Week(3), 0)),
        ("MONTH ANCHOR 31".to_owned(), calendar(Unit::Month(31), 0)),
        ("YEAR OFFSET -08:00".to_owned(), calendar(Unit::Year, -480)),
        (format!("UNTIL {until}"), Named::Until(millis(until))),
        ("SLIDING 1h".to_owned(), Named::Sliding(millis(HOUR_MS))),
        ("SLIDING 2h".to_owned(), Named::Sliding(millis(2 * HOUR_MS))),
        ("SLIDING 7d".to_owned(), Named::Sliding(millis(7 * DAY_MS))),
    ]
    .map(|(words, named)| match named {
        Named::Sliding(_) => (words, named, SLIDING),
        _ => (words, named, FIXED),
    })
    .into()
}

/// Returns calls on windows with a usage of five of ten, and the amount that each takes or refunds.
fn calls(now: i64) -> [(&'static str, String, Call, i64); 11] {
    let at = |ms: i64| Some(u64::try_from(ms).expect("a time"));
    let long_ago = now - 400 * DAY_MS;
    [
        ("RL.WTAKE", "COST 2".into(), take(2, 0, Mode::Whole), 2),
        ("RL.WTAKE", "COST 6".into(), take(6, 0, Mode::Whole), 0),
        ("RL.WTAKE", "COST 11".into(), take(11, 0, Mode::Whole), 0),
        ("RL.WTAKE", "KEEP 5".into(), take(1, 5, Mode::Whole), 0),
        (
            "RL.WTAKE",
            "COST 9 ATMOST".into(),
            take(9, 0, Mode::AtMost),
            5,
        ),
        (
            "RL.WTAKE",
            "COST 9 FORCE".into(),
            take(9, 0, Mode::Force),
            9,
        ),
        ("RL.WPEEK", "COST 5".into(), look(5), 5),
        ("RL.WPEEK", "COST 6".into(), look(6), 0),
        ("RL.WGIVE", "COST 2".into(), Call::Give(2, None), 2),
        (
            "RL.WGIVE",
            format!("COST 9 AT {now}"),
            Call::Give(9, at(now)),
            5,
        ),
        (
            "RL.WGIVE",
            format!("AT {long_ago}"),
            Call::Give(1, at(long_ago)),
            0,
        ),
    ]
}

/// A stored window stays in force with its own end. A sliding window is converted only by a take
/// that succeeds.
#[test]
fn call_on_a_stored_window_matches_the_oracle() {
    let server = launch().start();
    let mut c = server.connection();
    let now = now_ms();
    let stored = [
        (FIXED, fixed(now, now + HOUR_MS, 5), now + HOUR_MS),
        (FIXED, fixed(now, now + 2 * HOUR_MS, 5), now + 2 * HOUR_MS),
        (FIXED, fixed(now, now + 30 * DAY_MS, 5), now + 30 * DAY_MS),
        (SLIDING, sliding(HOUR_MS, now, 5), now + 2 * HOUR_MS),
        (SLIDING, sliding(2 * HOUR_MS, now, 5), now + 3 * HOUR_MS),
        (SLIDING, sliding(DAY_MS, now, 5), now + 2 * DAY_MS),
    ];
    let mut cells = 0;
    for (held, value, expires) in &stored {
        for (window, named, _) in asked(now).iter().filter(|asked| asked.2 == *held) {
            for (name, options, asked, taken) in calls(now) {
                put(&mut c, "k", value, *expires);
                let words = format!("{name} k 10 {window} {options}");
                let reply = held_to_oracle(&mut c, &words, *named, asked);
                assert_eq!((reply[0], reply[1]), (taken, 10), "{words}");
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 3 * 8 * 11 + 3 * 3 * 11);
}

/// Returns strings, their names in errors, and whether the module must have written them.
fn strings(now: i64) -> Vec<(Vec<u8>, &'static str)> {
    let level = (5_u64 << 24).to_le_bytes();
    let at = u64::try_from(now).expect("a time") * 1_000_000;
    let mut strings = vec![
        ([at.to_le_bytes(), level].concat(), BUCKET),
        (fixed(now, now + HOUR_MS, 5), FIXED),
        (sliding(HOUR_MS, now, 5), SLIDING),
    ];
    // One byte more, one less, and strings that no call can have written.
    for (value, _) in strings.clone() {
        strings.push((value[1..].to_vec(), OTHER));
        strings.push(([&value[..], b"\0"].concat(), OTHER));
    }
    let ends_before_it_begins = fixed(now, now, 5);
    let too_much = 200_000_000_001;
    let mut endless = sliding(HOUR_MS, now, 5);
    endless[1..9].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut of_no_length = sliding(HOUR_MS, now, 5);
    of_no_length[1..9].fill(0);
    for value in [
        ends_before_it_begins,
        fixed(now, now + 1, too_much),
        sliding(HOUR_MS, now, too_much),
        endless,
        of_no_length,
        [&[0xF8][..], &[0xFF; 24]].concat(),
        [&[0xF9][..], &[0xFF; 152]].concat(),
        [&[0xF9][..], &fixed(now, now + 1, 1)[1..]].concat(),
        [&[0xF8][..], &sliding(HOUR_MS, now, 1)[1..]].concat(),
    ] {
        strings.push((value, OTHER));
    }
    for length in 0..=160 {
        strings.push((vec![b'x'; length], OTHER));
        // Any 16 bytes with a level within the bound are a bucket.
        strings.push((
            vec![0xFF; length],
            if length == 16 { BUCKET } else { OTHER },
        ));
    }
    strings.push((b"42".to_vec(), OTHER));
    strings.push((vec![b'x'; 100_000], OTHER));
    strings
}

/// Returns every command on a kind that is not the key's.
fn others_calls(now: i64, held: &str) -> Vec<(String, &'static str)> {
    let mut calls = Vec::new();
    for (window, _, wanted) in asked(now) {
        for (name, options) in [
            ("RL.WTAKE", ""),
            ("RL.WTAKE", " COST 11"),
            ("RL.WTAKE", " COST 99 FORCE"),
            ("RL.WPEEK", ""),
            ("RL.WGIVE", ""),
        ] {
            calls.push((format!("{name} k 10 {window}{options}"), wanted));
        }
    }
    for words in [
        "RL.TAKE k 1/d 10",
        "RL.TAKE k 1/d 10 COST 11",
        "RL.TAKE k 1/d 10 FORCE",
        "RL.PEEK k 1/d 10",
        "RL.GIVE k 1/d 10",
        "RL.MTAKE 2 new 1/d 10 k 1/d 10",
        "RL.MTAKE 2 k 1/d 10 new 1/d 10",
        "CL.THROTTLE k 9 1 86400",
    ] {
        calls.push((words.to_owned(), BUCKET));
    }
    calls.retain(|(_, wanted)| *wanted != held);
    calls
}

/// Returns the content of the key and its expiry.
fn look_at(c: &mut Connection) -> (Vec<u8>, i64, i64) {
    (c.ask("DUMP k"), expires_at(c, "k"), c.ask("DBSIZE"))
}

#[test]
fn call_on_another_kind_names_it_and_changes_nothing() {
    let server = launch().start();
    let mut c = server.connection();
    let now = now_ms();
    for (value, held) in strings(now) {
        for lasts in [false, true] {
            c.call::<()>(&[b"SET", &b"k"[..], &value]);
            if !lasts {
                c.ask::<()>("PEXPIRE k 1000000");
            }
            let before = look_at(&mut c);
            for (words, wanted) in others_calls(now, held) {
                let error = c.error(&words);
                let expected = format!("ERR key 'k' holds {held}, not {wanted}");
                assert_eq!(error, expected, "{words} on {value:?}");
            }
            assert_eq!(look_at(&mut c), before, "{value:?}");
        }
    }
}

#[test]
fn call_on_another_type_is_an_error_and_changes_nothing() {
    let server = launch().start();
    let mut c = server.connection();
    for made in [
        "RPUSH k a",
        "HSET k a b",
        "SADD k a",
        "ZADD k 1 a",
        "XADD k * a b",
    ] {
        c.ask::<()>("FLUSHALL");
        c.ask::<Value>(made);
        c.ask::<()>("PEXPIRE k 1000000");
        let before = look_at(&mut c);
        for (words, _) in others_calls(now_ms(), OTHER) {
            let error = c.error(&words);
            assert!(error.starts_with("WRONGTYPE "), "{made}, {words}: {error}");
            assert!(error.ends_with("'k'"), "{made}, {words}: {error}");
        }
        assert_eq!(look_at(&mut c), before, "{made}");
    }
}

/// Random values, as another application might store them.
#[test]
fn random_bytes_are_not_taken_for_a_window() {
    let server = launch().start();
    let mut c = server.connection();
    let mut dice = crate::support::traffic::Dice::new(25);
    for round in 0..200 {
        for length in [25, 153] {
            // The tag is not random: with it, the other bounds decide.
            let mut value: Vec<u8> = (0..length).map(|_| dice.roll(0..256) as u8).collect();
            if round % 2 == 0 {
                value[0] = dice.roll(0..0xF8) as u8;
            } else {
                value[0] = if length == 25 { 0xF8 } else { 0xF9 };
                value[8] = 0x7F;
                value[16] = 0x00;
                value[24] = 0xFF;
            }
            c.call::<()>(&[b"SET", &b"k"[..], &value]);
            for window in ["1h", "DAY", "SLIDING 1h"] {
                for name in ["RL.WTAKE", "RL.WPEEK", "RL.WGIVE"] {
                    let error = c.error_of(&call(
                        name,
                        &[&["k", "10"], &*window.split(' ').collect::<Vec<_>>()].concat(),
                    ));
                    assert!(
                        error.starts_with("ERR key 'k' holds another string, not a "),
                        "{error}"
                    );
                }
            }
            assert_eq!(c.ask::<Vec<u8>>("GET k"), value);
        }
    }
}

/// Its key may have been made persistent, or expires in this very millisecond.
#[test]
fn a_window_that_has_ended_counts_as_nothing_for_every_command() {
    let server = launch().start();
    let mut c = server.connection();
    let now = now_ms();
    let ended = [
        fixed(now - 2 * HOUR_MS, now - HOUR_MS, 5),
        sliding(HOUR_MS, now - 3 * HOUR_MS, 5),
    ];
    let calls = [
        ("RL.TAKE k 1/d 5 COST 2", [2, 5, 3]),
        ("RL.PEEK k 1/d 5 COST 2", [2, 5, 5]),
        ("RL.GIVE k 1/d 5", [0, 5, 5]),
        ("RL.WTAKE k 5 1h COST 2", [2, 5, 3]),
        ("RL.WPEEK k 5 DAY COST 2", [2, 5, 5]),
        ("RL.WGIVE k 5 1h", [0, 5, 5]),
        ("RL.WTAKE k 5 SLIDING 1h COST 2", [2, 5, 3]),
        ("RL.WPEEK k 5 SLIDING 1h COST 2", [2, 5, 5]),
        ("RL.WGIVE k 5 SLIDING 1h", [0, 5, 5]),
        ("RL.TAKE k 1/d 5 COST 6", [0, 5, 5]),
    ];
    for value in &ended {
        for (words, expected) in calls {
            put(&mut c, "k", value, now + HOUR_MS);
            let reply: [i64; 5] = c.ask(words);
            assert_eq!(reply[..3], expected, "{words}");
            // What was taken is stored, in its own form.
            if words.contains("TAKE") && reply[0] > 0 {
                let again: [i64; 5] = c.ask(words);
                assert_eq!(again[..3], [2, 5, 1], "{words}");
            }
        }
        for kinds in [
            "RL.ALL 1 k BUCKET 1/d 5 COST 2",
            "RL.ALL 1 k WINDOW 5 SLIDING 1h COST 2",
            "RL.ALL 1 k WINDOW 5 1h COST 2",
        ] {
            put(&mut c, "k", value, now + HOUR_MS);
            let (taken, _, each): (i64, i64, Vec<[i64; 5]>) = c.ask(kinds);
            assert_eq!((taken, each[0][2]), (1, 3), "{kinds}");
        }
    }
}
