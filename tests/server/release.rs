//! The calls with which a release is tested (`scripts/release/commands.txt`).

use std::fs;

use redis::Value;

use crate::common::root;
use crate::support::node::launch;
use crate::support::{texts, Ask};

/// Returns a reply as words, nested lists flattened.
fn words(reply: &Value) -> Vec<String> {
    match reply {
        Value::Array(items) => items.iter().flat_map(words).collect(),
        Value::Int(number) => vec![number.to_string()],
        other => texts(other),
    }
}

/// Returns whether a reply is the expected one: `*` is any word, `...` anything up to the end.
fn fits(reply: &[String], expected: &[&str]) -> bool {
    let (expected, is_open) = match expected.split_last() {
        Some((&"...", begin)) => (begin, true),
        _ => (expected, false),
    };
    let mut pairs = expected.iter().zip(reply);
    reply.len() >= expected.len()
        && (is_open || reply.len() == expected.len())
        && pairs.all(|(&expected, word)| expected == "*" || expected == word)
}

#[test]
fn each_call_of_the_release_test_replies_as_listed() {
    let server = launch().start();
    let mut c = server.connection();
    let list = fs::read_to_string(root().join("scripts/release/commands.txt")).expect("a list");
    let is_call = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let calls: Vec<_> = list.lines().filter(is_call).collect();
    assert!(calls.len() > 20, "{list}");
    for line in calls {
        let (call, expected) = line.split_once(" = ").expect("a call and its reply");
        let reply: Value = c.call(&call.split_whitespace().collect::<Vec<_>>());
        let expected: Vec<_> = expected.split_whitespace().collect();
        let reply = words(&reply);
        assert!(fits(&reply, &expected), "{line}\n{reply:?}");
    }
}
