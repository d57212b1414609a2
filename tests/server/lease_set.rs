//! The sorted set that holds leases: edited by hand, somebody else's, and full of ended ones.

use redis::{Connection, Value};

use crate::common::{wait_until, Server};
use crate::lease::{acquire, assert_about, dump, leases, members, wait_until_ended, LONG, LONG_MS};
use crate::support::{call, expires_at, now, Ask, Reply};

const COMMANDS: [&[&str]; 4] = [
    &["RL.ACQUIRE", "k", "5", "1h", "t"],
    &["RL.RENEW", "k", "1h", "t"],
    &["RL.RELEASE", "k", "t"],
    &["RL.LEASES", "k", "5"],
];

fn now_ms() -> i64 {
    (now() / 1_000_000) as i64
}

/// Checks that all commands fail with `error` and change nothing.
fn assert_left_alone(c: &mut Connection, error: &str) {
    let before = dump(c, "k");
    for command in COMMANDS {
        let said = c.error_of(&call(command[0], &command[1..]));
        assert!(said.starts_with(error), "{command:?}: {said}");
    }
    assert_eq!(dump(c, "k"), before);
}

#[test]
fn foreign_sorted_set_is_left_unchanged() {
    let server = Server::start();
    let mut c = server.connection();
    let error = "ERR key 'k' holds a sorted set that was not created by RL.ACQUIRE";
    // Scores below now, as of a queue of jobs, which a trim would take for ended leases.
    c.ask::<i64>("ZADD k 1 job:1 2 job:2 9e15 t");
    assert_left_alone(&mut c, error);
    // A marker with another score does not count.
    c.ask::<i64>("ZADD k 7 rl:leases");
    assert_left_alone(&mut c, error);
    for n in 0..300 {
        c.call::<i64>(&["ZADD", "k", &n.to_string(), &format!("job:{n}")]);
    }
    assert_left_alone(&mut c, error);
    assert_eq!(c.ask::<i64>("ZCARD k"), 302);
}

#[test]
fn set_without_its_marker_counts_as_foreign() {
    let server = Server::start();
    let mut c = server.connection();
    acquire(&mut c, "k", 5, LONG, "t");
    c.ask::<i64>("ZREM k rl:leases");
    assert_left_alone(
        &mut c,
        "ERR key 'k' holds a sorted set that was not created by RL.ACQUIRE",
    );
}

#[test]
fn key_of_another_type_is_left_unchanged() {
    let server = Server::start();
    let mut c = server.connection();
    for create in [
        &["SET", "k", "v"][..],
        &["RPUSH", "k", "v"],
        &["HSET", "k", "f", "v"],
        &["RL.TAKE", "k", "1/d", "2"],
    ] {
        c.call::<Value>(&[&[create[0]], &create[1..]].concat());
        assert_left_alone(&mut c, "WRONGTYPE ");
        c.ask::<i64>("DEL k");
    }
    acquire(&mut c, "k", 5, LONG, "t");
    let error = c.error_of(&call("RL.TAKE", &["k", "1/d", "2"]));
    assert!(error.starts_with("WRONGTYPE "), "{error}");
    assert_eq!(server.count("rl_errors_key"), 17);
}

#[test]
fn slots_can_be_freed_by_hand() {
    let server = Server::start();
    let mut c = server.connection();
    for token in ["a", "b", "c"] {
        acquire(&mut c, "k", 3, LONG, token);
    }
    c.ask::<i64>("ZREM k a b");
    assert_eq!(leases(&mut c, "k", 3).0, 1);
    assert_eq!(c.call::<i64>(&["RL.RENEW", "k", LONG, "a", "c"]), 1);
    c.ask::<i64>("ZREM k c");
    // Nothing but the marker is left.
    assert_eq!(leases(&mut c, "k", 3), (0, 3, 3, 0, 0, vec![], 0));
    assert_eq!(c.ask::<i64>("RL.RELEASE k c"), 0);
    assert_eq!(acquire(&mut c, "k", 1, LONG, "d")[..4], [1, 1, 0, 0]);
}

#[test]
fn member_added_by_hand_holds_a_slot_until_its_score() {
    let server = Server::start();
    let mut c = server.connection();
    acquire(&mut c, "k", 2, LONG, "a");
    let end = now_ms() + 2 * LONG_MS;
    c.call::<i64>(&["ZADD", "k", &format!("{end}.5"), "hand"]);
    assert_eq!(acquire(&mut c, "k", 2, LONG, "b")[0], 0);
    let told = leases(&mut c, "k", 2);
    assert_eq!((told.0, told.5[1].0.as_str()), (2, "hand"));
    // Once more is written, the key lives as long as it.
    assert_eq!(c.ask::<i64>("RL.RENEW k 70m a"), 1);
    let expires = expires_at(&mut c, "k");
    assert!((end + 1..end + LONG_MS / 4).contains(&expires));
    assert_eq!(c.ask::<i64>("RL.RELEASE k hand"), 1);
    assert_about(leases(&mut c, "k", 2).4, 70 * 60_000);
}

#[test]
fn odd_scores_neither_crash_nor_over_admit() {
    let server = Server::start();
    let mut c = server.connection();
    let nonsense = [
        "+inf",
        "1e300",
        "1.7976931348623157e308",
        "9223372036854775807",
        "1e19",
        "-inf",
        "-1e300",
        "-9223372036854775808",
        "-1",
        "-0",
        "0",
        "5e-324",
        "0.5",
    ];
    let ended = nonsense.len() - 5;
    for (n, score) in nonsense.iter().enumerate() {
        acquire(&mut c, "k", 100, LONG, "a");
        c.call::<i64>(&["ZADD", "k", score, &format!("hand{n}")]);
    }
    // Five are above now, and "a"; the last acquires have trimmed some of the others.
    assert!(ended > 0);
    let (held, _, _, wait_ms, reset_ms, told, _) = leases(&mut c, "k", 6);
    assert_eq!((held, reset_ms, told.len()), (6, -1, 6));
    assert_about(wait_ms, LONG_MS);
    for (token, left) in &told {
        assert_eq!(*left == -1, token != "a", "{token} {left}");
    }
    assert_eq!(acquire(&mut c, "k", 6, LONG, "b")[0], 0);
    // Only those that end make room: with a limit of 5 none ever will.
    assert_eq!(acquire(&mut c, "k", 5, LONG, "b")[3], -1);
    assert_eq!(acquire(&mut c, "k", 7, LONG, "b")[..3], [1, 7, 0]);
    assert_eq!(expires_at(&mut c, "k"), -1, "held for ever");
    for n in 0..nonsense.len() {
        let renew = ["k", LONG, &format!("hand{n}"), "a"];
        assert!(c.call::<i64>(&[&["RL.RENEW"], &renew[..]].concat()) >= 1);
        c.call::<i64>(&["RL.RELEASE", "k", &format!("hand{n}")]);
    }
    assert_eq!(leases(&mut c, "k", 7).0, 2);
    assert!(expires_at(&mut c, "k") > now_ms());
}

#[test]
fn persisted_lease_key_expires_again_after_the_next_write() {
    let server = Server::start();
    let mut c = server.connection();
    acquire(&mut c, "k", 2, LONG, "a");
    c.ask::<i64>("PERSIST k");
    assert_eq!(acquire(&mut c, "k", 2, "10ms", "b")[0], 1);
    let end: f64 = c.ask("ZSCORE k a");
    let expires = expires_at(&mut c, "k");
    assert!((end as i64..end as i64 + LONG_MS / 8).contains(&expires));
    // Nothing brings ended leases back where it stays so.
    c.ask::<i64>("RL.RELEASE k a");
    wait_until("the key is persisted before it expires", || {
        acquire(&mut c, "k", 2, "10ms", "a");
        c.ask::<i64>("PERSIST k") == 1
    });
    wait_until_ended(&mut c, "k", &["a"]);
    assert_eq!(leases(&mut c, "k", 2), (0, 2, 2, 0, 0, vec![], 0));
    assert_eq!(acquire(&mut c, "k", 1, LONG, "c")[0], 1);
}

#[test]
fn renamed_copied_and_restored_leases_stay_leases() {
    let server = Server::start();
    let mut c = server.connection();
    acquire(&mut c, "k", 2, LONG, "a");
    acquire(&mut c, "k", 2, LONG, "b");
    c.ask::<()>("RENAME k l");
    c.ask::<i64>("COPY l m");
    let dump: Vec<u8> = c.ask("DUMP m");
    let ttl: i64 = c.ask("PTTL m");
    let restore = [b"n" as &[u8], ttl.to_string().as_bytes(), &dump].map(<[u8]>::to_vec);
    let () = call("RESTORE", &restore).query(&mut c).expect("OK");
    for key in ["l", "m", "n"] {
        assert_eq!(acquire(&mut c, key, 2, LONG, "c")[0], 0, "{key}");
        assert_eq!(c.call::<i64>(&["RL.RELEASE", key, "a"]), 1);
        assert_eq!(acquire(&mut c, key, 2, LONG, "c")[0], 1, "{key}");
    }
    assert_eq!(acquire(&mut c, "k", 1, LONG, "d")[0], 1);
}

/// Members that ended, dead in the set until they are trimmed.
fn add_dead(c: &mut Connection, count: usize) {
    let dead: Vec<usize> = (0..count).collect();
    for some in dead.chunks(1_000) {
        let mut add = redis::cmd("ZADD");
        add.arg("k");
        for n in some {
            add.arg(1_000_000 + n).arg(format!("dead:{n}"));
        }
        add.query::<i64>(c).expect("a count");
    }
}

#[test]
fn acquire_trims_a_bounded_number_of_expired_leases() {
    let server = Server::start();
    let mut c = server.connection();
    acquire(&mut c, "k", 9, LONG, "a");
    add_dead(&mut c, 100);
    let card = |c: &mut Connection| c.ask::<usize>("ZCARD k");
    assert_eq!(card(&mut c), 102);
    // A peek, a denial, a renewal or a release does not trim.
    leases(&mut c, "k", 9);
    assert_eq!(acquire(&mut c, "k", 1, LONG, "b")[0], 0);
    c.call::<i64>(&["RL.RENEW", "k", LONG, "a"]);
    assert_eq!(card(&mut c), 102);
    let mut dead = 100;
    while dead > 0 {
        acquire(&mut c, "k", 9, LONG, "a");
        let left = card(&mut c) - 2;
        assert!(left < dead && dead - left <= 16, "{dead} {left}");
        dead = left;
    }
    assert_eq!(server.count("rl_lease_trimmed"), 100);
}

#[test]
fn lease_set_never_outgrows_the_greatest_limit() {
    let server = Server::start();
    let mut c = server.connection();
    for round in 0..40 {
        for n in 0..8 {
            acquire(
                &mut c,
                "k",
                8,
                if n == 0 { "1h" } else { "10ms" },
                &format!("{round}:{n}"),
            );
            assert!(members(&mut c, "k").len() <= 9);
        }
        c.call::<i64>(&["RL.RELEASE", "k", &format!("{round}:0")]);
    }
}

#[test]
fn hundred_thousand_expired_leases_do_not_stall_the_server() {
    let server = Server::start();
    let mut c = server.connection();
    c.ask::<()>("CONFIG SET slowlog-log-slower-than 20000");
    // A busy machine may hold up any call, but not each time.
    wait_until("no call takes long", || {
        c.ask::<()>("SLOWLOG RESET");
        acquire(&mut c, "k", 100_000, LONG, "a");
        add_dead(&mut c, 100_000);
        assert_eq!(leases(&mut c, "k", 2).0, 1);
        assert_eq!(acquire(&mut c, "k", 1, LONG, "b")[..3], [0, 1, 0]);
        assert_eq!(acquire(&mut c, "k", 2, LONG, "b")[..3], [1, 2, 0]);
        assert_eq!(acquire(&mut c, "k", 2, LONG, "c")[0], 0);
        assert_eq!(c.ask::<i64>("ZCARD k"), 100_003 - 16);
        assert_eq!(c.ask::<i64>("RL.RELEASE k a b"), 2);
        assert!(!c.ask::<bool>("EXISTS k"));
        let slow: Value = c.ask("SLOWLOG GET");
        let mut slow = crate::support::texts(&slow);
        slow.retain(|text| text.starts_with("RL."));
        println!("slow: {slow:?}");
        slow.is_empty()
    });
}

/// Lowers the limit so far that the lease which must end is far from both ends.
#[test]
fn wait_in_the_middle_of_a_large_set_is_exact() {
    let server = Server::start();
    let mut c = server.connection();
    for n in 1..=400 {
        let ttl = format!("{n}h");
        let wait: Reply = acquire(&mut c, "k", 1_000, &ttl, &format!("t{n}"));
        assert_eq!(wait[0], 1);
    }
    for limit in [400, 399, 340, 250, 100, 2, 1] {
        let wait_ms = acquire(&mut c, "k", limit, LONG, "more")[3];
        let hours = i64::from(400 - limit + 1);
        assert_about(wait_ms, hours * LONG_MS);
    }
}

#[test]
fn expired_lease_set_counts_as_absent() {
    let server = Server::start();
    let mut c = server.connection();
    acquire(&mut c, "k", 1, "20ms", "a");
    wait_until("the key is gone", || !c.ask::<bool>("EXISTS k"));
    assert_eq!(leases(&mut c, "k", 1), (0, 1, 1, 0, 0, vec![], 0));
    assert_eq!(c.ask::<i64>("RL.RELEASE k a"), 0);
    assert_eq!(c.call::<i64>(&["RL.RENEW", "k", LONG, "a"]), 0);
    assert_eq!(acquire(&mut c, "k", 1, LONG, "b")[0], 1);
}
