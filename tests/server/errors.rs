//! Every wrong call: a clear error, the key untouched, the server up.

use redis::{Connection, Value};

use crate::calls::{ask, call, error_of, expires_at, take};
use crate::common::Server;

type Arguments<'a> = &'a [&'a [u8]];

const ARITY: &str = "ERR wrong number of arguments for";
const RATE: &str = "ERR rate must be N or N/P";
const BURST: &str = "ERR burst must be an integer from 1 to 10^11";
const COST: &str = "ERR COST must be an integer from 1 to 10^11";
const SYNTAX: &str = "ERR syntax error";
const FORTY_DIGITS: &[u8] = b"1234567890123456789012345678901234567890";

/// No number anywhere.
const NO_NUMBERS: [&[u8]; 24] = [
    b"",
    b" ",
    b"0",
    b"00",
    b"-1",
    b"-0",
    b"+1",
    b"nan",
    b"NaN",
    b"inf",
    b"-inf",
    b"1e9",
    b"0x10",
    b"1,5",
    b" 1",
    b"1 ",
    b"1\n",
    b"1\0",
    b"\0",
    b"ten",
    b"\xff\xfe",
    b"\xc3\x28",
    "１".as_bytes(),
    FORTY_DIGITS,
];

/// No burst and no cost, though some of them are a rate.
const NO_COUNTS: [&[u8]; 6] = [
    b"1.5",
    b"1.",
    b"100000000001",
    b"9223372036854775807",
    b"18446744073709551617",
    b"1/s",
];

const NO_RATES: [&[u8]; 26] = [
    b".",
    b"1.",
    b".5",
    b"1..2",
    b"0.0",
    b"-0.5",
    b"1/",
    b"/",
    b"/s",
    b"1/0s",
    b"1/-1s",
    b"1/1.5s",
    b"1/S",
    b"1/w",
    b"1/us",
    b"1/s/s",
    b"1/s ",
    b"1/\xff",
    b"0/s",
    b"1000000000001",
    b"1000000000000.1",
    b"1000000001/ms",
    b"1/99999999999999999999d",
    b"1e3/s",
    b"1/sm",
    b"inf/s",
];

/// Makes the call on a bucket and on no key: the error begins so, and nothing has changed.
fn refused(c: &mut Connection, arguments: Arguments, expected: &str) {
    let look = |c: &mut Connection| {
        let value: Vec<u8> = ask(c, "DUMP", &["k"]);
        (value, expires_at(c, "k"), ask::<i64>(c, "DBSIZE", &[]))
    };
    let before = look(c);
    for key in ["k", "new"] {
        let mut command = call("RL.TAKE", &[key]);
        command.arg(arguments);
        let error = error_of(c, &command);
        let shown: Vec<_> = arguments
            .iter()
            .map(|a| a.escape_ascii().to_string())
            .collect();
        assert!(error.starts_with(expected), "{shown:?}: {error}");
    }
    assert_eq!(look(c), before);
}

fn with_bucket() -> (Server, Connection) {
    let server = Server::start();
    let mut c = server.connection();
    take(&mut c, &["k", "1/d", "5"]);
    (server, c)
}

#[test]
fn wrong_numbers_of_arguments() {
    let (mut server, mut c) = with_bucket();
    refused(&mut c, &[], ARITY);
    refused(&mut c, &[b"1"], ARITY);
    let error = error_of(&mut c, &call::<&str>("RL.TAKE", &[]));
    assert!(error.starts_with(ARITY), "{error}");
    assert!(server.alive());
}

#[test]
fn wrong_rates() {
    let (mut server, mut c) = with_bucket();
    for rate in NO_NUMBERS.iter().chain(&NO_RATES) {
        refused(&mut c, &[rate, b"5"], RATE);
    }
    assert!(server.alive());
}

#[test]
fn wrong_bursts_and_costs() {
    let (mut server, mut c) = with_bucket();
    for count in NO_NUMBERS.iter().chain(&NO_COUNTS) {
        refused(&mut c, &[b"1", count], BURST);
        refused(&mut c, &[b"1", b"5", b"COST", count], COST);
    }
    assert!(server.alive());
}

#[test]
fn wrong_options() {
    let (mut server, mut c) = with_bucket();
    let cases: [(Arguments, &str); 8] = [
        (&[b"COST"], "COST"),
        (&[b"1"], "'1'"),
        (&[b""], "''"),
        (&[b"FOO"], "'FOO'"),
        (&[b"COST", b"1", b"FOO"], "'FOO'"),
        (&[b"COST", b"1", b"COST"], "COST"),
        (&[b"COST", b"1", b"cost", b"1"], "twice"),
        (&[b"\xff\0"], r"'\xff\x00'"),
    ];
    for (options, mention) in cases {
        let arguments = [&[b"1".as_slice(), b"5"], options].concat();
        refused(&mut c, &arguments, SYNTAX);
        let mut command = call("RL.TAKE", &["k"]);
        let error = error_of(&mut c, command.arg(&arguments));
        assert!(
            error.contains(mention),
            "{error} does not mention {mention}"
        );
    }
    assert!(server.alive());
}

#[test]
fn what_is_too_much_to_count() {
    let (mut server, mut c) = with_bucket();
    refused(&mut c, &[b"1/d", b"100000000000"], "ERR rate and burst");
    refused(&mut c, &[b"1/36525d", b"2"], "ERR rate and burst");
    assert_eq!(take(&mut c, &["slowest", "1/36525d", "1"])[..3], [1, 1, 0]);
    assert_eq!(
        take(&mut c, &["fastest", "1000000000000", "1"])[..2],
        [1, 1]
    );
    let most = "100000000000";
    assert_eq!(
        take(&mut c, &["largest", "1000000000000", most, "COST", most])[0],
        100_000_000_000
    );
    assert!(server.alive());
}

#[test]
fn an_error_shows_no_more_than_64_bytes_of_the_input() {
    let (mut server, mut c) = with_bucket();
    let long = vec![b'~'; 1_000_000];
    let nasty = vec![b'\xff'; 100_000];
    for arguments in [[long.as_slice(), b"5"], [b"1", &long]] {
        let mut command = call("RL.TAKE", &["k"]);
        let error = error_of(&mut c, command.arg(&arguments));
        assert_eq!(error.matches('~').count(), 64, "{error}");
    }
    for options in [[long.as_slice(), b"1"], [b"COST", &long]] {
        let mut command = call("RL.TAKE", &["k", "1", "5"]);
        let error = error_of(&mut c, command.arg(&options));
        assert_eq!(error.matches('~').count(), 64, "{error}");
    }
    let mut command = call("RL.TAKE", &["k"]);
    let error = error_of(&mut c, command.arg(&nasty).arg("5"));
    assert_eq!(error.matches(r"\xff").count(), 64, "{error}");
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
fn keys_that_hold_something_else() {
    let server = Server::start();
    let mut c = server.connection();
    for (name, arguments, code) in OTHERS {
        ask::<()>(&mut c, "FLUSHALL", &[]);
        call(name, arguments).query::<Value>(&mut c).expect("a key");
        ask::<()>(&mut c, "PEXPIRE", &["k", "1000000"]);
        let look = |c: &mut Connection| {
            let dump: Vec<u8> = ask(c, "DUMP", &["k"]);
            (dump, expires_at(c, "k"))
        };
        let before = look(&mut c);
        let error = error_of(&mut c, &call("RL.TAKE", &["k", "1", "5"]));
        assert!(
            error.starts_with(&format!("{code} ")),
            "{name} {arguments:?}: {error}"
        );
        assert!(
            code != "ERR" || error.contains("not a rate-limit bucket"),
            "{error}"
        );
        assert_eq!(look(&mut c), before, "{name} {arguments:?}");
    }
}
