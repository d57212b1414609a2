//! Every wrong call: a clear error, the key untouched, the server up.

use redis::{Connection, Value};

use crate::common::wrong::{NO_COUNTS, NO_NUMBERS, NO_RATES, ZEROS};
use crate::common::Server;
use crate::support::{call, expires_at, Ask};

pub type Arguments<'a> = &'a [&'a [u8]];

const RATE: &str = "ERR rate must be N or N/P";
const BURST: &str = "ERR burst must be a whole number";
const COST: &str = "ERR COST must be a whole number from 1 to 10^11";
const KEEP: &str = "ERR KEEP must be a whole number from 1 to 10^11";
const SYNTAX: &str = "ERR syntax error";
const MAXWAIT: &str = "ERR MAXWAIT must be a whole number from 0 to 10^12 milliseconds";
/// The commands that begin with `key rate burst`.
const COMMANDS: [&str; 3] = ["RL.TAKE", "RL.PEEK", "RL.GIVE"];

/// Makes the call on a bucket and on no key: the error begins so, and nothing has changed.
pub fn refused(c: &mut Connection, name: &str, arguments: Arguments, expected: &str) {
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

fn all_refuse(c: &mut Connection, arguments: Arguments, expected: &str) {
    for name in COMMANDS {
        refused(c, name, arguments, expected);
    }
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
    for name in COMMANDS {
        let usage = format!("ERR usage: {name} key rate burst");
        refused(&mut c, name, &[], &usage);
        refused(&mut c, name, &[b"1"], &usage);
        let error = c.error(name);
        assert!(error.starts_with(&usage), "{name}: {error}");
    }
    assert!(server.alive());
}

#[test]
fn invalid_rates_are_rejected() {
    let (mut server, mut c) = with_bucket();
    for rate in NO_NUMBERS.iter().chain(&NO_RATES).chain(&ZEROS) {
        all_refuse(&mut c, &[rate, b"5"], RATE);
    }
    assert!(server.alive());
}

#[test]
fn invalid_bursts_and_costs_are_rejected() {
    let (mut server, mut c) = with_bucket();
    for count in NO_NUMBERS.iter().chain(&NO_COUNTS) {
        all_refuse(&mut c, &[b"1", count], BURST);
        all_refuse(&mut c, &[b"1", b"5", b"COST", count], COST);
        refused(&mut c, "RL.TAKE", &[b"1", b"5", b"KEEP", count], KEEP);
    }
    for zero in ZEROS {
        all_refuse(&mut c, &[b"1", b"5", b"COST", zero], COST);
        refused(&mut c, "RL.TAKE", &[b"1", b"5", b"KEEP", zero], KEEP);
    }
    assert!(server.alive());
}

#[test]
fn invalid_maxwait_is_rejected() {
    let (mut server, mut c) = with_bucket();
    for count in NO_NUMBERS {
        refused(&mut c, "RL.TAKE", &[b"1", b"5", b"MAXWAIT", count], MAXWAIT);
    }
    refused(
        &mut c,
        "RL.TAKE",
        &[b"1", b"5", b"MAXWAIT", b"1000000000001"],
        MAXWAIT,
    );
    assert!(server.alive());
}

#[test]
fn unknown_repeated_and_conflicting_options_are_rejected() {
    let (mut server, mut c) = with_bucket();
    let of_all: [(Arguments, &str); 8] = [
        (&[b"COST"], "COST"),
        (&[b"1"], "'1'"),
        (&[b""], "''"),
        (&[b"FOO"], "'FOO'"),
        (&[b"COST", b"1", b"FOO"], "'FOO'"),
        (&[b"COST", b"1", b"COST"], "COST"),
        (&[b"COST", b"1", b"cost", b"1"], "twice"),
        (&[b"\xff\0"], r"'\xff\x00'"),
    ];
    let of_take: [(Arguments, &str); 14] = [
        (&[b"MAXWAIT"], "MAXWAIT"),
        (&[b"COST", b"1", b"MAXWAIT"], "MAXWAIT"),
        (&[b"ATMOST", b"ATMOST"], "twice"),
        (&[b"FORCE", b"force"], "twice"),
        (&[b"MAXWAIT", b"1", b"MAXWAIT", b"2"], "twice"),
        (&[b"ATMOST", b"FORCE"], "'FORCE'"),
        (&[b"FORCE", b"COST", b"1", b"ATMOST"], "'ATMOST'"),
        (&[b"MAXWAIT", b"1", b"ATMOST"], "'ATMOST'"),
        (&[b"FORCE", b"MAXWAIT", b"1"], "'MAXWAIT'"),
        (&[b"KEEP"], "KEEP"),
        (&[b"KEEP", b"1", b"keep", b"1"], "twice"),
        (&[b"KEEP", b"1", b"FORCE"], "KEEP"),
        (&[b"FORCE", b"KEEP", b"1"], "KEEP"),
        (&[b"MAXWAIT", b"1", b"KEEP", b"1"], "KEEP"),
    ];
    let mut refuse = |name: &str, options: Arguments, mention: &str| {
        let arguments = [&[b"1".as_slice(), b"5"], options].concat();
        refused(&mut c, name, &arguments, SYNTAX);
        let mut command = call(name, &["k"]);
        let error = c.error_of(command.arg(&arguments));
        assert!(
            error.contains(mention),
            "{error} does not mention {mention}"
        );
    };
    for (options, mention) in of_all {
        COMMANDS
            .iter()
            .for_each(|name| refuse(name, options, mention));
    }
    for (options, mention) in of_take {
        refuse("RL.TAKE", options, mention);
    }
    for option in [b"ATMOST".as_slice(), b"FORCE", b"KEEP"] {
        refuse("RL.PEEK", &[option], "accepted: COST n");
        refuse("RL.GIVE", &[option], "accepted: COST n");
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
fn bucket_that_fills_in_over_a_century_is_rejected() {
    let (mut server, mut c) = with_bucket();
    all_refuse(&mut c, &[b"1/d", b"100000000000"], "ERR rate and burst");
    all_refuse(&mut c, &[b"1/36525d", b"2"], "ERR rate and burst");
    assert_eq!(c.take("slowest 1/36525d 1")[..3], [1, 1, 0]);
    assert_eq!(c.take("fastest 1000000000000 1")[..2], [1, 1]);
    let most = "100000000000";
    assert_eq!(
        c.take(&format!("largest 1000000000000 {most} COST {most}"))[0],
        100_000_000_000
    );
    assert!(server.alive());
}

#[test]
fn errors_show_at_most_64_bytes_of_the_input() {
    let (mut server, mut c) = with_bucket();
    let long = vec![b'~'; 1_000_000];
    let nasty = vec![b'\xff'; 100_000];
    for arguments in [[long.as_slice(), b"5"], [b"1", &long]] {
        let mut command = call("RL.TAKE", &["k"]);
        let error = c.error_of(command.arg(&arguments));
        assert_eq!(error.matches('~').count(), 64, "{error}");
    }
    for options in [[long.as_slice(), b"1"], [b"COST", &long]] {
        let mut command = call("RL.TAKE", &["k", "1", "5"]);
        let error = c.error_of(command.arg(&options));
        assert_eq!(error.matches('~').count(), 64, "{error}");
    }
    let mut command = call("RL.TAKE", &["k"]);
    let error = c.error_of(command.arg(&nasty).arg("5"));
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
