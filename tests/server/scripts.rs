//! Transactions, scripts and functions take as a call outside does.

use crate::common::Server;
use crate::support::{call, knows, Ask};

#[test]
fn a_transaction_takes_as_outside() {
    let server = Server::start();
    let mut c = server.connection();
    let mut transaction = redis::pipe();
    transaction.atomic();
    for _ in 0..3 {
        transaction.cmd("RL.TAKE").arg(&["k", "1/d", "2"]);
    }
    let replies: Vec<[i64; 5]> = transaction.query(&mut c).expect("replies");
    let taken: Vec<_> = replies.iter().map(|reply| (reply[0], reply[2])).collect();
    assert_eq!(taken, [(1, 1), (1, 0), (0, 0)]);
    assert_eq!(c.take("k 1/d 2")[0], 0);
}

#[test]
fn a_script_takes_as_outside() {
    let server = Server::start();
    let mut c = server.connection();
    let script = "return redis.call('RL.TAKE', KEYS[1], ARGV[1], ARGV[2])";
    for (taken, remaining) in [(1, 1), (1, 0), (0, 0)] {
        let reply: [i64; 5] = c.call(&["EVAL", script, "1", "k", "1/d", "2"]);
        assert_eq!((reply[0], reply[2]), (taken, remaining));
    }
    let error = c.error_of(&call("EVAL", &[script, "1", "k", "nan", "2"]));
    assert!(error.contains("rate must be"), "{error}");
}

#[test]
fn a_function_takes_as_outside() {
    let server = Server::start();
    let mut c = server.connection();
    let library = "#!lua name=limits\nredis.register_function('limited', function(keys, args) \
        return redis.call('RL.TAKE', keys[1], args[1], args[2]) end)";
    if !knows(&mut c, &["FUNCTION", "LIST"]) {
        let error = c.error("FCALL limited 1 k 1/d 2");
        assert!(error.starts_with("ERR unknown command"), "{error}");
        return;
    }
    c.call::<()>(&["FUNCTION", "LOAD", library]);
    for (taken, remaining) in [(1, 1), (1, 0), (0, 0)] {
        let reply: [i64; 5] = c.ask("FCALL limited 1 k 1/d 2");
        assert_eq!((reply[0], reply[2]), (taken, remaining));
    }
}

/// Outside, it would be no key for either. Its expiry is that of another limit, as its fill time
/// would have both see it full.
#[test]
fn a_bucket_that_expires_within_a_script_is_gone_for_a_take_as_for_a_look() {
    let server = Server::start();
    let mut c = server.connection();
    let script = "redis.call('RL.TAKE', KEYS[1], '1000', '1')
        for n = 1, 2e7 do end
        return {redis.call('RL.PEEK', KEYS[1], '1/m', '53'),
                redis.call('RL.TAKE', KEYS[1], '1/m', '53')}";
    let [peeked, taken]: [[i64; 5]; 2] = c.call(&["EVAL", script, "1", "k"]);
    assert_eq!(
        (peeked[..4].to_vec(), taken[..4].to_vec()),
        (vec![1, 53, 53, 0], vec![1, 53, 52, 0])
    );
}

#[test]
fn a_bucket_that_expires_within_a_transaction_is_gone_for_a_take_as_for_a_look() {
    let server = Server::start();
    let mut c = server.connection();
    let mut transaction = redis::pipe();
    transaction.atomic();
    transaction.cmd("RL.TAKE").arg(&["k", "1000", "1"]).ignore();
    transaction
        .cmd("EVAL")
        .arg(&["for n = 1, 2e7 do end", "0"])
        .ignore();
    transaction.cmd("RL.PEEK").arg(&["k", "1/m", "53"]);
    transaction.cmd("RL.TAKE").arg(&["k", "1/m", "53"]);
    let [peeked, taken]: [[i64; 5]; 2] = transaction.query(&mut c).expect("replies");
    assert_eq!(
        (peeked[..4].to_vec(), taken[..4].to_vec()),
        (vec![1, 53, 53, 0], vec![1, 53, 52, 0])
    );
}
