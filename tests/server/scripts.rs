//! Transactions, scripts and functions take as a call outside does.

use redis::{Connection, FromRedisValue, Value};

use crate::common::Server;
use crate::lease::Leases;
use crate::support::{call, knows, Ask, Reply, HOUR_MS};

/// Takes whose limit is two.
const TAKES: [&str; 4] = [
    "RL.TAKE k 1/d 2",
    "RL.WTAKE k 2 30d",
    "RL.WTAKE k 2 YEAR",
    "RL.WTAKE k 2 SLIDING 30d",
];

#[test]
fn take_in_a_transaction_behaves_as_outside() {
    let server = Server::start();
    let mut c = server.connection();
    for take in TAKES {
        c.ask::<()>("FLUSHALL");
        let words: Vec<_> = take.split(' ').collect();
        let mut transaction = redis::pipe();
        transaction.atomic();
        for _ in 0..3 {
            transaction.cmd(words[0]).arg(&words[1..]);
        }
        let replies: Vec<[i64; 5]> = transaction.query(&mut c).expect("replies");
        let taken: Vec<_> = replies.iter().map(|reply| (reply[0], reply[2])).collect();
        assert_eq!(taken, [(1, 1), (1, 0), (0, 0)], "{take}");
        assert_eq!(c.ask::<[i64; 5]>(take)[0], 0, "{take}");
    }
}

#[test]
fn take_in_a_script_behaves_as_outside() {
    let server = Server::start();
    let mut c = server.connection();
    let script = "return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))";
    let eval = |take: &str| {
        let mut words = take.split(' ');
        let (name, key) = (words.next(), words.next());
        let mut eval = call("EVAL", &[script, "1"]);
        eval.arg(key).arg(name).arg(words.collect::<Vec<_>>());
        eval
    };
    for take in TAKES {
        c.ask::<()>("FLUSHALL");
        for (taken, remaining) in [(1, 1), (1, 0), (0, 0)] {
            let reply: [i64; 5] = eval(take).query(&mut c).expect("a reply");
            assert_eq!((reply[0], reply[2]), (taken, remaining), "{take}");
        }
    }
    for (wrong, expected) in [
        ("RL.TAKE k nan 2", "rate must be"),
        ("RL.WTAKE k 2 FORTNIGHT", "window must be"),
    ] {
        let error = c.error_of(&eval(wrong));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn take_in_a_function_behaves_as_outside() {
    let server = Server::start();
    let mut c = server.connection();
    let library = "#!lua name=limits\nredis.register_function('limited', function(keys, args) \
        return redis.call(args[1], keys[1], unpack(args, 2)) end)";
    if !knows(&mut c, &["FUNCTION", "LIST"]) {
        let error = c.error("FCALL limited 1 k RL.TAKE 1/d 2");
        assert!(error.starts_with("ERR unknown command"), "{error}");
        return;
    }
    c.call::<()>(&["FUNCTION", "LOAD", library]);
    for take in TAKES {
        c.ask::<()>("FLUSHALL");
        let words = take.replacen(" k", "", 1);
        for (taken, remaining) in [(1, 1), (1, 0), (0, 0)] {
            let reply: [i64; 5] = c.ask(&format!("FCALL limited 1 k {words}"));
            assert_eq!((reply[0], reply[2]), (taken, remaining), "{take}");
        }
    }
}

/// Returns a short key and one that takes the server several milliseconds to look up. Redis 6.2 does
/// not return an expiry that has passed, so a call cannot learn whether that was before it began if
/// the clock has gone on since.
fn quick_and_slow_key() -> [String; 2] {
    ["k".to_string(), "k".repeat(16 << 20)]
}

/// Outside a script the key would be absent for both. Its expiry comes from another limit, because
/// with its own fill time both would see a full bucket.
#[test]
fn bucket_expiring_in_a_script_is_absent_for_take_and_peek() {
    let server = Server::start();
    let mut c = server.connection();
    let script = "redis.call('RL.TAKE', KEYS[1], '1000', '1')
        for n = 1, 2e7 do end
        return {redis.call('RL.PEEK', KEYS[1], '1/m', '53'),
                redis.call('RL.TAKE', KEYS[1], '1/m', '53')}";
    for key in quick_and_slow_key() {
        let [peeked, taken]: [Reply; 2] = c.call(&["EVAL", script, "1", &key]);
        assert_eq!(
            (peeked[..4].to_vec(), taken[..4].to_vec()),
            (vec![1, 53, 53, 0], vec![1, 53, 52, 0])
        );
    }
}

/// The same holds for other kinds of limit, and for other data, in calls on one key or several.
#[test]
fn other_limits_expiring_in_a_script_are_absent_for_a_take() {
    let server = Server::start();
    let mut c = server.connection();
    for held in [
        "'RL.WTAKE', KEYS[1], '9', 'SLIDING', '1ms'",
        "'SET', KEYS[1], 'sixteen letters.', 'PX', '1'",
        "'SET', KEYS[1], '12', 'PX', '1'",
    ] {
        for take in [
            "'RL.TAKE', KEYS[1], '1/m', '53'",
            "'RL.WTAKE', KEYS[1], '53', '1h'",
            "'RL.MTAKE', '2', 'other', '1/m', '53', KEYS[1], '1/m', '53'",
            "'RL.ALL', '1', KEYS[1], 'WINDOW', '53', '1h'",
        ] {
            let script = format!(
                "redis.call({held})
                for n = 1, 2e7 do end
                return {{redis.call({take})[1], redis.call({take})[1]}}"
            );
            for key in quick_and_slow_key() {
                let taken: [i64; 2] = c.call(&["EVAL", &script, "1", &key]);
                assert_eq!(taken, [1, 1], "{held} {take}");
                c.ask::<()>("FLUSHALL");
            }
        }
    }
}

/// Makes `call` on the key in a script, after the result of `stores` has expired in it.
fn call_after_expiry<T: FromRedisValue>(c: &mut Connection, stores: &str, call: &str) -> T {
    // PEXPIRE deletes the key if its millisecond begins before the command ends.
    let script = format!(
        "repeat
            redis.call({stores})
            redis.call('PEXPIRE', KEYS[1], '1')
        until redis.call('EXISTS', KEYS[1]) == 1
        for n = 1, 2e7 do end
        return redis.call({call})"
    );
    c.call(&["EVAL", &script, "1", "k"])
}

const ACQUIRES: &str = "'RL.ACQUIRE', KEYS[1], '1', '1h', 'old'";

#[test]
fn holds_expiring_in_a_script_are_absent_for_rl_holds() {
    let server = Server::start();
    let mut c = server.connection();
    let reserves = "'RL.ALL', '2', 'w', KEYS[1], 'WINDOW', '1000000', '1h', 'HOLD', '1h', 'id'";
    let (open, _, overdue, remembered, holds): (i64, i64, i64, i64, Vec<Value>) =
        call_after_expiry(&mut c, reserves, "'RL.HOLDS', KEYS[1]");
    assert_eq!((open, overdue, remembered, holds), (0, 0, 0, vec![]));
}

/// Members added by hand beyond the key's expiry count for every limit of a call, or for none.
#[test]
fn denied_call_reports_leases_expiring_in_a_script_consistently() {
    let server = Server::start();
    let mut c = server.connection();
    let acquires_all = "'RL.ALL', '1', KEYS[1], 'LEASE', '1', '1h', 'new'";
    let (taken, wait_ms, [[inner, _, free, inner_ms, reset_ms]]): (i64, i64, [Reply; 1]) =
        call_after_expiry(&mut c, ACQUIRES, acquires_all);
    assert_eq!((taken, inner, free), (0, 0, 0));
    assert!(wait_ms > HOUR_MS - 60_000, "{wait_ms}");
    assert_eq!((inner_ms, reset_ms), (wait_ms, wait_ms));
}

/// The members added by hand expire with the key.
#[test]
fn leases_expiring_in_a_script_are_absent_for_rl_leases() {
    let server = Server::start();
    let mut c = server.connection();
    let (held, limit, free, wait_ms, reset_ms, leases, waiting): Leases =
        call_after_expiry(&mut c, ACQUIRES, "'RL.LEASES', KEYS[1], '1'");
    assert_eq!((held, limit, free, wait_ms, reset_ms), (0, 1, 1, 0, 0));
    assert_eq!((leases, waiting), (vec![], 0));
}

#[test]
fn bucket_expiring_in_a_transaction_is_absent_for_take_and_peek() {
    let server = Server::start();
    let mut c = server.connection();
    for key in quick_and_slow_key() {
        let mut transaction = redis::pipe();
        transaction.atomic();
        transaction.cmd("RL.TAKE").arg(&[&key, "1000", "1"]);
        transaction.cmd("EVAL").arg(&["for n = 1, 2e7 do end", "0"]);
        transaction.cmd("RL.PEEK").arg(&[&key, "1/m", "53"]);
        transaction.cmd("RL.TAKE").arg(&[&key, "1/m", "53"]);
        let ((), (), peeked, taken): ((), (), Reply, Reply) =
            transaction.query(&mut c).expect("replies");
        assert_eq!(
            (peeked[..4].to_vec(), taken[..4].to_vec()),
            (vec![1, 53, 53, 0], vec![1, 53, 52, 0])
        );
    }
}
