//! Every wrong call on a window: a clear error, the key untouched, the server up.

use redis::Connection;

use super::errors::{refused, Arguments};
use crate::common::wrong::{NO_COUNTS, NO_NUMBERS, ZEROS};
use crate::common::Server;
use crate::support::windows::now_ms;
use crate::support::{call, Ask, Reply};

/// The commands that begin with `key limit window`.
const COMMANDS: [&str; 3] = ["RL.WTAKE", "RL.WPEEK", "RL.WGIVE"];
const WINDOW: &str = "ERR window must be a duration such as 15m, SLIDING and a duration, HOUR, ";
const SYNTAX: &str = "ERR syntax error";

fn with_windows() -> (Server, Connection) {
    let server = Server::start();
    let mut c = server.connection();
    assert_eq!(c.ask::<Reply>("RL.WTAKE k 5 30d")[0], 1);
    (server, c)
}

/// Words as a client sends them.
fn words(text: &str) -> Vec<&[u8]> {
    text.split_whitespace().map(str::as_bytes).collect()
}

fn all_refuse(c: &mut Connection, arguments: Arguments, expected: &str) {
    for name in COMMANDS {
        refused(c, name, arguments, expected);
    }
}

#[test]
fn too_few_arguments_reply_with_the_syntax() {
    let (mut server, mut c) = with_windows();
    for name in COMMANDS {
        let usage = format!("ERR usage: {name} key limit window");
        refused(&mut c, name, &[], &usage);
        refused(&mut c, name, &[b"5"], &usage);
        let error = c.error(name);
        assert!(error.starts_with(&usage), "{error}");
    }
    assert!(server.alive());
}

#[test]
fn invalid_limits_and_costs_are_rejected() {
    let (mut server, mut c) = with_windows();
    let limit = "ERR limit must be a whole number from 0 to 10^11; got '";
    let cost = "ERR COST must be a whole number from 1 to 10^11; got '";
    let keep = "ERR KEEP must be a whole number from 1 to 10^11; got '";
    for count in NO_NUMBERS.iter().chain(&NO_COUNTS) {
        all_refuse(&mut c, &[count, b"1h"], limit);
        all_refuse(&mut c, &[count, b"SLIDING", b"1h"], limit);
    }
    for count in NO_NUMBERS.iter().chain(&NO_COUNTS).chain(&ZEROS) {
        for window in [&[b"5".as_slice(), b"DAY"][..], &[b"5", b"SLIDING", b"1h"]] {
            all_refuse(&mut c, &[window, &[b"COST", count]].concat(), cost);
            refused(
                &mut c,
                "RL.WTAKE",
                &[window, &[b"KEEP", count]].concat(),
                keep,
            );
        }
    }
    assert!(server.alive());
}

#[test]
fn invalid_windows_are_rejected() {
    let (mut server, mut c) = with_windows();
    let wrong: [&[u8]; 44] = [
        b"",
        b" ",
        b"0",
        b"1",
        b"15",
        b"m",
        b"h",
        b"s",
        b"0s",
        b"0ms",
        b"-1s",
        b"+1s",
        b"1.5h",
        b"15e-1h",
        b"1 h",
        b"1h ",
        b" 1h",
        b"1h\0",
        b"1/h",
        b"100/m",
        b"1M",
        b"1MS",
        b"1us",
        b"1month",
        b"1mo",
        b"1y",
        b"1year",
        b"36526d",
        b"5218w",
        b"3155760000001ms",
        b"99999999999999999999h",
        b"1e31s",
        b"DAYS",
        b"DAILY",
        b"MINUTE",
        b"SECOND",
        b"QUARTER",
        b"MONTHLY",
        b"SLIDE",
        b"AT",
        b"OFFSET",
        b"COST",
        b"\xff\xfe",
        b"1\xd0\xb4",
    ];
    for window in wrong {
        all_refuse(&mut c, &[b"5", window], WINDOW);
        if !window.is_empty() {
            all_refuse(&mut c, &[b"5", b"SLIDING", window], WINDOW);
        }
    }
    for calendar in ["DAY", "hour", "MONTH", "SLIDING", "UNTIL"] {
        all_refuse(&mut c, &[b"5", b"SLIDING", calendar.as_bytes()], WINDOW);
    }
    for valueless in [
        "SLIDING",
        "UNTIL",
        "DAY OFFSET",
        "WEEK ANCHOR",
        "WEEK ANCHOR 2 offset",
    ] {
        all_refuse(&mut c, &words(&format!("5 {valueless}")), SYNTAX);
    }
    assert!(server.alive());
}

#[test]
fn invalid_offsets_and_anchors_are_rejected() {
    let (mut server, mut c) = with_windows();
    let offset = "ERR OFFSET must be from -23:59 to +23:59, with a sign and two digits each";
    let wrong: [&[u8]; 22] = [
        b"",
        b"0",
        b"+2",
        b"2:00",
        b"02:00",
        b"+2:00",
        b"+0200",
        b"+02",
        b"+24:00",
        b"-24:00",
        b"+23:60",
        b"+99:99",
        b"++1:00",
        b"+-1:00",
        b"+1 :00",
        b"+02:00 ",
        b"+02.00",
        b"UTC",
        b"Z",
        b"Europe/Berlin",
        b"+\xff\xff:00",
        b"\xe2\x88\x9202:00",
    ];
    for text in wrong {
        for unit in [b"HOUR".as_slice(), b"DAY", b"week", b"MONTH", b"YEAR"] {
            all_refuse(&mut c, &[b"5", unit, b"OFFSET", text], offset);
        }
    }
    let of_week =
        "ERR ANCHOR of a WEEK must be a whole number from 1 to 7, Monday to Sunday; got '";
    let of_month = "ERR ANCHOR of a MONTH must be a whole number from 1 to 31; got '";
    for text in NO_NUMBERS
        .iter()
        .chain(&[b"0".as_slice(), b"32", b"monday", b"-1", b"1.5"])
    {
        all_refuse(&mut c, &[b"5", b"WEEK", b"ANCHOR", text], of_week);
        all_refuse(&mut c, &[b"5", b"MONTH", b"anchor", text], of_month);
    }
    all_refuse(&mut c, &[b"5", b"WEEK", b"ANCHOR", b"8"], of_week);
    for unit in ["HOUR", "DAY", "YEAR"] {
        let expected = format!("ERR ANCHOR goes with WEEK and MONTH, not with '{unit}'");
        all_refuse(&mut c, &words(&format!("5 {unit} ANCHOR 1")), &expected);
    }
    for repeated in [
        "5 DAY OFFSET +01:00 OFFSET +01:00",
        "5 WEEK ANCHOR 1 ANCHOR 2",
        "5 MONTH ANCHOR 1 OFFSET +01:00 anchor 1",
    ] {
        all_refuse(&mut c, &words(repeated), SYNTAX);
    }
    let place = "comes directly after HOUR, DAY, WEEK, MONTH or YEAR";
    for late in [
        "5 DAY COST 1 OFFSET +01:00",
        "5 MONTH COST 1 ANCHOR 2",
        "5 1h OFFSET +01:00",
        "5 SLIDING 1h ANCHOR 1",
        "5 UNTIL 2000000000000 OFFSET +01:00",
    ] {
        all_refuse(&mut c, &words(late), SYNTAX);
        let error = c.error(&format!("RL.WTAKE k {late}"));
        assert!(error.contains(place), "{late}: {error}");
    }
    assert!(server.alive());
}

/// Holds whatever is stored. A refund is only possible to a window in force.
#[test]
fn invalid_until_is_rejected_whatever_is_stored() {
    let (mut server, mut c) = with_windows();
    let text = "ERR UNTIL must be a whole number from 0 to ";
    for wrong in NO_NUMBERS
        .iter()
        .chain(&[b"1.5".as_slice(), b"9223372036854775808", b"tomorrow"])
    {
        all_refuse(&mut c, &[b"5", b"UNTIL", wrong], text);
    }
    let now = now_ms();
    let century = 36_525 * 24 * 3_600_000;
    let end =
        "ERR UNTIL must be later than now and at most 100 years ahead, in milliseconds since \
               1970; got ";
    for (wrong, hint) in [
        (0, ""),
        (now / 1000, ""),
        (now - 1, ""),
        (now, ""),
        (now + century + 60_000, "too far ahead"),
        (now * 1000, ""),
        (i64::MAX, "too far ahead"),
    ] {
        let until = format!("5 UNTIL {wrong}");
        for name in ["RL.WTAKE", "RL.WPEEK"] {
            refused(&mut c, name, &words(&until), end);
            refused(&mut c, name, &words(&format!("{until} COST 6")), end);
            let error = c.error(&format!("{name} k {until}"));
            assert!(error.contains(&format!("got {wrong}: ")), "{error}");
            assert!(error.contains(hint), "{error}");
        }
        refused(&mut c, "RL.WTAKE", &words(&format!("{until} FORCE")), end);
    }
    let last = format!("new 5 UNTIL {}", now + century);
    assert_eq!(c.ask::<Reply>(&format!("RL.WTAKE {last}"))[0], 1);
    assert!(server.alive());
}

#[test]
fn unknown_repeated_and_conflicting_options_are_rejected() {
    let (mut server, mut c) = with_windows();
    let mut refuse = |name: &str, options: &str, mention: &str| {
        for window in [
            "1h",
            "DAY OFFSET +01:00",
            "UNTIL 2000000000000",
            "SLIDING 1h",
        ] {
            let text = format!("5 {window} {options}");
            refused(&mut c, name, &words(&text), SYNTAX);
            let error = c.error(&format!("{name} k {text}"));
            assert!(
                error.contains(mention),
                "{error} does not mention {mention}"
            );
        }
    };
    for (options, mention) in [
        ("COST", "COST"),
        ("1", "'1'"),
        ("FOO", "'FOO'"),
        ("1h", "'1h'"),
        ("DAY", "'DAY'"),
        ("MAXWAIT 1", "'MAXWAIT'"),
        ("COST 1 FOO", "'FOO'"),
        ("COST 1 cost 1", "twice"),
    ] {
        COMMANDS
            .iter()
            .for_each(|name| refuse(name, options, mention));
    }
    for (options, mention) in [
        ("ATMOST ATMOST", "twice"),
        ("FORCE force", "twice"),
        ("ATMOST FORCE", "'FORCE'"),
        ("FORCE COST 1 ATMOST", "'ATMOST'"),
        ("KEEP", "KEEP"),
        ("KEEP 1 keep 1", "twice"),
        ("KEEP 1 FORCE", "KEEP"),
        ("FORCE KEEP 1", "KEEP"),
        ("AT 1", "accepted: COST n, KEEP n, ATMOST, FORCE"),
    ] {
        refuse("RL.WTAKE", options, mention);
    }
    for option in ["ATMOST", "FORCE", "KEEP 1"] {
        refuse("RL.WPEEK", option, "accepted: COST n");
        refuse("RL.WGIVE", option, "accepted: COST n, AT unix-ms");
    }
    refuse("RL.WPEEK", "AT 1", "accepted: COST n");
    refuse("RL.WGIVE", "AT", "AT");
    refuse("RL.WGIVE", "AT 1795659137062 at 1795659137062", "twice");
    for wrong in NO_NUMBERS {
        let expected = "ERR AT must be a whole number from 10^11 to ";
        refused(&mut c, "RL.WGIVE", &[b"5", b"1h", b"AT", wrong], expected);
    }
    assert!(server.alive());
}

#[test]
fn usage_above_the_bound_is_rejected_and_charges_nothing() {
    let (mut server, mut c) = with_windows();
    for window in ["30d", "SLIDING 30d"] {
        c.ask::<()>("DEL owes");
        let force = format!("RL.WTAKE owes 1 {window} FORCE COST 100000000000");
        for _ in 0..2 {
            assert_eq!(c.ask::<Reply>(&force)[0], 100_000_000_000);
        }
        let value: Vec<u8> = c.ask("GET owes");
        for more in [&force, &format!("RL.WTAKE owes 1 {window} FORCE")] {
            let error = c.error(more);
            let expected = "ERR COST would raise the window's usage above 2*10^11";
            assert_eq!(error, expected);
        }
        assert_eq!(c.ask::<Vec<u8>>("GET owes"), value);
    }
    assert!(server.alive());
}

#[test]
fn errors_show_at_most_64_bytes_of_the_input() {
    let (mut server, mut c) = with_windows();
    let long = vec![b'~'; 1_000_000];
    let places: [&[&[u8]]; 8] = [
        &[&long, b"1h"],
        &[b"5", &long],
        &[b"5", b"SLIDING", &long],
        &[b"5", b"UNTIL", &long],
        &[b"5", b"DAY", b"OFFSET", &long],
        &[b"5", b"WEEK", b"ANCHOR", &long],
        &[b"5", b"DAY", &long],
        &[b"5", b"DAY", b"COST", &long],
    ];
    for arguments in places {
        let mut command = call("RL.WTAKE", &["k"]);
        let error = c.error_of(command.arg(arguments));
        assert_eq!(error.matches('~').count(), 64, "{error}");
    }
    assert!(server.alive());
}

/// A time in seconds would refund nothing, and one in microseconds would be later than now: both
/// are rejected.
#[test]
fn at_in_another_unit_is_rejected() {
    let server = Server::start();
    let mut c = server.connection();
    let _: Reply = c.ask("RL.WTAKE k 5 1h");
    for at in [
        "0",
        "1",
        "1795659137",
        "99999999999",
        "100000000000001",
        "1795659137062000",
    ] {
        let text = format!("5 1h AT {at}");
        let expected = "ERR AT must be a whole number from 10^11 to 10^14, in milliseconds";
        refused(&mut c, "RL.WGIVE", &words(&text), expected);
    }
    for at in ["100000000000", "100000000000000"] {
        let _: Reply = c.ask(&format!("RL.WGIVE k 5 1h AT {at}"));
    }
}
