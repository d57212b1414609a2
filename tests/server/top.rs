//! RL.TOP names the keys denied most; the setting `rl.top-keys` says how many are kept.

use redis::Connection;

use crate::common::{Launch, Server};
use crate::support::{call, knows, Ask};

type Offender = (String, u64, u64, u64);

fn top(c: &mut Connection) -> Vec<Offender> {
    c.ask("RL.TOP")
}

#[test]
fn rl_top_lists_the_most_denied_first() {
    let server = Server::start();
    let mut c = server.connection();
    for (key, denials) in [("rare", 1), ("often", 5), ("sometimes", 3)] {
        c.take(&format!("{key} 1/d 1"));
        for _ in 0..denials {
            c.take(&format!("{key} 1/d 1"));
        }
    }
    let named: Vec<_> = top(&mut c)
        .into_iter()
        .map(|(key, denials, error, _)| (key, denials, error))
        .collect();
    let expected = [("often", 5, 0), ("sometimes", 3, 0), ("rare", 1, 0)];
    assert_eq!(named, expected.map(|(k, d, e)| (k.to_owned(), d, e)));
    assert_eq!(c.ask::<Vec<Offender>>("RL.TOP 1")[0].0, "often");
    assert!(c.ask::<Vec<Offender>>("RL.TOP 1")[0].3 < 60_000);
    assert_eq!(c.ask::<String>("RL.TOP reset"), "OK");
    assert_eq!(top(&mut c), []);
}

/// Windows of every kind count.
#[test]
fn rl_top_includes_windows() {
    let server = Server::start();
    let mut c = server.connection();
    for (call, denials) in [
        ("RL.WTAKE day 0 DAY", 4),
        ("RL.WTAKE any 0 SLIDING 1h", 3),
        ("RL.TAKE bucket 1/d 0", 2),
    ] {
        for _ in 0..denials {
            c.ask::<()>(call);
            c.ask::<()>("RL.WTAKE allowed 100 DAY");
            c.ask::<()>("RL.WPEEK looked-at 0 DAY");
        }
    }
    let named = top(&mut c)
        .into_iter()
        .map(|(key, denials, ..)| (key, denials));
    let expected = [("day", 4), ("any", 3), ("bucket", 2)];
    assert_eq!(
        named.collect::<Vec<_>>(),
        expected.map(|(k, n)| (k.to_owned(), n))
    );
}

#[test]
fn rl_top_counts_only_the_denying_buckets() {
    let server = Server::start();
    let mut c = server.connection();
    c.ask::<()>("RL.MTAKE 2 x 1/d 9 y 1/d 2 COST 3");
    let keys: Vec<_> = top(&mut c).into_iter().map(|(key, ..)| key).collect();
    assert_eq!(keys, ["y"]);
}

#[test]
fn rl_top_finds_the_heaviest_of_a_thousand_offenders() {
    let server = Server::start();
    let mut c = server.connection();
    for round in 0..200 {
        let mut calls = redis::pipe();
        for light in 0..5 {
            let key = format!("light:{}", round * 5 + light);
            calls
                .add_command(call("RL.TAKE", &[&key, "1/d", "1", "COST", "2"]))
                .ignore();
        }
        for heavy in ["heavy", "heavier", "heavier"] {
            calls
                .add_command(call("RL.TAKE", &[heavy, "1/d", "1", "COST", "2"]))
                .ignore();
        }
        calls.query::<()>(&mut c).expect("replies");
    }
    let offenders = c.ask::<Vec<Offender>>("RL.TOP 2");
    let bounds = |(key, denials, error, _): &Offender| (key.clone(), denials - error, *denials);
    let [first, second] = [bounds(&offenders[0]), bounds(&offenders[1])];
    assert_eq!(first.0, "heavier");
    assert!(first.1 <= 400 && 400 <= first.2, "{first:?}");
    assert_eq!(second.0, "heavy");
    assert!(second.1 <= 200 && 200 <= second.2, "{second:?}");
    assert_eq!(top(&mut c).len(), 128);
}

#[test]
fn top_keys_bounds_the_number_of_keys() {
    let server = Launch::default()
        .module_arguments(&["top-keys", "3"])
        .start();
    let mut c = server.connection();
    let deny = |c: &mut Connection| {
        for key in ["a", "b", "c", "d", "e"] {
            c.take(&format!("{key} 1/d 1 COST 2"));
        }
    };
    deny(&mut c);
    assert_eq!(top(&mut c).len(), 3);
    let setting: Vec<String> = c.ask("CONFIG GET rl.top-keys");
    if !knows(&mut c, &["FUNCTION", "LIST"]) {
        // Redis 6.2 has no settings of modules.
        assert_eq!(setting, [""; 0]);
        return;
    }
    assert_eq!(setting, ["rl.top-keys", "3"]);
    for wrong in ["-1", "4097", "many"] {
        let error = c.error_of(&call("CONFIG", &["SET", "rl.top-keys", wrong]));
        assert!(error.contains("rl.top-keys"), "{error}");
    }
    c.ask::<()>("CONFIG SET rl.top-keys 4");
    deny(&mut c);
    assert_eq!(top(&mut c).len(), 4);
    c.ask::<()>("CONFIG SET rl.top-keys 0");
    deny(&mut c);
    assert_eq!(top(&mut c), []);
}

/// The allocator that `used_memory` counts is not the module's.
#[test]
fn info_reports_the_memory_of_rl_top() {
    let bytes = |c: &mut Connection| -> u64 {
        let info: String = c.ask("INFO rl");
        let mut lines = info.lines();
        let bytes = lines.find_map(|line| line.strip_prefix("rl_top_bytes:"));
        bytes.expect("a field").parse().expect("a number")
    };
    let off = Launch::default().module_arguments(&["TOP-KEYS", "0"]);
    assert_eq!(bytes(&mut off.start().connection()), 0);
    let full = Launch::default().module_arguments(&["TOP-KEYS", "4096"]);
    let server = full.start();
    let mut c = server.connection();
    let empty = bytes(&mut c);
    let mut denials = redis::pipe();
    for n in 0..4096 {
        let key = format!("{n:0>300}");
        let deny = denials.cmd("RL.TAKE").arg(key).arg("1/d").arg("1");
        deny.arg("COST").arg("2").ignore();
    }
    denials.query::<()>(&mut c).expect("replies");
    // Of each key 256 bytes are kept.
    let grown = bytes(&mut c) - empty;
    assert!(
        (4096 * 256..4096 * 300).contains(&grown),
        "{empty}, {grown}"
    );
    assert!(empty < 500_000, "{empty}");
    c.ask::<()>("RL.TOP RESET");
    assert_eq!(bytes(&mut c), empty);
}

#[test]
fn top_keys_survives_a_restart() {
    let mut server = Server::start();
    let file = server.dir().join("rl.conf");
    std::fs::write(&file, "").expect("a configuration");
    server.restart_as(Launch::default().configuration(&file));
    let mut c = server.connection();
    let set = ["SET", "rl.top-keys", "7"];
    if !knows(&mut c, &["FUNCTION", "LIST"]) {
        let error = c.error_of(&call("CONFIG", &set));
        assert!(error.starts_with("ERR Unsupported CONFIG"), "{error}");
        return;
    }
    c.ask::<()>("CONFIG SET rl.top-keys 7");
    c.ask::<()>("CONFIG REWRITE");
    let rewritten = Launch::default().without_module().configuration(&file);
    server.restart_as(rewritten);
    let mut c = server.connection();
    let setting: Vec<String> = c.ask("CONFIG GET rl.top-keys");
    assert_eq!(setting, ["rl.top-keys", "7"]);
}

#[test]
fn changed_top_keys_keeps_the_most_denied() {
    let server = Launch::default()
        .module_arguments(&["TOP-KEYS", "3"])
        .start();
    let mut c = server.connection();
    if !knows(&mut c, &["FUNCTION", "LIST"]) {
        return; // Redis 6.2 has no settings of modules.
    }
    for (key, denials) in [("a", 1), ("b", 5), ("c", 3)] {
        for _ in 0..denials {
            c.take(&format!("{key} 1/d 1 COST 2"));
        }
    }
    let named = |c: &mut Connection| -> Vec<(String, u64, u64)> {
        top(c)
            .into_iter()
            .map(|(key, denials, error, _)| (key, denials, error))
            .collect()
    };
    let most = [("b", 5, 0), ("c", 3, 0)].map(|(key, n, e)| (key.to_owned(), n, e));
    c.ask::<()>("CONFIG SET rl.top-keys 2");
    assert_eq!(named(&mut c), most);
    c.ask::<()>("CONFIG SET rl.top-keys 4096");
    assert_eq!(named(&mut c), most);
    c.take("b 1/d 1 COST 2");
    c.take("new 1/d 1 COST 2");
    assert_eq!(c.ask::<Vec<Offender>>("RL.TOP 1")[0].1, 6);
    assert_eq!(top(&mut c).len(), 3);
    c.ask::<()>("CONFIG SET rl.top-keys 1");
    c.ask::<()>("CONFIG SET rl.top-keys 128");
    assert_eq!(named(&mut c), [("b".to_owned(), 6, 0)]);
}
