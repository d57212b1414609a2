//! The module is replaced while callers wait.
//!
//! `REDIS_RL_WAIT_UPGRADES` sets how often (3): `scripts/wait_upgrade.sh`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::{assert_unloads, wait_until_waiting};
use crate::common::{module, wait_until};
use crate::support::node::launch;
use crate::support::{Ask, Reply};
use crate::upgrade::{exchange, other_build};

fn upgrades() -> usize {
    let text = std::env::var("REDIS_RL_WAIT_UPGRADES").unwrap_or_else(|_| "3".into());
    text.parse().expect("a number")
}

#[test]
fn module_is_replaced_under_callers_that_reconnect_and_wait() {
    let mut server = launch().start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE kept 1 1h me");
    let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let other = other_build(&server);
    thread::scope(|scope| {
        for n in 0..30 {
            let (server, stop, served) = (&server, &stop, &served);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // A closed connection is replaced.
                    let Ok(mut c) = server.client().get_connection() else {
                        continue;
                    };
                    let mut acquire = redis::cmd("RL.ACQUIRE");
                    let token = n.to_string();
                    acquire.arg(&["k", "3", "500ms", &token, "WAIT", "300"]);
                    while !stop.load(Ordering::Relaxed) {
                        let Ok(reply) = acquire.query::<Reply>(&mut c) else {
                            break;
                        };
                        served.fetch_add(reply[0] as u64, Ordering::Relaxed);
                        let mut release = redis::cmd("RL.RELEASE");
                        if release.arg(&["k", &token]).query::<i64>(&mut c).is_err() {
                            break;
                        }
                    }
                }
            });
        }
        let module = module();
        let builds = [&other, &module].into_iter().cycle();
        for build in builds.take(upgrades()) {
            let before = served.load(Ordering::Relaxed);
            wait_until("callers are served", || {
                served.load(Ordering::Relaxed) > before + 100
            });
            exchange(&server, build);
        }
        let before = served.load(Ordering::Relaxed);
        wait_until("callers are served", || {
            served.load(Ordering::Relaxed) > before + 100
        });
        stop.store(true, Ordering::Relaxed);
    });
    assert!(server.alive());
    let [taken, .., wait_ms, _] = server.ask::<Reply>("RL.ACQUIRE kept 1 1h me NX");
    assert!(taken == 0 && wait_ms > 3_000_000, "the lease was lost");
    wait_until_waiting(&server, 0);
    assert_unloads(&server);
}
