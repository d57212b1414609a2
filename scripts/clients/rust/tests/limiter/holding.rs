//! A slot, and an estimate, that are held while a body runs.

use std::cell::Cell;
use std::future::Future;

use redis_rl_client::{NotHeld, NotReserved, Reservation};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const TTL: Duration = Duration::from_millis(1500);

async fn held(server: &Server) -> i64 {
    leases(server, "jobs 5").await[0]
}

/// Returns the integers of RL.LEASES.
async fn leases(server: &Server, words: &str) -> Vec<i64> {
    let reply: Vec<redis::Value> = ask(server, &format!("RL.LEASES {words}"));
    let integers = reply.into_iter();
    integers
        .map(|value| redis::from_redis_value(value).unwrap_or(-1))
        .collect()
}

/// Runs a future until its body has begun, and drops it.
async fn drop_when(begun: &Notify, body: impl Future) {
    tokio::select! {
        _ = body => panic!("the body ended"),
        () = begun.notified() => {}
    }
}

#[tokio::test]
async fn slot_is_renewed_while_its_body_runs_and_released() {
    let server = Server::start();
    let limits = limiter(server.port(), PATIENT).await;
    // It doubles after each attempt in which the machine stalled.
    let next_ttl = Cell::new(TTL);
    until(
        "nothing stalls for a third of a ttl while a slot is renewed",
        || async {
            let ttl = next_ttl.replace(2 * next_ttl.get());
            let _: i64 = ask(&server, "DEL jobs");
            let stalls = Stalls::new(ttl);
            let body = async {
                let start = Instant::now();
                while start.elapsed() < ttl * 5 / 2 {
                    let is_held = held(&server).await == 1;
                    assert!(stalls.happened() || is_held);
                    sleep(Duration::from_millis(20)).await;
                }
                let second = limits.slot("jobs", 1, ttl).hold(async {}).await;
                let is_full = matches!(second, Err(NotHeld::Full(full)) if full.limit == 1);
                assert!(stalls.happened() || is_full);
                7
            };
            let done = limits.slot("jobs", 1, ttl).hold(body).await;
            if stalls.happened() && done.is_err() {
                return false;
            }
            assert_eq!(done.expect("a slot"), 7);
            assert_eq!(held(&server).await, 0);
            true
        },
    )
    .await;
}

/// Detects pauses of more than a third of a slot's ttl: the slot may have ended meanwhile.
struct Stalls {
    ttl: Duration,
    last: Cell<Instant>,
    longest: Cell<Duration>,
}

impl Stalls {
    fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            last: Cell::new(Instant::now()),
            longest: Cell::default(),
        }
    }

    fn happened(&self) -> bool {
        let since = self.last.replace(Instant::now()).elapsed();
        self.longest.set(self.longest.get().max(since));
        self.longest.get() > self.ttl / 3
    }
}

#[tokio::test]
async fn slot_of_a_future_that_is_dropped_is_released() {
    let server = Server::start();
    let limits = limiter(server.port(), PATIENT).await;
    let begun = Notify::new();
    let body = async {
        begun.notify_one();
        std::future::pending::<()>().await
    };
    drop_when(&begun, limits.slot("jobs", 1, HOUR).hold(body)).await;
    until("it is released", || async { held(&server).await == 0 }).await;
}

#[tokio::test]
async fn body_is_dropped_when_its_slot_is_lost() {
    let server = Server::start();
    let limits = limiter(server.port(), PATIENT).await;
    let deleted = limits.slot("jobs", 1, TTL).hold(async {
        let _: i64 = ask(&server, "DEL jobs");
        std::future::pending::<()>().await
    });
    assert!(matches!(deleted.await, Err(NotHeld::Lost)));

    let wire = Wire::to(server.port());
    let settings = Settings {
        log: |_| {},
        ..Settings::default()
    };
    let limits = limiter(wire.port, settings).await;
    // On a busy machine the server may not answer in time.
    until("a slot is held and lost", || async {
        wire.release();
        let silent = limits.slot("others", 1, TTL).hold(async {
            wire.hold();
            std::future::pending::<()>().await
        });
        matches!(silent.await, Err(NotHeld::Lost))
    })
    .await;
}

#[tokio::test]
async fn slot_is_waited_for_in_the_server() {
    let server = Server::start();
    let limits = limiter(server.port(), PATIENT).await;
    let order = Mutex::new(Vec::new());
    let line = async |wait| {
        let slot = limits.slot("jobs", 1, HOUR);
        slot.wait(connection(server.port()).await, wait)
    };
    let waits = async || leases(&server, "jobs 1").await[6];
    let first = limits.slot("jobs", 1, HOUR).hold(async {
        let second = line(Duration::from_secs(50)).await;
        // Meanwhile the slot is held.
        let denied = line(Duration::from_millis(100)).await.hold(async {}).await;
        assert!(matches!(denied, Err(NotHeld::Full(_))));
        second
    });
    let second = first.await.expect("a slot");
    let (first, second) = tokio::join!(
        limits.slot("jobs", 1, HOUR).hold(async {
            until("somebody waits", || async { waits().await == 1 }).await;
            order.lock().expect("no panic").push("first");
        }),
        async {
            until("the first holds it", || async { held(&server).await == 1 }).await;
            let body = async { order.lock().expect("no panic").push("second") };
            second.hold(body).await
        },
    );
    first.and(second).expect("both had it");
    assert_eq!(*order.lock().expect("no panic"), ["first", "second"]);
}

const LIMITS: &str = "{u}:tpm 1/d 20000";
const HOLDS: &str = "{u}:holds";

fn estimate(cost: u64) -> Vec<Limit> {
    vec![
        Limit::bucket("{u}:tpm", &rate("1/d"), 20_000, cost),
        Limit::window("{u}:month", 2_000_000, "30d", cost),
        Limit::lease("{u}:run", 5, HOUR, "req"),
    ]
}

/// Returns the tokens missing, the month's use, the slots held and the open holds.
async fn state(server: &Server) -> [i64; 4] {
    let [_, _, tokens, ..]: [i64; 5] = ask(server, &format!("RL.PEEK {LIMITS}"));
    let [_, _, month, ..]: [i64; 5] = ask(server, "RL.WPEEK {u}:month 2000000 30d");
    let slots = leases(server, "{u}:run 5").await[0];
    let holds: Vec<redis::Value> = ask(server, &format!("RL.HOLDS {HOLDS}"));
    let open = redis::from_redis_value(holds[0].clone()).expect("a number");
    [20_000 - tokens, 2_000_000 - month, slots, open]
}

async fn done(reservation: Reservation, used: u64) -> Result<(), String> {
    reservation.used("{u}:tpm", used);
    reservation.used("{u}:month", used);
    Ok(())
}

#[tokio::test]
async fn estimate_is_settled_by_what_was_used_or_else_by_its_cost() {
    let server = Server::start();
    let limits = limiter(server.port(), PATIENT).await;
    let reserve = || limits.reserve(estimate(1500), HOLDS, HOUR);
    let body = async |reservation| {
        assert_eq!(state(&server).await, [1500, 1500, 1, 1]);
        let holds = limits.holds(HOLDS, 10).await.expect("holds");
        let held = [("{u}:tpm".into(), 1500), ("{u}:month".into(), 1500)];
        assert_eq!((holds.open, holds.holds[0].charge), (1, true));
        assert_eq!(holds.holds[0].held, held);
        done(reservation, 1120).await
    };
    reserve()
        .else_charge()
        .run(body)
        .await
        .expect("it is settled");
    assert_eq!(state(&server).await, [1120, 1120, 0, 0]);
    let nothing = |_| async { Ok::<_, String>(()) };
    reserve().run(nothing).await.expect("it is settled");
    assert_eq!(state(&server).await, [2620, 2620, 0, 0]);
}

#[tokio::test]
async fn estimate_of_a_body_that_fails_or_is_dropped_is_refunded() {
    let server = Server::start();
    let limits = limiter(server.port(), PATIENT).await;
    let reserve = || limits.reserve(estimate(1500), HOLDS, HOUR);
    let failed = reserve().run(|_| async { Err::<(), _>("mine") }).await;
    assert!(matches!(failed, Err(NotReserved::Body("mine"))));
    assert_eq!(state(&server).await, [0, 0, 0, 0]);
    let begun = Notify::new();
    let body = reserve().run(async |_| {
        begun.notify_one();
        std::future::pending::<Result<(), String>>().await
    });
    drop_when(&begun, body).await;
    until("it is refunded", || async {
        state(&server).await == [0; 4]
    })
    .await;
}

#[tokio::test]
async fn amounts_used_by_a_failed_or_dropped_body_are_charged() {
    let server = Server::start();
    let limits = limiter(server.port(), PATIENT).await;
    let reserve = || limits.reserve(estimate(1500), HOLDS, HOUR);
    let fails = async |reservation: Reservation| {
        reservation.used("{u}:tpm", 700);
        Err::<(), _>("mine")
    };
    let failed = reserve().run(fails).await;
    assert!(matches!(failed, Err(NotReserved::Body("mine"))));
    assert_eq!(state(&server).await, [700, 0, 0, 0]);
    let begun = Notify::new();
    let body = reserve().run(async |reservation| {
        done(reservation, 3).await?;
        begun.notify_one();
        std::future::pending::<Result<(), String>>().await
    });
    drop_when(&begun, body).await;
    until("it is settled", || async {
        state(&server).await == [703, 3, 0, 0]
    })
    .await;
}

#[tokio::test]
async fn amount_used_of_a_key_without_a_limit_is_an_error() {
    let server = Server::start();
    let limits = limiter(server.port(), PATIENT).await;
    for (at, key) in ["{u}:tmp", "{u}:run"].into_iter().enumerate() {
        let body = async |reservation: Reservation| {
            reservation.used("{u}:month", 0);
            reservation.used(key, 1);
            Ok::<_, String>(())
        };
        let reserved = limits.reserve(estimate(1500), HOLDS, HOUR).run(body).await;
        assert!(matches!(&reserved, Err(NotReserved::Stray(stray)) if stray == key));
        assert_eq!(state(&server).await, [1500 * (at as i64 + 1), 0, 0, 0]);
    }
}

#[tokio::test]
async fn estimate_that_is_denied_charges_nothing_and_leaves_no_hold() {
    let server = Server::start();
    let limits = limiter(server.port(), PATIENT).await;
    let reserved = limits.reserve(estimate(20_001), HOLDS, HOUR);
    match reserved.run(|reservation| done(reservation, 1)).await {
        Err(NotReserved::Denied(denied)) => {
            let each = denied.each.iter().map(|one| one.allowed);
            assert_eq!(each.take(3).collect::<Vec<_>>(), [false, true, true]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(state(&server).await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn lost_replies_charge_once_and_settle_once() {
    let server = Server::start();
    let wire = Wire::to(server.port());
    let limits = limiter(wire.port, PATIENT).await;
    limits.peek("k", &rate("1"), 1, 1).await.expect("an answer");
    wire.lose_one(); // The reply of RL.ALL.
    let body = async |reservation| {
        assert_eq!(state(&server).await, [1500, 1500, 1, 1]);
        wire.lose_one(); // The reply of RL.SETTLE.
        done(reservation, 1000).await
    };
    let reserved = limits.reserve(estimate(1500), HOLDS, HOUR);
    reserved.run(body).await.expect("it is settled");
    until("it is settled", || async {
        state(&server).await == [1000, 1000, 0, 0]
    })
    .await;
}

#[tokio::test]
async fn hold_is_repeated_and_its_end_drops_the_body() {
    let server = Server::start();
    let limits = limiter(server.port(), PATIENT).await;
    // A process that stalls for two thirds of it may lose the hold.
    let ttl = Duration::from_secs(9);
    let reserved = limits.reserve(estimate(5), HOLDS, ttl);
    let body = async |_| {
        let before = std::cell::Cell::new(i64::MAX);
        until("a repeat moves the deadline", || async {
            let holds = limits.holds(HOLDS, 1).await.expect("holds");
            let left = holds.holds[0].left_ms;
            before.replace(left) < left
        })
        .await;
        let all = estimate(5);
        let hold = Limit::hold(HOLDS, ttl, "mine");
        let amounts = [(&all[0], 7), (&all[1], 7), (&all[2], 0), (&hold, 0)];
        let settled = limits.settle(&amounts).await.expect("a settlement");
        assert_eq!((settled.state, &settled.each[..3]), (1, &[2, 2, 1][..]));
        std::future::pending::<Result<(), String>>().await
    };
    let ended = reserved.id("mine").run(body).await;
    assert!(matches!(ended, Err(NotReserved::Ended)), "{ended:?}");
    assert_eq!(state(&server).await, [7, 7, 0, 0]);
}

#[tokio::test]
async fn hold_that_is_not_known_any_more_is_charged_by_force() {
    let server = Server::start();
    let limits = limiter(server.port(), PATIENT).await;
    let body = async |reservation| {
        let _: () = ask(&server, "FLUSHALL");
        done(reservation, 10).await
    };
    let reserved = limits.reserve(estimate(1500), HOLDS, HOUR);
    reserved.run(body).await.expect("it is settled");
    assert_eq!(state(&server).await, [10, 10, 0, 0]);
}
