//! The module being loaded and unloaded.

use redis::Value;

use crate::common::{module, wait_until, Launch, Server};
use crate::support::{call, info, texts, Ask, Reply};

#[test]
fn loading_logs_one_line_with_the_version() {
    let server = Server::start();
    let log = server.log();
    let lines: Vec<_> = log
        .lines()
        // The server's own line names the library's path, which may contain any word.
        .filter(|line| line.contains(" <rl> "))
        .collect();
    let expected = format!(" <rl> redis-rl {} loaded", env!("CARGO_PKG_VERSION"));
    assert!(lines.len() == 1 && lines[0].ends_with(&expected), "{log}");

    let modules: Value = server.connection().ask("MODULE LIST");
    assert!(texts(&modules).contains(&"rl".to_string()), "{modules:?}");
    let parts = env!("CARGO_PKG_VERSION").split('.');
    let number = parts.fold(0, |n, part| {
        n * 100 + part.parse::<u32>().expect("a number")
    });
    let listed: String = server.ask("INFO modules");
    let expected = format!("module:name=rl,ver={number},");
    assert!(listed.contains(&expected), "{listed}");
}

/// Launches the server under test with MODULE LOAD enabled and without the module.
pub fn without_module() -> Launch {
    let launch = Launch::default().without_module();
    let server = launch.clone().start();
    let setting: Vec<String> = server.connection().ask("CONFIG GET enable-module-command");
    if setting.is_empty() {
        return launch; // Redis 6.2 accepts it always.
    }
    launch.with(&["--enable-module-command", "yes"])
}

#[test]
fn module_load_and_unload_lose_no_limit() {
    let server = without_module().start();
    let mut c = server.connection();
    let library = module();
    let library = library.to_str().expect("a path that is text");
    let takes = [
        "RL.TAKE k 1/d 5",
        "RL.WTAKE w 5 30d",
        "RL.WTAKE s 5 SLIDING 30d",
    ];
    for remaining in [4, 3, 2] {
        for take in takes {
            let error = c.error(take);
            assert!(error.starts_with("ERR unknown command"), "{error}");
        }
        c.call::<()>(&["MODULE", "LOAD", library]);
        for take in takes {
            assert_eq!(c.ask::<Reply>(take)[..3], [1, 5, remaining], "{take}");
        }
        c.ask::<()>("MODULE UNLOAD rl");
    }
}

#[test]
fn wrong_module_arguments_fail_the_load_and_are_logged() {
    let long = "x".repeat(100);
    let wrong: [(&[&str], &str); 10] = [
        (&["FOO"], "FOO"),
        (&["CL.THROTTLE", "FOO"], "FOO"),
        (&[&long], &long[..64]),
        (&["TOP-KEYS"], "TOP-KEYS"),
        (&["TOP-KEYS", "-1"], "-1"),
        (&["TOP-KEYS", "4097"], "4097"),
        (&["TOP-KEYS", "many"], "many"),
        (&["TOP-KEYS", "5", "top-keys", "6"], "top-keys"),
        (
            &["MAX-WAITERS", "5", "TOP-KEYS", "5", "max-waiters", "6"],
            "max-waiters",
        ),
        (
            &["CL.THROTTLE", "TOP-KEYS", "5", "cl.throttle"],
            "cl.throttle",
        ),
    ];
    for (arguments, named) in wrong {
        let Err(log) = Launch::default().module_arguments(arguments).try_start() else {
            panic!("{arguments:?} loads");
        };
        let reason = format!(
            "wrong module argument '{named}'; accepted, each once: CL.THROTTLE, TOP-KEYS followed by a \
             number from 0 to 4096, MAX-WAITERS followed by a number from 0 to "
        );
        let tells = |line: &str| line.contains(&reason);
        assert!(log.lines().any(tells), "{arguments:?}: {log}");
    }
    let right = Launch::default().module_arguments(&["TOP-KEYS", "0", "CL.THROTTLE"]);
    assert!(right.start().alive());
}

#[test]
fn failed_load_leaves_no_callback() {
    let server = without_module().start();
    let mut c = server.connection();
    let library = module();
    let library = library.to_str().expect("a path that is text");
    for wrong in [&["FOO"][..], &["TOP-KEYS", "4097"], &["CL.THROTTLE", "FOO"]] {
        let arguments = [&["LOAD", library], wrong].concat();
        let error = c.error_of(&call("MODULE", &arguments));
        assert!(error.starts_with("ERR"), "{error}");
        // The server reports a fork and a change of role to modules.
        c.ask::<()>("BGSAVE");
        wait_until("the snapshot is written", || {
            info(&mut c, "rdb_bgsave_in_progress") == "0"
        });
        c.ask::<()>("REPLICAOF 127.0.0.1 1");
        c.ask::<()>("REPLICAOF NO ONE");
    }
    c.call::<()>(&["MODULE", "LOAD", library]);
    assert_eq!(c.take("k 1/d 5")[..3], [1, 5, 4]);
}

/// A peek that took a missing GET for a missing key would reply that every bucket is full.
#[test]
fn renamed_get_disables_peeks_and_is_logged() {
    let server = Launch::default()
        .with(&["--rename-command", "GET", ""])
        .start();
    let mut c = server.connection();
    for peek in ["RL.PEEK k 1/d 5", "RL.WPEEK k 5 1d", "RL.INSPECT k"] {
        let error = c.error(peek);
        assert!(error.starts_with("ERR unknown command"), "{error}");
    }
    let log = server.log();
    let left_out = "RL.PEEK, RL.WPEEK and RL.INSPECT are left out";
    assert!(log.contains(left_out), "{log}");
    assert!(log.contains("no command GET "), "{log}");

    assert_eq!(c.take("k 1/d 5 COST 5")[..3], [5, 5, 0]);
    assert_eq!(c.take("k 1/d 5")[..3], [0, 5, 0]);
    let error = c.error("RL.WTAKE k 5 1d");
    assert!(error.starts_with("ERR key 'k' holds "), "{error}");
}

/// The command that GET's name was given to is not taken for it.
#[test]
fn peek_with_another_command_named_get_is_an_error() {
    let server = Launch::default()
        .with(&["--rename-command", "GET", "PLAINGET"])
        .with(&["--rename-command", "STRLEN", "GET"])
        .start();
    let mut c = server.connection();
    c.take("k 1/d 5 COST 5");
    for peek in ["RL.PEEK k 1/d 5", "RL.INSPECT k"] {
        let error = c.error(peek);
        let expected = "ERR key 'k' could not be read";
        assert!(error.starts_with(expected), "{error}");
    }
}
