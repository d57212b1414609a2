//! One build of the module makes way for another while clients go on.

use std::fs;
use std::path::{Path, PathBuf};

use redis::Value;

use crate::common::{module, wait_until, Server};
use crate::support::node::{assert_equal, launch, Contents};
use crate::support::takers::{assert_between, Taken, Takers, KEYS};
use crate::support::traffic::{self, Dice};

/// What a client sees while no build is loaded.
fn is_unknown_command(error: &str) -> bool {
    error.contains("unknown command")
}

/// The buckets that the clients do not touch.
fn at_rest(server: &Server) -> Contents {
    let mut contents = server.contents();
    contents.retain(|key, _| key.starts_with(b"bucket:"));
    contents
}

/// A library that the server takes for another build.
fn other_build(server: &Server) -> PathBuf {
    let path = server.dir().join("other_build.so");
    fs::copy(module(), &path).expect("a copy of the library");
    path
}

fn assert_runs(server: &Server, build: &Path) {
    let process = server.count("process_id");
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).expect("a process");
    assert!(maps.contains(build.to_str().expect("UTF-8")));
}

/// Redis 8 reuses a client's last command without looking it up, even if its module is gone and
/// the memory with it: there a plain unload under load is not safe, whatever the module.
fn looks_every_command_up(server: &Server) -> bool {
    let [redis, valkey] = server.info(["redis_version", "valkey_version"]);
    !valkey.is_empty() || !redis.starts_with('8')
}

#[test]
fn builds_replace_each_other_under_load() {
    let server = launch().start();
    // The module is nothing that a replica needs.
    let replica = server.attach(launch().without_module());
    traffic::run(&server, &mut Dice::new(20), 500);
    let before = at_rest(&server);
    let (least, most) = exchange_often(&server, |build| {
        let takers = Takers::with_refusals(&server, is_unknown_command);
        takers.pass(200);
        if looks_every_command_up(&server) {
            unload_then_load(&server, &takers, build);
            takers.pass(200);
        } else {
            exchange(&server, build);
        }
        takers.stop()
    });
    assert_between(&server, &least, &most);
    assert_equal(&before, &at_rest(&server));
    replica.wait_for(&server);
    assert_equal(&server.contents(), &replica.contents());
}

/// Up and down and up again: the least and the most that was taken in all.
fn exchange_often(server: &Server, exchange: impl Fn(&Path) -> (Taken, Taken)) -> (Taken, Taken) {
    let other = other_build(server);
    let (mut least, mut most) = ([0; KEYS], [0; KEYS]);
    for build in [&other, &module(), &other, &module()] {
        let (taken, asked) = exchange(build);
        assert_runs(server, build);
        add(&mut least, &taken);
        add(&mut most, &asked);
    }
    (least, most)
}

fn unload_then_load(server: &Server, takers: &Takers, build: &Path) {
    let () = server.ask("MODULE UNLOAD rl");
    let refused = takers.refused();
    wait_until("clients see it", || takers.refused() > refused);
    // What the module asked to be told of is told to nobody now.
    server.wait_for_no_save();
    let _: Value = server.ask("BGSAVE");
    server.wait_for_no_save();
    let build = build.to_str().expect("UTF-8");
    let () = server.call(&["MODULE", "LOAD", build, "CL.THROTTLE"]);
}

/// In one step, which no client sees but by its connection, which is cut.
fn exchange(server: &Server, build: &Path) {
    let build = build.to_str().expect("UTF-8");
    let mut together = redis::pipe();
    together.atomic();
    together.cmd("CLIENT").arg(&["KILL", "TYPE", "normal"]);
    together.cmd("MODULE").arg(&["UNLOAD", "rl"]);
    together.cmd("MODULE").arg(&["LOAD", build, "CL.THROTTLE"]);
    let () = together.query(&mut server.connection()).expect("no error");
}

fn add(sum: &mut Taken, more: &Taken) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

/// Clients lose their connection and nothing else: no call fails.
#[test]
fn builds_are_exchanged_in_one_step() {
    let server = launch().start();
    traffic::run(&server, &mut Dice::new(22), 500);
    let before = at_rest(&server);
    let (least, most) = exchange_often(&server, |build| {
        let takers = Takers::on(&server);
        takers.pass(200);
        exchange(&server, build);
        takers.stop()
    });
    assert_between(&server, &least, &most);
    assert_equal(&before, &at_rest(&server));
}

/// Replicas first, then the one that is promoted in their master's place.
#[test]
fn servers_are_upgraded_in_turn() {
    let old = launch().start();
    let new = old.attach(launch());
    let mut dice = Dice::new(21);
    traffic::run(&old, &mut dice, 500);
    let () = new.ask("MODULE UNLOAD rl");
    traffic::run(&old, &mut dice, 500);
    let library = module();
    let library = library.to_str().expect("UTF-8");
    let () = new.call(&["MODULE", "LOAD", library, "CL.THROTTLE"]);
    traffic::run(&old, &mut dice, 500);
    new.wait_for(&old);
    let port = new.port().to_string();
    let () = old.call(&["FAILOVER", "TO", "127.0.0.1", &port]);
    wait_until("the roles have changed", || {
        new.info(["role"]) == ["master"]
    });
    old.wait_for_link();
    traffic::run(&new, &mut dice, 500);
    old.wait_for(&new);
    assert_equal(&new.contents(), &old.contents());
}
