//! `INFO rl` counts what happened.

use std::collections::HashMap;

use redis::Connection;

use crate::common::{root, Launch, Server};
use crate::support::{call, Ask};

fn counts(c: &mut Connection) -> HashMap<String, u64> {
    let info: String = c.ask("INFO rl");
    let fields = info.lines().filter_map(|line| line.strip_prefix("rl_"));
    let pairs = fields.filter_map(|line| line.split_once(':'));
    pairs
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

#[test]
fn each_call_is_counted_by_its_outcome() {
    let server = Launch::default().module_arguments(&["CL.THROTTLE"]).start();
    let mut c = server.connection();
    let mut at_first = counts(&mut c);
    assert_eq!(at_first.remove("top_keys"), Some(128));
    assert!(at_first.remove("top_bytes") > Some(0));
    assert!(at_first.values().all(|&count| count == 0));

    c.take("a 1/d 10 COST 7");
    c.take("a 1/d 10 COST 4");
    c.take("a 1/d 10 COST 9 ATMOST");
    c.take("a 1/d 10 COST 5 FORCE");
    c.take("b 1/d 1 FORCE");
    c.take("b 1/d 1 MAXWAIT 86400000");
    c.ask::<()>("RL.GIVE a 1/d 10 COST 2");
    c.ask::<()>("RL.PEEK a 1/d 10");
    c.ask::<()>("RL.MTAKE 2 x 1/d 9 y 1/d 9 COST 3");
    c.ask::<()>("RL.MTAKE 2 x 1/d 9 y 1/d 2");
    c.ask::<()>("RL.MTAKE 2 x 1/d 9 y 1/d 2 COST 3");
    c.ask::<()>("CL.THROTTLE t 0 1 86400");
    c.ask::<()>("CL.THROTTLE t 0 1 86400");
    c.ask::<()>("CL.THROTTLE t 0 1 86400 0");
    c.ask::<()>("RL.WTAKE w 10 1d COST 7");
    c.ask::<()>("RL.WTAKE w 10 1d COST 4");
    c.ask::<()>("RL.WTAKE w 10 1d COST 9 ATMOST");
    c.ask::<()>("RL.WTAKE w 10 1d COST 5 FORCE");
    c.ask::<()>("RL.WTAKE v 1 SLIDING 1h FORCE");
    c.ask::<()>("RL.WTAKE v 1 SLIDING 1h");
    c.ask::<()>("RL.WPEEK v 1 SLIDING 1h");
    c.ask::<()>("RL.WPEEK w 1 1h");
    c.ask::<()>("RL.WGIVE w 10 1d COST 2");
    c.ask::<()>("RL.WGIVE v 10 SLIDING 1h COST 9");
    c.error("RL.WTAKE w 10 FORTNIGHT");
    c.error("RL.WTAKE w 10 UNTIL 1");
    c.error("RL.WTAKE w 10 SLIDING 1h");
    for _ in 0..2 {
        let _ = call(
            "RL.WTAKE",
            &["much", "1", "1h", "COST", "100000000000", "FORCE"],
        )
        .query::<redis::Value>(&mut c);
    }
    c.error("RL.WTAKE much 1 1h FORCE");
    c.error("RL.TAKE a nan 10");
    c.error("RL.TAKE a 1 10 COST");
    c.error("RL.TAKE a 1/d 10 COST 100000000000 FORCE");
    c.ask::<()>("SET text text");
    c.error("RL.PEEK text 1 1");

    let expected = [
        ("takes_allowed", 8),
        ("takes_denied", 3),
        ("peeks", 2),
        ("tokens_taken", 7 + 3 + 5 + 1 + 1 + 6 + 2 + 1),
        ("tokens_forced", 5),
        ("tokens_reserved", 1),
        ("tokens_given", 2),
        ("buckets_created", 5),
        ("window_takes_allowed", 6),
        ("window_takes_denied", 2),
        ("window_peeks", 2),
        ("window_tokens_taken", 7 + 3 + 5 + 1 + 200_000_000_000),
        ("window_tokens_forced", 5 + 200_000_000_000),
        ("window_tokens_given", 2 + 1),
        ("window_created", 3),
        ("errors_call", 2 + 2),
        ("errors_key", 1 + 1),
        ("errors_memory", 0),
        ("errors_debt", 1 + 1),
        ("top_keys", 128),
    ];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    let mut counted = counts(&mut c);
    assert!(counted.remove("top_bytes") > Some(0));
    // Leases and holds have their own counters.
    counted.retain(|name, &mut count| {
        let other = name.starts_with("lease_") || name.starts_with("holds_");
        assert!(!other || count == 0, "{name}: {count}");
        !other
    });
    assert_eq!(counted, HashMap::from(expected));
}

#[test]
fn reference_lists_every_counter() {
    let server = Server::start();
    let page = std::fs::read_to_string(root().join("src/commands/README.md")).expect("a page");
    for name in counts(&mut server.connection()).keys() {
        // A row says that windows have the same counters as buckets.
        let listed = name.starts_with("window_") || page.contains(&format!("`{name}`"));
        assert!(listed, "{name}");
    }
}

#[test]
fn info_everything_includes_the_section_with_the_version() {
    let server = Server::start();
    let mut c = server.connection();
    let info: String = c.ask("INFO everything");
    assert!(info.contains("# rl\r\n"), "{info}");
    let version = concat!("rl_version:", env!("CARGO_PKG_VERSION"), "\r\n");
    assert!(info.contains(version), "{info}");
}
