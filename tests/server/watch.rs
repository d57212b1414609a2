//! What an operator sees: `INFO rl`, `RL.TOP`, the setting `rl.top-keys`, and key events.

use std::collections::HashMap;

use redis::{Connection, Value};

use crate::calls::{ask, call, error_of, knows, take, texts};
use crate::common::{Launch, Server};

fn counts(c: &mut Connection) -> HashMap<String, u64> {
    let info: String = ask(c, "INFO", &["rl"]);
    let fields = info.lines().filter_map(|line| line.strip_prefix("rl_"));
    let pairs = fields.filter_map(|line| line.split_once(':'));
    pairs
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

type Offender = (String, u64, u64, u64);

fn top(c: &mut Connection, arguments: &[&str]) -> Vec<Offender> {
    ask(c, "RL.TOP", arguments)
}

#[test]
fn info_counts_what_happened() {
    let server = Launch::default().module_arguments(&["CL.THROTTLE"]).start();
    let mut c = server.connection();
    let mut at_first = counts(&mut c);
    assert_eq!(at_first.remove("top_keys"), Some(128));
    assert!(at_first.values().all(|&count| count == 0));

    take(&mut c, &["a", "1/d", "10", "COST", "7"]);
    take(&mut c, &["a", "1/d", "10", "COST", "4"]);
    take(&mut c, &["a", "1/d", "10", "COST", "9", "ATMOST"]);
    take(&mut c, &["a", "1/d", "10", "COST", "5", "FORCE"]);
    take(&mut c, &["b", "1/d", "1", "FORCE"]);
    take(&mut c, &["b", "1/d", "1", "MAXWAIT", "86400000"]);
    ask::<()>(&mut c, "RL.GIVE", &["a", "1/d", "10", "COST", "2"]);
    ask::<()>(&mut c, "RL.PEEK", &["a", "1/d", "10"]);
    ask::<()>(
        &mut c,
        "RL.MTAKE",
        &["2", "x", "1/d", "9", "y", "1/d", "9", "COST", "3"],
    );
    ask::<()>(&mut c, "RL.MTAKE", &["2", "x", "1/d", "9", "y", "1/d", "2"]);
    ask::<()>(&mut c, "CL.THROTTLE", &["t", "0", "1", "86400"]);
    ask::<()>(&mut c, "CL.THROTTLE", &["t", "0", "1", "86400"]);
    ask::<()>(&mut c, "CL.THROTTLE", &["t", "0", "1", "86400", "0"]);
    error_of(&mut c, &call("RL.TAKE", &["a", "nan", "10"]));
    error_of(&mut c, &call("RL.TAKE", &["a", "1", "10", "COST"]));
    let debt = ["a", "1", "1", "COST", "100000000000", "FORCE"];
    error_of(&mut c, &call("RL.TAKE", &debt));
    ask::<()>(&mut c, "SET", &["text", "text"]);
    error_of(&mut c, &call("RL.PEEK", &["text", "1", "1"]));

    let expected = [
        ("takes_allowed", 8),
        ("takes_denied", 2),
        ("peeks", 2),
        ("tokens_taken", 7 + 3 + 5 + 1 + 1 + 6 + 2 + 1),
        ("tokens_forced", 5),
        ("tokens_reserved", 1),
        ("tokens_given", 2),
        ("buckets_created", 5),
        ("errors_call", 2),
        ("errors_key", 1),
        ("errors_memory", 0),
        ("errors_debt", 1),
        ("top_keys", 128),
    ];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(counts(&mut c), HashMap::from(expected));
}

#[test]
fn info_is_in_everything_and_names_the_version() {
    let server = Server::start();
    let mut c = server.connection();
    let info: String = ask(&mut c, "INFO", &["everything"]);
    assert!(info.contains("# rl\r\n"), "{info}");
    let version = concat!("rl_version:", env!("CARGO_PKG_VERSION"), "\r\n");
    assert!(info.contains(version), "{info}");
}

#[test]
fn the_keys_denied_most_come_first() {
    let server = Server::start();
    let mut c = server.connection();
    for (key, denials) in [("rare", 1), ("often", 5), ("sometimes", 3)] {
        take(&mut c, &[key, "1/d", "1"]);
        for _ in 0..denials {
            take(&mut c, &[key, "1/d", "1"]);
        }
    }
    let named: Vec<_> = top(&mut c, &[])
        .into_iter()
        .map(|(key, denials, error, _)| (key, denials, error))
        .collect();
    let expected = [("often", 5, 0), ("sometimes", 3, 0), ("rare", 1, 0)];
    assert_eq!(named, expected.map(|(k, d, e)| (k.to_owned(), d, e)));
    assert_eq!(top(&mut c, &["1"])[0].0, "often");
    assert!(top(&mut c, &["1"])[0].3 < 60_000);
    assert_eq!(ask::<String>(&mut c, "RL.TOP", &["reset"]), "OK");
    assert_eq!(top(&mut c, &[]), []);
}

#[test]
fn a_denial_by_several_buckets_is_of_those_that_had_too_few() {
    let server = Server::start();
    let mut c = server.connection();
    ask::<()>(
        &mut c,
        "RL.MTAKE",
        &["2", "x", "1/d", "9", "y", "1/d", "2", "COST", "3"],
    );
    let keys: Vec<_> = top(&mut c, &[]).into_iter().map(|(key, ..)| key).collect();
    assert_eq!(keys, ["y"]);
}

#[test]
fn among_a_thousand_offenders_the_heaviest_are_not_missed() {
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
    let offenders = top(&mut c, &["2"]);
    let bounds = |(key, denials, error, _): &Offender| (key.clone(), denials - error, *denials);
    let [first, second] = [bounds(&offenders[0]), bounds(&offenders[1])];
    assert_eq!(first.0, "heavier");
    assert!(first.1 <= 400 && 400 <= first.2, "{first:?}");
    assert_eq!(second.0, "heavy");
    assert!(second.1 <= 200 && 200 <= second.2, "{second:?}");
    assert_eq!(top(&mut c, &[]).len(), 128);
}

#[test]
fn how_many_keys_are_kept_is_a_setting() {
    let server = Launch::default()
        .module_arguments(&["top-keys", "3"])
        .start();
    let mut c = server.connection();
    let deny = |c: &mut Connection| {
        for key in ["a", "b", "c", "d", "e"] {
            take(c, &[key, "1/d", "1", "COST", "2"]);
        }
    };
    deny(&mut c);
    assert_eq!(top(&mut c, &[]).len(), 3);
    let setting: Vec<String> = ask(&mut c, "CONFIG", &["GET", "rl.top-keys"]);
    if !knows(&mut c, &["FUNCTION", "LIST"]) {
        // Redis 6.2 has no settings of modules.
        assert_eq!(setting, [""; 0]);
        return;
    }
    assert_eq!(setting, ["rl.top-keys", "3"]);
    for wrong in ["-1", "4097", "many"] {
        let error = error_of(&mut c, &call("CONFIG", &["SET", "rl.top-keys", wrong]));
        assert!(error.contains("rl.top-keys"), "{error}");
    }
    ask::<()>(&mut c, "CONFIG", &["SET", "rl.top-keys", "4"]);
    deny(&mut c);
    assert_eq!(top(&mut c, &[]).len(), 4);
    ask::<()>(&mut c, "CONFIG", &["SET", "rl.top-keys", "0"]);
    deny(&mut c);
    assert_eq!(top(&mut c, &[]), []);
}

#[test]
fn a_setting_outlives_a_restart() {
    let mut server = Server::start();
    let file = server.dir().join("rl.conf");
    std::fs::write(&file, "").expect("a configuration");
    server.restart_as(Launch::default().configuration(&file));
    let mut c = server.connection();
    let set = ["SET", "rl.top-keys", "7"];
    if !knows(&mut c, &["FUNCTION", "LIST"]) {
        let error = error_of(&mut c, &call("CONFIG", &set));
        assert!(error.starts_with("ERR Unsupported CONFIG"), "{error}");
        return;
    }
    ask::<()>(&mut c, "CONFIG", &set);
    ask::<()>(&mut c, "CONFIG", &["REWRITE"]);
    let rewritten = Launch::default().without_module().configuration(&file);
    server.restart_as(rewritten);
    let mut c = server.connection();
    let setting: Vec<String> = ask(&mut c, "CONFIG", &["GET", "rl.top-keys"]);
    assert_eq!(setting, ["rl.top-keys", "7"]);
}

#[test]
fn only_administrators_see_the_top() {
    let server = Server::start();
    let mut c = server.connection();
    let user = ["SETUSER", "app", "on", ">secret", "~*", "+@all", "-rl.top"];
    ask::<()>(&mut c, "ACL", &user);
    let mut app = server.connection();
    ask::<()>(&mut app, "AUTH", &["app", "secret"]);
    take(&mut app, &["k", "1", "5"]);
    let error = error_of(&mut app, &call("RL.TOP", &[""; 0]));
    assert!(error.starts_with("NOPERM"), "{error}");

    // From Redis 7.2 on it is among the dangerous commands; before, modules had no say in that.
    let newer = texts(&ask(&mut c, "ACL", &["CAT", "write"])).contains(&"RL.TAKE".to_owned());
    let dangerous: Value = ask(&mut c, "ACL", &["CAT", "dangerous"]);
    assert_eq!(texts(&dangerous).contains(&"RL.TOP".to_owned()), newer);
}

#[test]
fn takes_denials_and_gifts_are_told_to_who_listens() {
    let server = Server::with(&["--notify-keyspace-events", "Ed"]);
    let mut c = server.connection();
    let mut listener = server.connection();
    let mut events = listener.as_pubsub();
    events.psubscribe("__keyevent@0__:rl.*").expect("a channel");
    take(&mut c, &["k", "1/d", "1"]);
    take(&mut c, &["k", "1/d", "1"]);
    ask::<()>(&mut c, "RL.GIVE", &["k", "1/d", "1"]);
    ask::<()>(&mut c, "RL.PEEK", &["k", "1/d", "1"]);
    ask::<()>(&mut c, "RL.MTAKE", &["2", "x", "1/d", "1", "y", "1/d", "1"]);
    ask::<()>(&mut c, "RL.MTAKE", &["2", "z", "1/d", "1", "y", "1/d", "1"]);
    let told: Vec<(String, String)> = (0..6)
        .map(|_| {
            let event = events.get_message().expect("an event");
            let name = event.get_channel_name().replace("__keyevent@0__:", "");
            (name, event.get_payload().expect("a key"))
        })
        .collect();
    let expected = [
        ("rl.take", "k"),
        ("rl.deny", "k"),
        ("rl.give", "k"),
        ("rl.take", "x"),
        ("rl.take", "y"),
        ("rl.deny", "y"),
    ];
    assert_eq!(told, expected.map(|(e, k)| (e.to_owned(), k.to_owned())));
}
