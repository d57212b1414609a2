//! CL.THROTTLE, redis-cell's command, where the module's arguments ask for it.

use redis::Connection;

use crate::common::{Launch, Server};
use crate::support::{call, expires_at, knows, now, Ask, Reply};

fn start() -> (Server, Connection) {
    let server = Launch::default().module_arguments(&["CL.THROTTLE"]).start();
    let c = server.connection();
    (server, c)
}

fn throttle(c: &mut Connection, words: &str) -> Reply {
    c.ask(&format!("CL.THROTTLE {words}"))
}

#[test]
fn cl_throttle_is_registered_only_with_its_argument() {
    let server = Server::start();
    assert!(!knows(
        &mut server.connection(),
        &["CL.THROTTLE", "k", "4", "1", "60"]
    ));
    let asked = Launch::default().module_arguments(&["cl.throttle"]).start();
    assert!(knows(
        &mut asked.connection(),
        &["CL.THROTTLE", "k", "4", "1", "60"]
    ));
}

#[test]
fn cl_throttle_replies_as_redis_cell() {
    let (_server, mut c) = start();
    // limited, limit, remaining, seconds until a retry, seconds until it is full
    let call = "k 2 1 86400";
    assert_eq!(throttle(&mut c, call), [0, 3, 2, -1, 86_400]);
    assert_eq!(throttle(&mut c, "k 2 1 86400 2")[..4], [0, 3, 0, -1]);
    let [limited, limit, remaining, retry_s, reset_s] = throttle(&mut c, call);
    assert_eq!([limited, limit, remaining], [1, 3, 0]);
    assert!((86_340..=86_400).contains(&retry_s), "{retry_s} s");
    assert!(
        (3 * 86_400 - 60..=3 * 86_400).contains(&reset_s),
        "{reset_s} s"
    );
    assert_eq!(throttle(&mut c, "k 2 1 86400 4")[3], -1, "never enough");
}

#[test]
fn cl_throttle_with_quantity_0_peeks() {
    let (_server, mut c) = start();
    assert_eq!(throttle(&mut c, "k 2 1 86400 0"), [0, 3, 3, -1, 0]);
    assert_eq!(c.ask::<i64>("DBSIZE"), 0);
}

/// A denied take would extend the expiry.
#[test]
fn cl_throttle_with_quantity_0_keeps_the_expiry_of_a_bucket_in_debt() {
    let (_server, mut c) = start();
    assert_eq!(c.take("k 1/d 3 COST 5 FORCE")[..3], [5, 3, 0]);
    c.ask::<i64>("PEXPIRE k 3600000");
    let expiry = expires_at(&mut c, "k");
    assert_eq!(throttle(&mut c, "k 2 1 86400 0")[..4], [0, 3, 0, -1]);
    assert_eq!(expires_at(&mut c, "k"), expiry);
}

#[test]
fn cl_throttle_shares_its_buckets_with_the_other_commands() {
    let (_server, mut c) = start();
    throttle(&mut c, "k 4 1 86400 2");
    assert_eq!(c.take("k 1/d 5")[2], 2);
    assert_eq!(throttle(&mut c, "k 4 1 86400")[2], 1);
}

#[test]
fn redis_cell_values_are_migrated() {
    let (_server, mut c) = start();
    // Its value is the time at which the bucket would be full: two of five tokens are missing.
    let arrival = now() + 2 * 86_400 * 1_000_000_000;
    c.call::<()>(&["SET", "k", &arrival.to_string(), "EX", "172800"]);
    assert_eq!(throttle(&mut c, "k 4 1 86400 0")[2], 3);
    assert_eq!(c.ask::<u64>("GET k"), arrival, "a look leaves it");
    assert_eq!(throttle(&mut c, "k 4 1 86400")[..3], [0, 5, 2]);
    assert_eq!(c.ask::<i64>("STRLEN k"), 16);
    assert_eq!(c.take("k 1/d 5")[..3], [1, 5, 1]);
}

#[test]
fn invalid_cl_throttle_names_the_argument_and_changes_nothing() {
    let (mut server, mut c) = start();
    c.ask::<()>("RPUSH list x");
    c.ask::<()>("SET text x");
    let wrong: [(&str, &str); 16] = [
        ("k 1 1", "ERR usage: CL.THROTTLE key max_burst count period"),
        (
            "k 1 1 1 1 1",
            "ERR usage: CL.THROTTLE key max_burst count period",
        ),
        ("k -1 1 1", "ERR max_burst must be"),
        ("k 4611686018427387904 1 1", "ERR max_burst must be"),
        ("k nan 1 1", "ERR max_burst must be"),
        ("k 1 0 1", "ERR count must be"),
        ("k 1 -5 1", "ERR count must be"),
        ("k 1 1.5 1", "ERR count must be"),
        ("k 1 1 0", "ERR period must be"),
        ("k 1 1 ", "ERR period must be"),
        ("k 1 1 1 -1", "ERR quantity must be"),
        ("k 1 1 1 4611686018427387904", "ERR quantity must be"),
        ("k 1 1000000000001 1", "ERR count and period"),
        ("k 100000 1 1000000000", "ERR rate and burst"),
        ("list 1 1 1", "WRONGTYPE"),
        ("text 1 1 1", "ERR key 'text' holds "),
    ];
    for (words, expected) in wrong {
        let error = c.error(&format!("CL.THROTTLE {words}"));
        assert!(error.starts_with(expected), "{words}: {error}");
    }
    let not_text: [&[u8]; 4] = [b"k", b"\xff\xfe", b"1", b"1"];
    let error = c.error_of(&call("CL.THROTTLE", &not_text));
    assert!(error.starts_with("ERR max_burst must be"), "{error}");
    assert_eq!(c.ask::<i64>("DBSIZE"), 2);
    assert!(server.alive());
}

#[test]
fn cl_throttle_accepts_keys_of_any_bytes() {
    let (_server, mut c) = start();
    let arguments: [&[u8]; 4] = [b"\xff\xfe\0\r\n", b"4", b"1", b"90000"];
    for remaining in [4, 3] {
        let reply: Reply = call("CL.THROTTLE", &arguments)
            .query(&mut c)
            .expect("a reply");
        assert_eq!(reply[..3], [0, 5, remaining]);
    }
}

/// A value that is not certainly an arrival time, such as another application's counter, is left
/// unchanged.
#[test]
fn other_numbers_are_not_migrated() {
    let (_server, mut c) = start();
    let arrival = (now() + 1_000_000_000).to_string();
    assert_eq!(arrival.len(), 19);
    let leading_zero = format!("0{}", &arrival[1..]);
    let (sign, space) = (format!("+{}", &arrival[1..]), format!("{} ", &arrival[1..]));
    let never_expire = [arrival.as_str(), "42"];
    let expire = [
        "42",
        "0",
        "-1",
        "999999999999999999",
        "0999999999999999999",
        "10000000000000000000",
        "9999999999999999999x",
        &leading_zero,
        &sign,
        &space,
    ];
    let never_expire = never_expire.map(|value| (value, "0"));
    for (value, ttl) in never_expire
        .into_iter()
        .chain(expire.map(|value| (value, "1000000")))
    {
        c.call::<()>(&["SET", "k", value]);
        if ttl != "0" {
            c.call::<()>(&["PEXPIRE", "k", ttl]);
        }
        let expiry = expires_at(&mut c, "k");
        for quantity in ["0", "1"] {
            let error = c.error(&format!("CL.THROTTLE k 15 30 60 {quantity}"));
            assert!(error.starts_with("ERR key 'k' holds "), "{value}: {error}");
            assert!(
                error.contains("not a rate-limit bucket"),
                "{value}: {error}"
            );
        }
        assert_eq!(c.ask::<String>("GET k"), value);
        assert_eq!(expires_at(&mut c, "k"), expiry, "{value}");
    }
}

/// An arrival time that has passed: 10^18 ns after 1970 was in 2001.
#[test]
fn arrival_time_in_the_past_is_a_full_bucket() {
    let (_server, mut c) = start();
    for arrival in ["1000000000000000000", &(now() - 1).to_string()] {
        c.call::<()>(&["SET", "k", arrival, "EX", "100"]);
        assert_eq!(throttle(&mut c, "k 4 1 86400")[..3], [0, 5, 4]);
    }
}
