//! Waiting callers on a server whose clock steps.

use std::time::{Duration, Instant};

use redis::Connection;

use super::{holders, joined, wait_until_waiting, waiting};
use crate::clock::{launch_with_clock, with_clock};
use crate::common::wait_until;
use crate::support::{Ask, Reply};

/// The step of the clock, in seconds: longer than a test waits for a condition.
const STEP: i64 = 3_600;
const WAIT: Duration = Duration::from_millis(1_500);

#[test]
fn clock_steps_neither_shorten_nor_extend_a_wait() {
    let server = with_clock();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 1 30d a");
    for (before, after) in [(0, -STEP), (-STEP, 0), (0, STEP), (STEP, 0)] {
        wait_until("the clock steps during a wait", || {
            server.set_clock(before);
            let start = Instant::now();
            let mut waiter = joined(&server, &format!("k 1 1h b WAIT {}", WAIT.as_millis()));
            server.set_clock(after);
            let waits = server.count("rl_lease_waiting") == 1;
            wait_until_waiting(&server, 0);
            assert!(!waiter.taken());
            let took = start.elapsed();
            assert!(took >= WAIT, "from {before} to {after}: {took:?}");
            waits
        });
    }
}

/// Waits until this token has the slot, and no longer than a test may: a timer that follows a clock
/// which was set back is late by an hour.
fn wait_until_held_by(c: &mut Connection, token: &str) {
    wait_until("the slot is granted", || holders(c, "k") == [token]);
}

#[test]
fn lease_that_ends_by_a_clock_step_is_granted_to_a_waiter() {
    let server = with_clock();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    let mut waiter = waiting(&server, "k 1 2h b WAIT 60000");
    server.set_clock(3_700);
    wait_until_held_by(&mut c, "b");
    assert!(waiter.taken());
    // After a step back, changes by hand are still found.
    let mut waiter = waiting(&server, "k 1 1h c WAIT 60000");
    server.set_clock(0);
    c.ask::<()>("ZREM k b");
    wait_until_held_by(&mut c, "c");
    assert!(waiter.taken());
    wait_until_waiting(&server, 0);
}

/// A timer that follows a clock which was set back, and is left behind, would run in a library that
/// is gone.
#[test]
fn no_timer_outlives_the_module_after_a_clock_step() {
    let mut launch = launch_with_clock();
    let guard: Vec<String> = with_clock().ask("CONFIG GET enable-module-command");
    if !guard.is_empty() {
        launch = launch.with(&["--enable-module-command", "yes"]);
    }
    let mut server = launch.start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    wait_until("the clock steps during a wait", || {
        server.set_clock(0);
        let mut waiter = joined(&server, &format!("k 1 1h b WAIT {}", WAIT.as_millis()));
        server.set_clock(-3_600);
        let waits = server.count("rl_lease_waiting") == 1;
        wait_until_waiting(&server, 0);
        assert!(!waiter.taken());
        waits
    });
    c.ask::<()>("MODULE UNLOAD rl");
    server.set_clock(3_600);
    c.ask::<()>("PING");
    assert!(server.alive());
}
