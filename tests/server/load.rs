//! The module being loaded and unloaded, and a server whose memory is used up.

use redis::Value;

use crate::calls::{ask, call, error_of, info, take, texts};
use crate::common::{module, wait_until, Launch, Server};

#[test]
fn loading_logs_one_line_with_the_version() {
    let server = Server::start();
    let log = server.log();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("redis-rl"))
        .collect();
    let expected = format!("redis-rl {} loaded", env!("CARGO_PKG_VERSION"));
    assert!(lines.len() == 1 && lines[0].ends_with(&expected), "{log}");

    let modules: Value = ask(&mut server.connection(), "MODULE", &["LIST"]);
    assert!(texts(&modules).contains(&"rl".to_string()), "{modules:?}");
}

/// The server under test, made to accept MODULE LOAD.
pub fn without_module() -> Launch {
    let launch = Launch::default().without_module();
    let server = launch.clone().start();
    let setting: Vec<String> = ask(
        &mut server.connection(),
        "CONFIG",
        &["GET", "enable-module-command"],
    );
    if setting.is_empty() {
        return launch; // Redis 6.2 accepts it always.
    }
    launch.with(&["--enable-module-command", "yes"])
}

#[test]
fn it_is_loaded_and_unloaded_at_run_time_and_no_bucket_is_lost() {
    let server = without_module().start();
    let mut c = server.connection();
    let library = module();
    let library = library.to_str().expect("a path that is text");
    let call_it = ["k", "1/d", "5"];
    for remaining in [4, 3, 2] {
        let error = error_of(&mut c, &call("RL.TAKE", &call_it));
        assert!(error.starts_with("ERR unknown command"), "{error}");
        ask::<()>(&mut c, "MODULE", &["LOAD", library]);
        assert_eq!(take(&mut c, &call_it)[..3], [1, 5, remaining]);
        ask::<()>(&mut c, "MODULE", &["UNLOAD", "rl"]);
    }
}

#[test]
fn with_memory_used_up_buckets_go_on_and_new_ones_are_refused() {
    let server = Server::with(&["--maxmemory-policy", "noeviction"]);
    let mut c = server.connection();
    assert_eq!(take(&mut c, &["old", "1/d", "3"])[..3], [1, 3, 2]);
    ask::<()>(&mut c, "CONFIG", &["SET", "maxmemory", "1"]);

    assert_eq!(take(&mut c, &["old", "1/d", "3"])[..3], [1, 3, 1]);
    let error = error_of(&mut c, &call("RL.TAKE", &["new", "1/d", "3"]));
    assert!(error.starts_with("OOM "), "{error}");
    assert_eq!(ask::<i64>(&mut c, "EXISTS", &["new"]), 0);
    assert_eq!(take(&mut c, &["old", "1/d", "3"])[..3], [1, 3, 0]);
    assert_eq!(take(&mut c, &["old", "1/d", "3"])[..3], [0, 3, 0]);

    ask::<()>(&mut c, "CONFIG", &["SET", "maxmemory", "0"]);
    assert_eq!(take(&mut c, &["new", "1/d", "3"])[..3], [1, 3, 2]);
}

#[test]
fn wrong_module_arguments_fail_the_load_and_the_log_tells_the_right_ones() {
    let wrong: [&[&str]; 6] = [
        &["FOO"],
        &["CL.THROTTLE", "FOO"],
        &["TOP-KEYS"],
        &["TOP-KEYS", "-1"],
        &["TOP-KEYS", "4097"],
        &["TOP-KEYS", "many"],
    ];
    for arguments in wrong {
        let Err(log) = Launch::default().module_arguments(arguments).try_start() else {
            panic!("{arguments:?} loads");
        };
        let tells = |line: &str| line.contains("CL.THROTTLE") && line.contains("TOP-KEYS");
        assert!(log.lines().any(tells), "{arguments:?}: {log}");
    }
    let right = Launch::default().module_arguments(&["TOP-KEYS", "0", "CL.THROTTLE"]);
    assert!(right.start().alive());
}

#[test]
fn a_load_that_failed_leaves_nothing_that_the_server_might_call() {
    let server = without_module().start();
    let mut c = server.connection();
    let library = module();
    let library = library.to_str().expect("a path that is text");
    for wrong in [&["FOO"][..], &["TOP-KEYS", "4097"], &["CL.THROTTLE", "FOO"]] {
        let arguments = [&["LOAD", library], wrong].concat();
        let error = error_of(&mut c, &call("MODULE", &arguments));
        assert!(error.starts_with("ERR"), "{error}");
        // A fork is told to modules, and so is a change of role.
        ask::<()>(&mut c, "BGSAVE", &[]);
        wait_until("the snapshot is written", || {
            info(&mut c, "rdb_bgsave_in_progress") == "0"
        });
        ask::<()>(&mut c, "REPLICAOF", &["127.0.0.1", "1"]);
        ask::<()>(&mut c, "REPLICAOF", &["NO", "ONE"]);
    }
    ask::<()>(&mut c, "MODULE", &["LOAD", library]);
    assert_eq!(take(&mut c, &["k", "1/d", "5"])[..3], [1, 5, 4]);
}
