//! A server whose clock moves.

use std::sync::OnceLock;
use std::time::Instant;

use crate::common::{root, Launch, Server};
use crate::support::{expires_at, stored, Ask, Reply};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

pub fn with_clock() -> Server {
    launch_with_clock().start()
}

/// Launches the server under test, or another one if that does not start under libfaketime.
pub fn launch_with_clock() -> Launch {
    static LAUNCH: OnceLock<Launch> = OnceLock::new();
    let launch = LAUNCH.get_or_init(|| {
        let under_test = Launch::default().with_clock();
        let Err(log) = under_test.clone().try_start() else {
            return under_test;
        };
        let other = root().join("target/servers/redis-6.2");
        assert!(
            other.exists(),
            "{} is missing: run scripts/servers.sh",
            other.display()
        );
        println!("the server under test does not start under libfaketime; redis-6.2 does\n{log}");
        under_test.binary(other)
    });
    launch.clone()
}

#[test]
fn the_clock_can_be_moved() {
    let server = with_clock();
    let mut c = server.connection();
    let mut seconds = || c.ask::<(i64, i64)>("TIME").0;
    let start = seconds();
    server.set_clock(-HOUR);
    let behind = seconds();
    assert!((start - HOUR..start).contains(&behind), "{start} {behind}");
    server.set_clock(DAY);
    assert!(seconds() >= start + DAY);
}

#[test]
fn clock_step_back_locks_out_no_longer_than_a_refill() {
    let server = with_clock();
    let mut c = server.connection();
    let call = "k 1/m 10";
    assert_eq!(c.take("k 1/m 10 COST 10")[..3], [10, 10, 0]);
    server.set_clock(-HOUR);
    let [taken, _, remaining, wait_ms, reset_ms] = c.take(call);
    assert_eq!((taken, remaining), (0, 0));
    assert!((1..=60_000).contains(&wait_ms), "wait {wait_ms} ms");
    assert!((1..=600_000).contains(&reset_ms), "reset {reset_ms} ms");

    // It refills from that moment on, although its clock is still behind.
    server.set_clock(-HOUR + 61);
    assert_eq!(c.take(call)[..2], [1, 10]);
    server.set_clock(-HOUR + 61 + 600);
    assert_eq!(c.take("k 1/m 10 COST 10")[..2], [10, 10]);
}

#[test]
fn available_tokens_are_admitted_after_a_clock_step_back() {
    let server = with_clock();
    let mut c = server.connection();
    assert_eq!(c.take("k 1/h 10 COST 4")[2], 6);
    server.set_clock(-DAY);
    assert_eq!(c.take("k 1/h 10 COST 6")[..3], [6, 10, 0]);
    let (updated_at, _) = stored(&mut c, "k");
    let (seconds, _): (u64, u64) = c.ask("TIME");
    assert!(updated_at / 1_000_000_000 <= seconds);
    let full_at = i64::try_from(seconds).expect("a time") * 1_000 + 10 * HOUR * 1_000;
    let slack = 10 * HOUR * 1_000 / 16;
    assert!((expires_at(&mut c, "k") - full_at - slack).abs() < 60_000);
}

#[test]
fn refill_uses_the_rate_of_the_current_call() {
    let server = with_clock();
    let mut c = server.connection();
    assert_eq!(c.take("k 1/d 10 COST 10")[2], 0);
    server.set_clock(2 * HOUR);
    assert_eq!(c.take("k 1/d 10")[0], 0);
    assert_eq!(c.take("k 3/h 10")[..3], [1, 10, 5]);
    server.set_clock(2 * HOUR + DAY);
    assert_eq!(c.take("k 1/h 10 COST 10")[..3], [10, 10, 0]);
}

/// A clock ten seconds ahead adds ten seconds of tokens. A clock ten seconds behind adds none, and
/// nobody waits longer than for a refill from then on.
#[test]
fn promoted_replica_with_another_clock_keeps_the_limit() {
    for seconds in [10, -10] {
        let mut master = launch_with_clock().start();
        let heir = master.attach(launch_with_clock());
        heir.set_clock(seconds);
        let started = Instant::now();
        master.take("k 1 100 COST 100");
        heir.wait_for(&master);
        master.kill();
        let () = heir.ask("REPLICAOF NO ONE");
        let [taken, _, _, wait_ms, _] = heir.take("k 1 100 COST 100 ATMOST");
        let passed = i64::try_from(started.elapsed().as_secs()).expect("a time") + 1;
        let ahead = seconds.max(0);
        assert!((ahead..=ahead + passed).contains(&taken), "{taken}");
        assert!((0..=1_000).contains(&wait_ms), "{wait_ms}");
        heir.take("k 1 100");
        heir.set_clock(seconds + 2);
        let [taken, ..] = heir.take("k 1 100 COST 2");
        assert_eq!(taken, 2);
    }
}

#[test]
fn after_a_step_back_what_takes_nothing_writes_nothing() {
    let server = launch_with_clock()
        .module_arguments(&["CL.THROTTLE"])
        .start();
    let mut c = server.connection();
    c.take("k 1/h 5 COST 5");
    c.take("full 1/h 5 COST 5");
    server.set_clock(-600);
    for (words, key) in [
        ("CL.THROTTLE k 4 1 3600 0", "k"),
        ("RL.GIVE k 1/h 0", "k"),
        ("RL.GIVE k 1/h 5 COST 0", "k"),
        ("RL.TAKE full 1/h 0 COST 0", "full"),
    ] {
        let before = stored(&mut c, key);
        let _: redis::Value = c.ask(words);
        assert_eq!(stored(&mut c, key), before, "{words}");
    }
    c.take("k 1/h 5");
    let (updated_at, _) = stored(&mut c, "k");
    assert!(
        updated_at < stored(&mut c, "full").0,
        "a denied take still does"
    );
}

#[test]
fn clock_step_shifts_lease_ends_and_a_dead_holders_slot_is_freed() {
    let server = launch_with_clock().start();
    let mut c = server.connection();
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 1 60s holder")[0], 1);
    // Back by a minute: it ends a minute later, and not more.
    server.set_clock(-60);
    let [taken, .., wait_ms, _] = c.ask::<Reply>("RL.ACQUIRE k 1 60s heir");
    assert_eq!(taken, 0);
    assert!((60_000..=120_000).contains(&wait_ms), "{wait_ms}");
    server.set_clock(61);
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 1 60s heir")[..3], [1, 1, 0]);
    assert_eq!(c.ask::<i64>("RL.RENEW k 60s holder"), 0);
}
