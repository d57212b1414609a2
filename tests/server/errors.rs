//! Every wrong call: a clear error, the key untouched, the server up.

use redis::{Connection, Value};

use crate::common::Server;
use crate::support::{call, expires_at, Ask, Reply};

type Arguments<'a> = &'a [&'a [u8]];

/// The commands that begin with `key rate burst`.
const COMMANDS: [&str; 3] = ["RL.TAKE", "RL.PEEK", "RL.GIVE"];
/// Those that begin with `key limit window`.
const WINDOW_COMMANDS: [&str; 3] = ["RL.WTAKE", "RL.WPEEK", "RL.WGIVE"];

/// Makes the call on a bucket and on no key: the error begins so, and nothing has changed.
fn refused(c: &mut Connection, name: &str, arguments: Arguments, expected: &str) {
    let look = |c: &mut Connection| {
        let value: Vec<u8> = c.ask("DUMP k");
        (value, expires_at(c, "k"), c.ask::<i64>("DBSIZE"))
    };
    let before = look(c);
    for key in ["k", "new"] {
        let mut command = call(name, &[key]);
        command.arg(arguments);
        let error = c.error_of(&command);
        let shown: Vec<_> = arguments
            .iter()
            .map(|a| a.escape_ascii().to_string())
            .collect();
        assert!(error.starts_with(expected), "{name} {shown:?}: {error}");
    }
    assert_eq!(look(c), before);
}

fn with_bucket() -> (Server, Connection) {
    let server = Server::start();
    let mut c = server.connection();
    c.take("k 1/d 5");
    (server, c)
}

#[test]
fn too_few_arguments_reply_with_the_syntax() {
    let (mut server, mut c) = with_bucket();
    for (commands, arguments) in [(COMMANDS, "rate burst"), (WINDOW_COMMANDS, "limit window")] {
        for name in commands {
            let usage = format!("ERR usage: {name} key {arguments}");
            refused(&mut c, name, &[], &usage);
            refused(&mut c, name, &[b"1"], &usage);
            let error = c.error(name);
            assert!(error.starts_with(&usage), "{name}: {error}");
        }
    }
    assert!(server.alive());
}

/// The grammar's own tests (`tests/properties/rejected.rs`) have every text that is rejected; here
/// each argument of each command has one.
#[test]
fn rejected_call_changes_nothing() {
    let (mut server, mut c) = with_bucket();
    for (commands, arguments, error) in [
        (&COMMANDS[..], "x 5", "rate must be "),
        (
            &COMMANDS,
            "10,5/s 5",
            "rate must be N or N/PERIOD, such as 10, 0.5 or 100/m; got '10,5/s': write a decimal \
             with a point: 10.5/s",
        ),
        (
            &COMMANDS,
            "1 5 7",
            "syntax error: unknown option '7': write COST 7",
        ),
        (
            &WINDOW_COMMANDS,
            "1m 5",
            "limit must be a whole number; got '1m': the limit comes first, then the window",
        ),
        (&COMMANDS, "1 1.5", "burst must be "),
        (
            &COMMANDS,
            "1/36525d 2",
            "rate and burst make a bucket that takes over 100 years",
        ),
        (&COMMANDS, "1 5 COST x", "COST must be "),
        (&COMMANDS, "1 5 FOO", "syntax error: unknown option 'FOO'"),
        (&COMMANDS[..1], "1 5 KEEP x", "KEEP must be "),
        (
            &COMMANDS[..1],
            "1 5 MAXWAIT 1000000000001",
            "MAXWAIT must be ",
        ),
        (
            &COMMANDS[..1],
            "1 5 ATMOST FORCE",
            "syntax error: option 'FORCE' conflicts with ATMOST",
        ),
        (
            &COMMANDS[1..],
            "1 5 FORCE",
            "syntax error: unknown option 'FORCE'; accepted: COST n",
        ),
        (&WINDOW_COMMANDS, "x 1h", "limit must be "),
        (&WINDOW_COMMANDS, "5 1y", "window must be "),
        (&WINDOW_COMMANDS, "5 SLIDING 1y", "window must be "),
        (&WINDOW_COMMANDS, "5 DAY OFFSET +2", "OFFSET must be "),
        (
            &WINDOW_COMMANDS,
            "5 WEEK ANCHOR 8",
            "ANCHOR of a WEEK must be ",
        ),
        (
            &WINDOW_COMMANDS,
            "5 DAY ANCHOR 1",
            "ANCHOR goes with WEEK and MONTH, not with 'DAY'",
        ),
        (
            &WINDOW_COMMANDS,
            "5 UNTIL x",
            "UNTIL must be a whole number",
        ),
        (&WINDOW_COMMANDS, "5 DAY COST x", "COST must be "),
        (
            &WINDOW_COMMANDS,
            "5 1h FOO",
            "syntax error: unknown option 'FOO'",
        ),
        (
            &WINDOW_COMMANDS[..1],
            "5 1h MAXWAIT 1",
            "syntax error: unknown option 'MAXWAIT'",
        ),
        (&WINDOW_COMMANDS[..1], "5 1h KEEP x", "KEEP must be "),
        (
            &WINDOW_COMMANDS[..1],
            "5 1h ATMOST FORCE",
            "syntax error: option 'FORCE' conflicts with ATMOST",
        ),
        (
            &WINDOW_COMMANDS[1..2],
            "5 1h AT 1",
            "syntax error: unknown option 'AT'",
        ),
        (
            &WINDOW_COMMANDS[2..],
            "5 1h FORCE",
            "syntax error: unknown option 'FORCE'",
        ),
        // In seconds, and in microseconds.
        (&WINDOW_COMMANDS[2..], "5 1h AT 1795659137", "AT must be "),
        (
            &WINDOW_COMMANDS[2..],
            "5 1h AT 1795659137062000",
            "AT must be ",
        ),
    ] {
        let words: Vec<_> = arguments.split(' ').map(str::as_bytes).collect();
        for name in commands {
            refused(&mut c, name, &words, &format!("ERR {error}"));
        }
    }
    assert!(server.alive());
}

#[test]
fn debt_above_the_bound_is_rejected_and_takes_nothing() {
    let (mut server, mut c) = with_bucket();
    let most = "100000000000";
    let force = format!("owes 1000000 1 FORCE COST {most}");
    assert_eq!(c.take(&force)[0], 100_000_000_000);
    let value: Vec<u8> = c.ask("GET owes");
    let error = c.error(&format!("RL.TAKE {force}"));
    assert!(
        error.starts_with("ERR COST would make the bucket owe"),
        "{error}"
    );
    assert_eq!(c.ask::<Vec<u8>>("GET owes"), value);
    assert!(server.alive());
}

#[test]
fn end_that_has_passed_is_rejected_whatever_is_stored() {
    let (_server, mut c) = with_bucket();
    assert_eq!(c.ask::<Reply>("RL.WTAKE window 5 30d")[0], 1);
    for name in &WINDOW_COMMANDS[..2] {
        for key in ["window", "new"] {
            let error = c.error(&format!("{name} {key} 5 UNTIL 1"));
            let expected = "ERR UNTIL must be later than now and at most 100 years ahead";
            assert!(error.starts_with(expected), "{error}");
        }
    }
}

#[test]
fn usage_above_the_bound_is_rejected_and_charges_nothing() {
    let (_server, mut c) = with_bucket();
    for window in ["30d", "SLIDING 30d"] {
        c.ask::<()>("DEL owes");
        let force = format!("RL.WTAKE owes 1 {window} FORCE COST 100000000000");
        for _ in 0..2 {
            assert_eq!(c.ask::<Reply>(&force)[0], 100_000_000_000);
        }
        let value: Vec<u8> = c.ask("GET owes");
        for more in [&force, &format!("RL.WTAKE owes 1 {window} FORCE")] {
            let expected = "ERR COST would raise the window's usage above 2*10^11";
            assert_eq!(c.error(more), expected);
        }
        assert_eq!(c.ask::<Vec<u8>>("GET owes"), value);
    }
}

#[test]
fn slowest_fastest_and_largest_limits_are_accepted() {
    let (_server, mut c) = with_bucket();
    assert_eq!(c.take("slowest 1/36525d 1")[..3], [1, 1, 0]);
    assert_eq!(c.take("fastest 1000000000000 1")[..2], [1, 1]);
    let most = "100000000000";
    let largest = format!("largest 1000000000000 {most} COST {most}");
    assert_eq!(c.take(&largest)[0], 100_000_000_000);
}

#[test]
fn errors_show_at_most_64_bytes_of_the_input() {
    let (mut server, mut c) = with_bucket();
    let long = vec![b'~'; 1_000_000];
    for arguments in [[long.as_slice(), b"5"], [b"1", &long]] {
        let mut command = call("RL.TAKE", &["k"]);
        let error = c.error_of(command.arg(&arguments));
        assert_eq!(error.matches('~').count(), 64, "{error}");
    }
    assert!(server.alive());
}

/// Commands that make a key which is no bucket, and the error it must come to.
const OTHERS: [(&str, &[&[u8]], &str); 14] = [
    ("RPUSH", &[b"k", b"a"], "WRONGTYPE"),
    ("HSET", &[b"k", b"a", b"b"], "WRONGTYPE"),
    ("SADD", &[b"k", b"a"], "WRONGTYPE"),
    ("ZADD", &[b"k", b"1", b"a"], "WRONGTYPE"),
    ("XADD", &[b"k", b"*", b"a", b"b"], "WRONGTYPE"),
    ("SET", &[b"k", b""], "ERR"),
    ("SET", &[b"k", b"x"], "ERR"),
    ("SET", &[b"k", b"42"], "ERR"),
    ("SET", &[b"k", b"1234567890123456"], "ERR"),
    ("SET", &[b"k", b"abcdefghijklmnop"], "ERR"),
    ("SET", &[b"k", b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"], "ERR"),
    ("SET", &[b"k", b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"], "ERR"),
    ("SETBIT", &[b"k", b"121", b"1"], "ERR"),
    ("SETRANGE", &[b"k", b"100000", b"x"], "ERR"),
];

#[test]
fn foreign_key_is_left_unchanged() {
    let server = Server::start();
    let mut c = server.connection();
    for (name, arguments, code) in OTHERS {
        c.ask::<()>("FLUSHALL");
        call(name, arguments).query::<Value>(&mut c).expect("a key");
        c.ask::<()>("PEXPIRE k 1000000");
        let may_be_a_bucket = arguments.last().is_some_and(|value| value.len() == 16);
        let look = |c: &mut Connection| {
            let dump: Vec<u8> = c.ask("DUMP k");
            let form: String = c.ask("OBJECT ENCODING k");
            // A string with the length of a bucket is unpacked when it is read; it reads as before.
            let form = Some(form).filter(|_| !may_be_a_bucket);
            (dump, form, expires_at(c, "k"))
        };
        let before = look(&mut c);
        for command in COMMANDS {
            let error = c.error_of(&call(command, &["k", "1", "5"]));
            let made = format!("{name} {arguments:?}, {command}: {error}");
            assert!(error.starts_with(&format!("{code} ")), "{made}");
            let tells = "not a rate-limit bucket";
            assert!(code != "ERR" || error.contains(tells), "{made}");
            assert!(error.contains("'k'"), "{made}");
        }
        assert_eq!(look(&mut c), before, "{name} {arguments:?}");
    }
}

/// The arguments that users most often exchange.
#[test]
fn arguments_in_another_order_are_recognised() {
    let (_server, mut c) = with_bucket();
    for (words, advice) in [
        (
            "RL.TAKE 100/m 20 user:42",
            "the key comes first: key rate burst",
        ),
        (
            "RL.ACQUIRE leases 5 tok 30s",
            "the ttl comes before the token",
        ),
        (
            "RL.WTAKE w 5 DAYS",
            "DAY for the calendar day, 1d for 24 hours from the first take",
        ),
        (
            "RL.WTAKE w 5 PT30S",
            "ISO 8601 durations are not accepted: write 30s",
        ),
    ] {
        let error = c.error(words);
        assert!(error.contains(advice), "{words}: {error}");
    }
}

#[test]
fn durations_are_accepted_as_go_prints_them() {
    let (_server, mut c) = with_bucket();
    for (words, reset_ms) in [
        ("RL.WTAKE w1 5 1m0s", 60_000),
        ("RL.WTAKE w2 5 1h0m0s", 3_600_000),
        ("RL.WTAKE w3 5 1.5s", 1_500),
        ("RL.ACQUIRE l1 5 1m30s t", 90_000),
        ("RL.TAKE b1 1/1m0s 1", 60_000),
    ] {
        let reply: Reply = c.ask(words);
        assert_eq!((reply[0], reply[4]), (1, reset_ms), "{words}");
    }
}
