//! One build of the module is replaced by another under load, by the only safe procedure.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use redis::Value;

use crate::common::{module, Launch, Server};
use crate::support::node::{assert_equal, launch, Contents};
use crate::support::takers::{assert_between, Taken, Takers, KEYS};
use crate::support::traffic::{self, Dice};
use crate::support::{texts, Ask};

/// The rules of the application's user in the README, and those that this test needs.
const RULES: &str =
    "-@all +rl.take +rl.peek +rl.give +rl.mtake +rl.wtake +rl.wpeek +rl.wgive +multi +exec +ping";

/// Returns the buckets and windows that the clients do not change.
fn at_rest(server: &Server) -> Contents {
    let mut contents = server.contents();
    let kinds: [&[u8]; 3] = [b"bucket:", b"fixed:", b"sliding:"];
    contents.retain(|key, _| kinds.iter().any(|kind| key.starts_with(kind)));
    contents
}

/// Copies the library, so that the server sees another build.
pub fn other_build(server: &Server) -> PathBuf {
    let path = server.dir().join("other_build.so");
    fs::copy(module(), &path).expect("a copy of the library");
    path
}

fn assert_runs(server: &Server, build: &Path) {
    let process = server.count("process_id");
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).expect("a process");
    // The path may be that of a link.
    let build = fs::canonicalize(build).expect("the library");
    assert!(maps.contains(build.to_str().expect("UTF-8")));
}

/// Runs the release's script with these arguments.
fn run(build: &Path, options: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/release/upgrade.sh");
    let mut command = Command::new(script);
    command.arg(build).args(options).output().expect("bash")
}

/// Replaces the module by the release's script. Clients notice only that their connection is closed.
pub fn exchange(server: &Server, build: &Path) {
    let (old, port) = (module(), server.port().to_string());
    let old = old.to_str().expect("UTF-8");
    let output = run(
        build,
        &["--old", old, "--arguments", "CL.THROTTLE", "-p", &port],
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// Starts a server with a writable configuration and the application's user.
fn with_user() -> Server {
    let mut server = launch().start();
    let file = server.dir().join("rl.conf");
    fs::write(&file, "").expect("a configuration");
    server.restart_as(launch().configuration(&file));
    let () = server.ask(&format!("ACL SETUSER app on >secret ~* {RULES}"));
    server
}

fn names_take(text: impl AsRef<str>) -> bool {
    text.as_ref().to_lowercase().contains("+rl.take")
}

/// Checks that users, settings and the user's permissions are as before.
fn assert_whole(server: &mut Server) {
    let mut c = server.connection();
    let users: Vec<String> = c.ask("ACL LIST");
    assert!(users.iter().any(names_take), "{users:?}");
    let about: Value = c.ask("ACL GETUSER app");
    assert!(texts(&about).iter().any(names_take), "{about:?}");
    c.ask::<()>("CONFIG REWRITE");
    let mut app = server.connection();
    app.ask::<()>("AUTH app secret");
    assert_eq!(app.take("of:app 1/d 1000")[0], 1);
    let denied = app.error("GET of:app");
    assert!(denied.starts_with("NOPERM"), "{denied}");
    assert!(server.alive());
}

/// Returns a client that has sent these lines and read the replies.
fn having_sent(server: &Server, lines: &str) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", server.port())).expect("a connection");
    let patience = Some(Duration::from_secs(60));
    socket.set_read_timeout(patience).expect("an open socket");
    socket.write_all(lines.as_bytes()).expect("sent");
    let mut answers = BufReader::new(&socket);
    let mut line = String::new();
    while !line.contains("QUEUED") {
        line.clear();
        let length = answers.read_line(&mut line).expect("answers");
        assert!(length > 0, "no reply to {lines}");
    }
    socket
}

/// Clients that would run a command of the module that is gone, were they let.
fn waiting_clients(server: &Server) -> Vec<TcpStream> {
    let lines = [
        "RL.TAKE k 1/d 100\r\nMULTI\r\nRL.TAKE k 1/d 100\r\n",
        "AUTH app secret\r\nMULTI\r\nRL.MTAKE 1 k 1/d 100\r\n",
        "HELLO 3\r\nSUBSCRIBE news\r\nMULTI\r\nRL.TAKE k 1/d 100\r\n",
        "RL.WTAKE w 100 30d\r\nMULTI\r\nRL.WTAKE w 100 SLIDING 1h\r\n",
        "HELLO 3\r\nCLIENT TRACKING ON\r\nWATCH k\r\nMULTI\r\nRL.PEEK k 1/d 100\r\n",
    ];
    lines.map(|lines| having_sent(server, lines)).into()
}

/// Checks that each client is disconnected, whatever it sends.
fn assert_cut_off(clients: Vec<TcpStream>) {
    for mut client in clients {
        // The connection may be known to be gone before this is sent, or after.
        let _ = client.write_all(b"EXEC\r\nPING\r\n");
        let mut rest = Vec::new();
        let end = client.read_to_end(&mut rest);
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(!rest.contains("PONG"), "{end:?}: {rest}");
    }
}

fn add(sum: &mut Taken, more: &Taken) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

/// With a user, a subscriber and open transactions, under load: no call fails, no bucket is lost,
/// and the server survives.
#[test]
fn module_is_replaced_under_load() {
    let mut server = with_user();
    // The module is nothing that a replica needs.
    let replica = server.attach(launch().without_module());
    traffic::run(&server, &mut Dice::new(20), 500);
    let before = at_rest(&server);
    let other = other_build(&server);
    let (mut least, mut most) = ([0; KEYS], [0; KEYS]);
    for build in [&other, &module(), &other, &module()] {
        let waiting = waiting_clients(&server);
        let takers = Takers::on(&server);
        takers.pass(500);
        exchange(&server, build);
        assert_cut_off(waiting);
        let (taken, asked) = takers.stop();
        assert_runs(&server, build);
        assert_whole(&mut server);
        add(&mut least, &taken);
        add(&mut most, &asked);
    }
    assert_between(&server, &least, &most);
    assert_equal(&before, &at_rest(&server));
    replica.wait_for(&server);
    assert_equal(&server.contents(), &replica.contents());
}

/// A call that cannot succeed is refused with its reason before any client is disconnected.
#[test]
fn upgrade_script_refuses_a_relative_path_and_an_unreachable_server() {
    let server = launch().start();
    let mut client = server.connection();
    let port = server.port().to_string();
    for (build, options, reason) in [
        ("new.so", ["-p", &port], "absolute path"),
        ("--help", ["-p", &port], "NEW.so"),
        ("/new.so", ["-p", "1"], "Connection refused"),
    ] {
        let output = run(Path::new(build), &options);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{build}: {said}");
        assert!(said.contains(reason), "{build}: {said}");
    }
    assert_eq!(client.ask::<String>("PING"), "PONG", "still connected");
}

/// Returns the arguments of the script for this server, after which those of redis-cli may follow.
fn options(server: &Server) -> Vec<String> {
    let (old, port) = (module(), server.port().to_string());
    let old = old.to_str().expect("UTF-8").to_string();
    ["--old", &old, "--arguments", "CL.THROTTLE", "-p", &port]
        .map(String::from)
        .into()
}

/// Runs the release's script and returns whether it succeeded, and what it reports.
fn upgrade(build: &str, options: &[String]) -> (bool, String) {
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let output = run(Path::new(build), &options);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

/// Users whose rules name commands of the module. The second one is an operator.
fn with_users() -> Server {
    let server = with_user();
    let () = server.ask("ACL SETUSER ops on >secret ~* &* +@all -rl.top");
    server
}

/// The rules of all users, in a form that does not depend on the order in which the server names commands.
fn users(server: &Server) -> Vec<Vec<String>> {
    let users: Vec<String> = server.ask("ACL LIST");
    let sorted = users.into_iter().map(|user| {
        let mut words: Vec<_> = user.split(' ').map(str::to_lowercase).collect();
        words.sort_unstable();
        words
    });
    sorted.collect()
}

/// The server checks the permissions of the script's own user again while the module is unloaded.
#[test]
fn upgrade_by_a_user_whose_rules_name_the_module_keeps_all_rules() {
    let server = with_users();
    let before = users(&server);
    let mut options = options(&server);
    options.extend(["--user", "ops", "--pass", "secret", "--no-auth-warning"].map(String::from));
    let other = other_build(&server);
    let (done, said) = upgrade(other.to_str().expect("UTF-8"), &options);
    assert!(done, "{said}");
    assert_runs(&server, &other);
    assert_eq!(users(&server), before);
}

#[test]
fn failed_upgrade_keeps_the_old_library_its_settings_and_all_rules() {
    let server = with_users();
    let before = users(&server);
    let settings = change_settings(&server);
    let (done, said) = upgrade("/missing.so", &options(&server));
    assert!(
        !done && said.contains("the old library is loaded again"),
        "{said}"
    );
    assert_runs(&server, &module());
    assert_eq!(users(&server), before);
    assert_eq!(current_settings(&server), settings);
}

/// Returns the names and values of the settings; Redis 6.2 has none.
fn current_settings(server: &Server) -> BTreeMap<String, String> {
    server.ask("CONFIG GET rl.*")
}

/// Changes a setting and returns all of them.
fn change_settings(server: &Server) -> BTreeMap<String, String> {
    if !current_settings(server).is_empty() {
        let () = server.ask("CONFIG SET rl.max-waiters 7");
    }
    current_settings(server)
}

#[test]
fn upgrade_keeps_settings_changed_at_run_time() {
    let server = launch().start();
    let settings = change_settings(&server);
    let other = other_build(&server);
    exchange(&server, &other);
    assert_runs(&server, &other);
    assert_eq!(current_settings(&server), settings);
}

/// Otherwise the user would have no permission at all.
#[test]
fn upgrade_drops_only_the_rules_for_commands_that_the_new_library_lacks() {
    let server = with_users();
    let before = users(&server);
    let () = server.ask("ACL SETUSER app +cl.throttle");
    let mut options = options(&server);
    options[3].clear();
    let other = other_build(&server);
    let (done, said) = upgrade(other.to_str().expect("UTF-8"), &options);
    assert!(
        done && said
            .to_lowercase()
            .contains("user app: the rule +cl.throttle is dropped"),
        "{said}"
    );
    assert_eq!(users(&server), before);
}

#[test]
fn removal_keeps_the_server_the_keys_and_all_other_rules() {
    let mut server = with_users();
    let waiting = waiting_clients(&server);
    let before = server.contents();
    let mut options = options(&server);
    options.extend(["--user", "ops", "--pass", "secret", "--no-auth-warning"].map(String::from));
    let (done, said) = upgrade("--remove", &options);
    assert!(done, "{said}");
    assert_cut_off(waiting);
    let error = server.connection().error("RL.TAKE k 1/d 5");
    assert!(error.contains("unknown command"), "{error}");
    let rules = users(&server);
    let names_module = |word: &String| word.contains("rl.");
    assert!(!rules.iter().flatten().any(names_module), "{rules:?}");
    let app = &rules[0];
    assert!(
        app.contains(&"+ping".into()) && app.contains(&"-@all".into()),
        "{rules:?}"
    );
    let () = server.ask("CONFIG REWRITE");
    assert!(server.alive());
    assert_equal(&before, &server.contents());
}

/// The module's event subscriptions are not called while it is unloaded.
#[test]
fn server_without_its_module_saves_and_changes_role() {
    let server = launch().start();
    server.take("k 1/d 5");
    let _: Value = server.ask("RL.WTAKE fixed 5 30d");
    let _: Value = server.ask("RL.WTAKE sliding 5 SLIDING 30d");
    let () = server.ask("MODULE UNLOAD rl");
    let _: Value = server.ask("BGSAVE");
    server.wait_for_no_save();
    let () = server.ask("REPLICAOF 127.0.0.1 1");
    let () = server.ask("REPLICAOF NO ONE");
    let library = module();
    let () = server.call(&["MODULE", "LOAD", library.to_str().expect("UTF-8")]);
    assert_eq!(server.take("k 1/d 5")[..3], [1, 5, 3]);
    for window in ["fixed 5 DAY", "sliding 5 SLIDING 30d"] {
        let reply: [i64; 5] = server.ask(&format!("RL.WTAKE {window}"));
        assert_eq!(reply[..3], [1, 5, 3], "{window}");
    }
}

/// Replicas first, then the one that is promoted in their master's place.
#[test]
fn servers_are_upgraded_one_by_one() {
    let old = with_user();
    let new = with_user();
    new.replicate(&old);
    new.wait_for_link();
    let mut dice = Dice::new(21);
    traffic::run(&old, &mut dice, 500);
    exchange(&new, &other_build(&new));
    traffic::run(&old, &mut dice, 500);
    new.wait_for(&old);
    old.fail_over_to(&new);
    old.wait_for_link();
    traffic::run(&new, &mut dice, 500);
    old.wait_for(&new);
    assert_equal(&new.contents(), &old.contents());
}

/// If the configuration names the module's commands, the server needs the module to start.
#[test]
fn acl_rules_in_the_configuration_prevent_a_start_without_the_module() {
    let mut server = with_user();
    let () = server.ask("CONFIG REWRITE");
    server.kill();
    let file = server.dir().join("rl.conf");
    let text = fs::read_to_string(&file).expect("a configuration");
    let user: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("user app"))
        .collect();
    assert!(user.len() == 1 && names_take(&text), "{text}");
    let copy = server.dir().join("copy.conf");
    fs::write(&copy, user[0]).expect("a configuration");
    let started = Launch::default()
        .without_module()
        .configuration(&copy)
        .try_start();
    let Err(log) = started else {
        panic!("it starts");
    };
    assert!(log.to_lowercase().contains("+rl."), "{log}");
}
