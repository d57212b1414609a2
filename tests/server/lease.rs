//! RL.ACQUIRE, RL.RENEW, RL.RELEASE, RL.LEASES: what each says and does.

use redis::{Connection, Value};

use crate::common::{until, wait_until, Server};
use crate::support::{call, expires_at, now, Ask, Reply};

/// The seven elements of RL.LEASES.
pub type Leases = (i64, i64, i64, i64, i64, Vec<(String, i64)>, i64);

/// Longer than a test runs.
pub const LONG: &str = "1h";
pub const LONG_MS: i64 = 3_600_000;

pub fn acquire(c: &mut Connection, key: &str, limit: u32, ttl: &str, token: &str) -> Reply {
    c.call(&["RL.ACQUIRE", key, &limit.to_string(), ttl, token])
}

pub fn leases(c: &mut Connection, key: &str, limit: u32) -> Leases {
    c.call(&["RL.LEASES", key, &limit.to_string()])
}

/// Returns the DUMP of a key and its TTL.
pub fn dump(c: &mut Connection, key: &str) -> (Option<Vec<u8>>, i64) {
    (c.call(&["DUMP", key]), expires_at(c, key))
}

/// Members and scores, the marker among them.
pub fn members(c: &mut Connection, key: &str) -> Vec<(String, f64)> {
    c.call(&["ZRANGE", key, "0", "-1", "WITHSCORES"])
}

pub fn wait_until_ended(c: &mut Connection, key: &str, tokens: &[&str]) {
    wait_until("the leases have ended", || {
        let live: Vec<String> = leases(c, key, 9)
            .5
            .into_iter()
            .map(|lease| lease.0)
            .collect();
        !tokens.iter().any(|token| live.iter().any(|l| l == token))
    });
}

/// Checks that a time is about `ms` milliseconds; a busy machine takes less than a minute.
pub fn assert_about(left: i64, ms: i64) {
    assert!((ms - 60_000..=ms).contains(&left), "{left}, not about {ms}");
}

#[test]
fn acquire_succeeds_while_a_slot_is_free() {
    let server = Server::start();
    let mut c = server.connection();
    for (token, remaining) in [("a", 1), ("b", 0)] {
        let [taken, limit, left, wait_ms, reset_ms] = acquire(&mut c, "k", 2, LONG, token);
        assert_eq!([taken, limit, left, wait_ms], [1, 2, remaining, 0]);
        assert_about(reset_ms, LONG_MS);
    }
    let [taken, limit, left, wait_ms, reset_ms] = acquire(&mut c, "k", 2, LONG, "c");
    assert_eq!([taken, limit, left], [0, 2, 0]);
    assert!(0 < wait_ms && wait_ms <= reset_ms, "{wait_ms} {reset_ms}");
    assert_about(wait_ms, LONG_MS);
    let held: i64 = c.ask("ZCOUNT k (1 +inf");
    assert_eq!(held, 2);
}

#[test]
fn lease_state_is_a_sorted_set_that_expires_with_the_last_lease() {
    let server = Server::start();
    let mut c = server.connection();
    acquire(&mut c, "k", 3, "1h", "a");
    acquire(&mut c, "k", 3, "2h", "b");
    acquire(&mut c, "k", 3, "90m", "c");
    let found = members(&mut c, "k");
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["rl:leases", "a", "c", "b"]);
    assert_eq!(found[0].1, 0.0);
    let last = found[3].1 as i64;
    assert_lives_until(&mut c, last);
    // Renewing the last raises it, releasing the last lowers it.
    assert_eq!(c.ask::<i64>("RL.RENEW k 3h b"), 1);
    let raised = c.ask::<f64>("ZSCORE k b") as i64;
    assert!(raised > last);
    assert_lives_until(&mut c, raised);
    assert_eq!(c.ask::<i64>("RL.RELEASE k b"), 1);
    assert_lives_until(&mut c, found[2].1 as i64);
    assert_eq!(c.ask::<i64>("RL.RELEASE k a c"), 2);
    assert!(!c.ask::<bool>("EXISTS k"));
}

/// Checks that the key expires with the last lease, or at most a sixteenth of the time until then later.
fn assert_lives_until(c: &mut Connection, last: i64) {
    let expires = expires_at(c, "k");
    let left = last - (now() / 1_000_000) as i64;
    let latest = last + (left + 60_000) / 16;
    assert!((last..=latest).contains(&expires), "{expires}, {last}");
}

#[test]
fn acquire_with_a_live_token_renews_it() {
    let server = Server::start();
    let mut c = server.connection();
    acquire(&mut c, "k", 1, LONG, "a");
    let end: f64 = c.ask("ZSCORE k a");
    for (limit, options) in [("1", &[][..]), ("0", &[]), ("1", &["KEEP", "9"])] {
        let arguments = [&["k", limit, "2h", "a"], options].concat();
        let [taken, _, remaining, wait_ms, reset_ms]: Reply =
            c.call(&[&["RL.ACQUIRE"], &arguments[..]].concat());
        assert_eq!([taken, remaining, wait_ms], [1, 0, 0], "{arguments:?}");
        assert_about(reset_ms, 2 * LONG_MS);
    }
    let renewed: f64 = c.ask("ZSCORE k a");
    assert!(renewed > end);
    // A shorter time never brings the end nearer, and then nothing is written.
    let before = dump(&mut c, "k");
    assert_eq!(acquire(&mut c, "k", 1, "10ms", "a")[0], 1);
    assert_eq!(c.ask::<i64>("RL.RENEW k 10ms a"), 1);
    assert_eq!(dump(&mut c, "k"), before);
    assert_eq!(leases(&mut c, "k", 1).0, 1);
}

#[test]
fn renewal_with_free_slots_takes_none_of_them() {
    let server = Server::start();
    let mut c = server.connection();
    acquire(&mut c, "k", 3, "1h", "a");
    for ttl in ["2h", "1h"] {
        let reply = acquire(&mut c, "k", 3, ttl, "a");
        assert_eq!(reply[..4], [1, 3, 2, 0]);
    }
    let counts = ["acquired", "renewed"].map(|name| server.count(&format!("rl_lease_{name}")));
    assert_eq!(counts, [1, 2]);
}

#[test]
fn acquire_with_nx_is_denied_while_its_token_holds_a_slot_and_writes_nothing() {
    let server = Server::start();
    let mut c = server.connection();
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 2 1h a NX")[..4], [1, 2, 1, 0]);
    let before = dump(&mut c, "k");
    for call in ["2 1h a NX", "0 1h a NX", "9 2h a NX KEEP 1"] {
        let [taken, _, _, wait_ms, reset_ms] = c.ask::<Reply>(&format!("RL.ACQUIRE k {call}"));
        assert_eq!(taken, 0, "{call}");
        assert_about(wait_ms, LONG_MS);
        assert_about(reset_ms, LONG_MS);
    }
    assert_eq!(dump(&mut c, "k"), before);
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 2 2h b NX")[..3], [1, 2, 0]);
    let [taken, _, _, wait_ms, _] = c.ask::<Reply>("RL.ACQUIRE k 2 1h c NX");
    assert_eq!(taken, 0);
    assert_about(wait_ms, LONG_MS);
    c.ask::<()>("ZADD k +inf a");
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 2 1h a NX")[..4], [0, 2, 0, -1]);
    assert_eq!(c.ask::<i64>("RL.RELEASE k a"), 1);
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 2 1h a nx")[0], 1);
}

/// Reads the clock, which is also the server's, before and after: the slot is never free before the
/// end, and is free for the first call after it.
#[test]
fn vanished_holders_slot_is_free_exactly_at_its_end() {
    let server = Server::start();
    let clock = || (now() / 1_000_000) as i64;
    let mut other = server.connection();
    for round in 0..20 {
        let (holder, heir) = (format!("holder{round}"), format!("heir{round}"));
        let end: f64 = until("the key is read before it expires", || {
            assert_eq!(acquire(&mut other, "k", 1, "40ms", &holder)[0], 1);
            other.call(&["ZSCORE", "k", &holder])
        });
        let end = end as i64;
        loop {
            let before = clock();
            let [taken, _, _, wait_ms, _] = acquire(&mut other, "k", 1, "40ms", &heir);
            let after = clock();
            if taken == 1 {
                assert!(after >= end, "{} ms early", end - after);
                break;
            }
            assert!(before < end, "denied {} ms after the end", before - end);
            assert!((end - after..=end - before).contains(&wait_ms), "{wait_ms}");
        }
        other.call::<i64>(&["RL.RELEASE", "k", &heir]);
    }
}

#[test]
fn lowered_limit_evicts_nobody_and_denies_until_drained() {
    let server = Server::start();
    let mut c = server.connection();
    for (token, ttl) in [("a", "1h"), ("b", "2h"), ("c", "3h"), ("d", "4h")] {
        acquire(&mut c, "k", 4, ttl, token);
    }
    let [taken, limit, remaining, wait_ms, reset_ms] = acquire(&mut c, "k", 2, LONG, "e");
    assert_eq!([taken, limit, remaining], [0, 2, 0]);
    // Three of the four have to end before one more is within two.
    assert_about(wait_ms, 3 * LONG_MS);
    assert_about(reset_ms, 4 * LONG_MS);
    assert_eq!(leases(&mut c, "k", 2).0, 4);
    for (token, taken) in [("d", 0), ("c", 0), ("b", 1)] {
        c.call::<i64>(&["RL.RELEASE", "k", token]);
        assert_eq!(acquire(&mut c, "k", 2, LONG, "e")[0], taken, "{token}");
    }
}

#[test]
fn keep_leaves_slots_free() {
    let server = Server::start();
    let mut c = server.connection();
    let mut polite = |token: &str, keep: &str| -> Reply {
        c.call(&["RL.ACQUIRE", "k", "3", LONG, token, "KEEP", keep])
    };
    assert_eq!(polite("a", "3")[..4], [0, 3, 3, -1]);
    assert_eq!(polite("a", "2")[..4], [1, 3, 2, 0]);
    let [taken, _, remaining, wait_ms, _] = polite("b", "2");
    assert_eq!([taken, remaining], [0, 2]);
    assert_about(wait_ms, LONG_MS);
    assert_eq!(polite("b", "1")[..4], [1, 3, 1, 0]);
    assert_eq!(polite("c", "1")[0], 0);
    assert_eq!(acquire(&mut c, "k", 3, LONG, "c")[..4], [1, 3, 0, 0]);
}

#[test]
fn zero_limit_denies_for_ever() {
    let server = Server::start();
    let mut c = server.connection();
    assert_eq!(acquire(&mut c, "k", 0, LONG, "a"), [0, 0, 0, -1, 0]);
    assert_eq!(leases(&mut c, "k", 0), (0, 0, 0, -1, 0, vec![], 0));
    assert!(!c.ask::<bool>("EXISTS k"));
}

#[test]
fn release_frees_only_its_tokens_and_is_idempotent() {
    let server = Server::start();
    let mut c = server.connection();
    acquire(&mut c, "k", 3, LONG, "a");
    acquire(&mut c, "k", 3, LONG, "b");
    let before = dump(&mut c, "k");
    assert_eq!(c.ask::<i64>("RL.RELEASE k c d"), 0);
    assert_eq!(c.ask::<i64>("RL.RELEASE none a"), 0);
    assert_eq!(dump(&mut c, "k"), before);
    assert_eq!(c.ask::<i64>("RL.RELEASE k a c a"), 1);
    assert_eq!(c.ask::<i64>("RL.RELEASE k a"), 0);
    assert_eq!(leases(&mut c, "k", 3).0, 1);
}

#[test]
fn expired_lease_is_neither_renewed_nor_released() {
    let server = Server::start();
    let mut c = server.connection();
    acquire(&mut c, "k", 2, LONG, "long");
    acquire(&mut c, "k", 2, "10ms", "short");
    wait_until_ended(&mut c, "k", &["short"]);
    let before = dump(&mut c, "k");
    assert_eq!(members(&mut c, "k").len(), 3, "it is still in the set");
    assert_eq!(c.call::<i64>(&["RL.RENEW", "k", LONG, "short"]), 0);
    assert_eq!(c.ask::<i64>("RL.RELEASE k short"), 0);
    assert_eq!(dump(&mut c, "k"), before);
    assert_eq!(c.ask::<i64>("RL.RENEW k 2h short long none"), 1);
    let renewed = server.count("rl_lease_renewed");
    assert_eq!(c.ask::<i64>("RL.RENEW k 3h long short long long"), 1);
    let counted = server.count("rl_lease_renewed");
    assert_eq!(counted, renewed + 1, "each token once");
    // The token may acquire again, which takes a slot.
    assert_eq!(acquire(&mut c, "k", 1, LONG, "short")[0], 0);
    assert_eq!(acquire(&mut c, "k", 2, LONG, "short")[..3], [1, 2, 0]);
}

#[test]
fn a_denial_writes_nothing() {
    let server = Server::start();
    let mut c = server.connection();
    acquire(&mut c, "k", 1, LONG, "a");
    acquire(&mut c, "k", 2, "10ms", "dead");
    wait_until_ended(&mut c, "k", &["dead"]);
    let before = dump(&mut c, "k");
    let changes = server.count("rdb_changes_since_last_save");
    let mut watching = server.connection();
    watching.ask::<()>("WATCH k");
    for arguments in [
        &["k", "1", "2h", "b"][..],
        &["k", "9", "2h", "b", "KEEP", "8"],
    ] {
        assert_eq!(
            c.call::<Reply>(&[&["RL.ACQUIRE"], arguments].concat())[0],
            0
        );
    }
    c.ask::<Value>("RL.LEASES k 1");
    assert_eq!(dump(&mut c, "k"), before);
    assert_eq!(server.count("rdb_changes_since_last_save"), changes);
    let executed: Value = redis::pipe()
        .atomic()
        .cmd("PING")
        .query(&mut watching)
        .expect("a reply");
    assert_ne!(executed, Value::Nil);
}

#[test]
fn acquire_aborts_a_watch() {
    let server = Server::start();
    let mut c = server.connection();
    for arguments in [
        &["RL.ACQUIRE", "k", "2", LONG, "a"][..],
        &["RL.RENEW", "k", "2h", "a"],
        &["RL.RELEASE", "k", "a"],
    ] {
        let mut watching = server.connection();
        watching.ask::<()>("WATCH k");
        c.call::<Value>(&[&[arguments[0]], &arguments[1..]].concat());
        let executed: Value = redis::pipe()
            .atomic()
            .cmd("PING")
            .query(&mut watching)
            .expect("a reply");
        assert_eq!(executed, Value::Nil, "{arguments:?}");
    }
}

#[test]
fn rl_leases_lists_soonest_to_end_first() {
    let server = Server::start();
    let mut c = server.connection();
    assert_eq!(leases(&mut c, "k", 5), (0, 5, 5, 0, 0, vec![], 0));
    for (token, ttl) in [("c", "3h"), ("a", "1h"), ("b", "2h")] {
        acquire(&mut c, "k", 5, ttl, token);
    }
    let (held, limit, remaining, wait_ms, reset_ms, told, _) = leases(&mut c, "k", 5);
    assert_eq!((held, limit, remaining, wait_ms), (3, 5, 2, 0));
    assert_about(reset_ms, 3 * LONG_MS);
    let names: Vec<_> = told.iter().map(|(token, _)| token.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    for ((_, left), hours) in told.iter().zip(1..) {
        assert_about(*left, hours * LONG_MS);
    }
    let (_, _, remaining, wait_ms, ..) = leases(&mut c, "k", 2);
    assert_eq!(remaining, 0);
    assert_about(wait_ms, 2 * LONG_MS);
    let first: Leases = c.ask("RL.LEASES k 5 COUNT 1");
    assert_eq!((first.0, first.5.len(), first.5[0].0.as_str()), (3, 1, "a"));
}

#[test]
fn rl_leases_returns_100_by_default() {
    let server = Server::start();
    let mut c = server.connection();
    for n in 0..130 {
        acquire(&mut c, "k", 200, LONG, &format!("t{n}"));
    }
    let told = leases(&mut c, "k", 200);
    assert_eq!((told.0, told.2, told.5.len()), (130, 70, 100));
    let all: Leases = c.ask("RL.LEASES k 200 COUNT 1000");
    assert_eq!(all.5.len(), 130);
}

#[test]
fn rl_leases_has_no_side_effects() {
    let server = Server::with(&["--maxmemory-policy", "allkeys-lru"]);
    let mut c = server.connection();
    for n in 0..150 {
        acquire(&mut c, "k", 200, LONG, &format!("t{n}"));
    }
    let idle = |c: &mut Connection| c.ask::<i64>("OBJECT IDLETIME k");
    wait_until("it has not been used for a second", || idle(&mut c) >= 1);
    // Valkey 9 reads the idle time that a module sets in milliseconds as seconds.
    let cannot_age = server.info(["valkey_version"])[0].starts_with("9.");
    // The second limit needs a rank far from both ends.
    for limit in ["200", "50"] {
        let before = idle(&mut c);
        c.call::<Value>(&["RL.LEASES", "k", limit]);
        let after = idle(&mut c);
        assert!(
            after >= before || cannot_age && limit == "50",
            "{limit}: {after}"
        );
        assert!(after < before + 60, "{limit}: {after}");
    }
}

#[test]
fn lease_errors_name_the_accepted_values() {
    let server = Server::start();
    let mut c = server.connection();
    let long = "x".repeat(129);
    let many: Vec<String> = (0..129).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let cases: &[(&str, &str)] = &[
        (
            "RL.ACQUIRE",
            "ERR usage: RL.ACQUIRE key limit ttl token [KEEP n] [NX] [WAIT ms [QUEUE n]]",
        ),
        ("RL.ACQUIRE k 1 1m", "ERR usage: RL.ACQUIRE"),
        (
            "RL.ACQUIRE k -1 1m t",
            "ERR limit must be a whole number from 0 to 100000; got '-1'",
        ),
        ("RL.ACQUIRE k 100001 1m t", "ERR limit must be"),
        ("RL.ACQUIRE k 1.5 1m t", "ERR limit must be"),
        (
            "RL.ACQUIRE k 1 15 t",
            "ERR ttl must be a duration from 10ms to 30d, such as 30s or 5m; got '15': a duration \
             needs a unit: write 15s",
        ),
        (
            "RL.ACQUIRE k 1 PT15S t",
            "ERR ttl must be a duration from 10ms to 30d, such as 30s or 5m; got 'PT15S': ISO 8601 \
             durations are not accepted: write 15s",
        ),
        (
            "RL.ACQUIRE k 1 31d t",
            "ERR ttl must be a duration from 10ms to 30d, such as 30s or 5m; got '31d'",
        ),
        (
            "RL.RENEW k 15x t",
            "ERR ttl must be a duration from 10ms to 30d, such as 30s or 5m; got '15x': unknown \
             unit; use ms, s, m, h, d or w",
        ),
        ("RL.ACQUIRE k 1 m t", "ERR ttl must be a duration from 10ms to 30d, such as 30s or 5m; got 'm': a duration needs a count: write 1m"),
        ("RL.ACQUIRE k 1 9ms t", "ERR ttl must be"),
        ("RL.ACQUIRE k 1 31d t", "ERR ttl must be"),
        ("RL.ACQUIRE k 1 1M t", "ERR ttl must be"),
        (
            "RL.ACQUIRE k 1 1m ",
            "ERR token must be 1 to 128 bytes other than 'rl:leases'; got ''",
        ),
        ("RL.ACQUIRE k 1 1m rl:leases", "ERR token must be"),
        (&format!("RL.ACQUIRE k 1 1m {long}"), "ERR token must be"),
        (
            "RL.ACQUIRE k 1 1m t KEEP",
            "ERR syntax error: option 'KEEP' needs a value",
        ),
        ("RL.ACQUIRE k 1 1m t KEEP x", "ERR KEEP must be"),
        (
            "RL.ACQUIRE k 1 1m t COST 1",
            "ERR syntax error: unknown option 'COST'; accepted: KEEP n, NX, WAIT ms, QUEUE n",
        ),
        (
            "RL.ACQUIRE k 1 1m t KEEP 1 keep 1",
            "ERR syntax error: option 'keep' is given twice",
        ),
        (
            "RL.ACQUIRE k 1 1m t NX KEEP 1 nx",
            "ERR syntax error: option 'nx' is given twice",
        ),
        (
            "RL.ACQUIRE k 1 1m t QUEUE 1",
            "ERR syntax error: option 'QUEUE' requires WAIT",
        ),
        (
            "RL.ACQUIRE k 1 1m t WAIT 3600001",
            "ERR WAIT must be a whole number from 1 to 3600000 milliseconds; got '3600001'",
        ),
        (
            "RL.ACQUIRE k 1 1m t WAIT 1 QUEUE 0",
            "ERR QUEUE must be a whole number from 1 to 100000; got '0'",
        ),
        (
            "RL.RENEW k 1m",
            "ERR usage: RL.RENEW key ttl token [token ...]",
        ),
        ("RL.RENEW k 1 t", "ERR ttl must be"),
        (
            "RL.RENEW k t u 1m",
            "ERR ttl must be a duration; got 't': the ttl comes before the token",
        ),
        (
            "RL.ACQUIRE k 1m 5 t",
            "ERR limit must be a whole number; got '1m': the limit comes first, then the ttl",
        ),
        ("RL.RENEW k 1m t ", "ERR token must be"),
        (
            "RL.RELEASE k",
            "ERR usage: RL.RELEASE key token [token ...]",
        ),
        ("RL.RELEASE k rl:leases", "ERR token must be"),
        ("RL.LEASES k", "ERR usage: RL.LEASES key limit [COUNT n]"),
        ("RL.LEASES k x", "ERR limit must be"),
        (
            "RL.LEASES k 1 COUNT 0",
            "ERR COUNT must be a whole number from 1 to 100000",
        ),
        (
            "RL.LEASES k 1 KEEP 1",
            "ERR syntax error: unknown option 'KEEP'; accepted: COUNT n",
        ),
        (
            &format!("RL.RELEASE k {}", many.join(" ")),
            "ERR a call names at most 128 tokens",
        ),
    ];
    for (call, expected) in cases {
        let error = c.error(call);
        assert!(error.starts_with(expected), "{call}: {error}");
    }
    assert_eq!(c.ask::<i64>("DBSIZE"), 0);
    assert_eq!(acquire(&mut c, "k", 1, "30D", &"x".repeat(128))[0], 1);
    let most: Vec<&str> = [&["k"], &many[..128]].concat();
    assert_eq!(c.call::<i64>(&[&["RL.RELEASE"], &most[..]].concat()), 0);
    assert_eq!(
        c.call::<i64>(&[&["RL.RENEW"], &[&["k", "10ms"], &many[..128]].concat()[..]].concat()),
        0
    );
}

#[test]
fn tokens_are_any_bytes() {
    let server = Server::start();
    let mut c = server.connection();
    let tokens: [&[u8]; 5] = [b"\0", b"12345", b"-1", b"\xff\r\n", b"rl:lease"];
    for token in tokens {
        let command = call("RL.ACQUIRE", &[b"k" as &[u8], b"5", b"1h", token]);
        assert_eq!(command.query::<Reply>(&mut c).expect("a reply")[0], 1);
    }
    let denied = acquire(&mut c, "k", 5, LONG, "one more");
    assert_eq!(denied[0], 0);
    type Told = (i64, i64, i64, i64, i64, Vec<(Vec<u8>, i64)>, i64);
    let told: Told = c.ask("RL.LEASES k 5");
    for token in tokens {
        assert!(told.5.iter().any(|(held, _)| held == token), "{token:?}");
        let command = call("RL.RELEASE", &[b"k" as &[u8], token]);
        assert_eq!(command.query::<i64>(&mut c).expect("a reply"), 1);
    }
}
