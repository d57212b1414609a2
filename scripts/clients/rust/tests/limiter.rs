//! The limiter against a real server: its calls, and what happens when the server does not answer.

#[path = "../../../../tests/common/mod.rs"]
mod common;
#[path = "limiter/fallback.rs"]
mod fallback;
#[path = "limiter/holding.rs"]
mod holding;
#[path = "limiter/local.rs"]
mod local;
mod wire;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Launch, Server};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis_rl_client::{Error, Limit, Limiter, OnError, Options, Rate, Settings, Source};
use wire::Wire;

type Connected = Limiter<ConnectionManager>;

/// More than any reply takes on a busy machine.
const PATIENT: Settings = Settings {
    timeout: Duration::from_secs(30),
    on_error: OnError::Local,
    share: 1.0,
    in_flight: 64,
    fallback: None,
    log: |_| {},
};

async fn limiter(port: u16, settings: Settings) -> Connected {
    Limiter::new(connection(port).await, settings)
}

async fn connection(port: u16) -> ConnectionManager {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).expect("an address");
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(Duration::from_secs(60)))
        .set_response_timeout(Some(Duration::from_secs(60)));
    let connection = ConnectionManager::new_with_config(client, config).await;
    connection.expect("a connection")
}

fn rate(text: &str) -> Rate {
    text.parse().expect("a rate")
}

/// Returns a day, as a window's words, that neither begins nor ends within ten hours of now.
fn mid_day() -> String {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let hour = since.expect("a time after 1970").as_secs() / 3600 % 24;
    format!("DAY OFFSET {:+03}:00", 12 - hour as i64)
}

fn ask<T: redis::FromRedisValue>(server: &Server, words: &str) -> T {
    let mut command = redis::Cmd::new();
    command.arg(words.split(' ').collect::<Vec<_>>());
    command.query(&mut server.connection()).expect("a reply")
}

fn pid(server: &Server) -> String {
    let info: String = ask(server, "INFO server");
    let pid = info
        .lines()
        .find_map(|line| line.strip_prefix("process_id:"));
    pid.expect("a process id").trim().to_owned()
}

fn signal(pid: &str, name: &str) {
    let status = std::process::Command::new("kill")
        .args([&format!("-{name}"), pid])
        .status();
    assert!(status.expect("kill runs").success());
}

async fn until<F: std::future::Future<Output = bool>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !condition().await {
        assert!(Instant::now() < deadline, "timed out waiting: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn each_command_has_a_typed_call() {
    let server = Server::start();
    let limits = limiter(server.port(), PATIENT).await;
    let (day, hour) = (rate("1/d"), rate("1/h"));
    let taken = limits
        .take("b", &day, 20, Options::cost(5))
        .await
        .expect("a decision");
    assert_eq!(
        (taken.allowed, taken.taken, taken.remaining, taken.source),
        (true, 5, 15, Source::Server)
    );
    let keep = Options {
        keep: 10,
        ..Options::cost(12)
    };
    assert!(
        !limits
            .take("b", &day, 20, keep)
            .await
            .expect("a decision")
            .allowed
    );
    let at_most = Options {
        at_most: true,
        keep: 3,
        ..Options::cost(99)
    };
    assert_eq!(
        limits
            .take("b", &day, 20, at_most)
            .await
            .expect("a decision")
            .taken,
        12
    );
    let waits = Options {
        max_wait: Some(Duration::from_secs(2 * 3600)),
        ..Options::cost(4)
    };
    let waits = limits
        .take("b", &hour, 20, waits)
        .await
        .expect("a decision");
    assert!(waits.allowed && waits.retry_after > Some(Duration::ZERO));
    let force = Options {
        force: true,
        ..Options::cost(5)
    };
    assert!(
        limits
            .take("b", &hour, 20, force)
            .await
            .expect("a decision")
            .allowed
    );
    assert!(
        !limits
            .peek("b", &hour, 20, 3)
            .await
            .expect("a decision")
            .allowed
    );
    assert_eq!(
        limits
            .take("b", &hour, 20, Options::cost(21))
            .await
            .expect("a decision")
            .retry_after,
        None
    );
    assert_eq!(limits.give("b", &hour, 20, 2).await.expect("a number"), 2);

    let buckets = [("{a}", &hour, 5), ("{a}:b", &hour, 2)];
    assert!(
        limits
            .take_each(&buckets, 2)
            .await
            .expect("decisions")
            .allowed
    );
    let denied = limits.take_each(&buckets, 2).await.expect("decisions");
    assert_eq!(
        denied
            .each
            .iter()
            .map(|one| one.allowed)
            .collect::<Vec<_>>(),
        [true, false]
    );

    let day = &mid_day();
    assert_eq!(
        limits
            .take_window("w", 10, day, Options::cost(4))
            .await
            .expect("a decision")
            .remaining,
        6
    );
    assert!(
        !limits
            .peek_window("w", 10, day, 7)
            .await
            .expect("a decision")
            .allowed
    );
    assert_eq!(
        limits
            .give_window("w", 10, day, 3, None)
            .await
            .expect("a number"),
        3
    );

    let ttl = Duration::from_secs(3600);
    assert_eq!(
        limits
            .acquire("l", 2, ttl, "a", 0)
            .await
            .expect("a decision")
            .remaining,
        1
    );
    assert!(
        !limits
            .acquire("l", 2, ttl, "b", 1)
            .await
            .expect("a decision")
            .allowed
    );
    let leases = limits.leases("l", 2, 10).await.expect("leases");
    assert_eq!(
        (leases.held, leases.remaining, leases.tokens[0].0.as_str()),
        (1, 1, "a")
    );
    assert_eq!(
        limits.renew("l", ttl, &["a", "b"]).await.expect("a number"),
        1
    );
    assert_eq!(limits.release("l", &["a", "b"]).await.expect("a number"), 1);

    let all = [
        Limit::bucket("{u}:rpm", &rate("60/m"), 10, 1),
        Limit::window("{u}:month", 2000, "MONTH", 1500).keep(10),
        Limit::lease("{u}:run", 5, ttl, "req"),
    ];
    assert!(limits.all(&all).await.expect("decisions").allowed);
    let repeated = limits.all(&all).await.expect("decisions");
    assert_eq!(
        repeated
            .each
            .iter()
            .map(|one| one.taken)
            .collect::<Vec<_>>(),
        [0, 0, 1]
    );
}

#[tokio::test]
async fn missing_module_wrong_type_syntax_and_permission_are_mistakes() {
    static LOG: Mutex<String> = Mutex::new(String::new());
    let log = |line: &str| *LOG.lock().expect("no panic") += line;
    let bare = Launch::default().without_module().start();
    let limits = limiter(bare.port(), Settings { log, ..PATIENT }).await;
    let refused = limits.take("k", &rate("1"), 1, Options::default()).await;
    assert!(
        matches!(&refused, Err(Error::Mistake(error)) if error.to_string().contains("unknown command"))
    );
    assert!(matches!(
        limits.check("limit:check").await,
        Err(Error::Mistake(_))
    ));
    assert_eq!((limits.counts().mistakes, limits.counts().outages), (2, 0));
    assert!(LOG.lock().expect("no panic").contains("unknown command"));

    let server = Server::start();
    let _: i64 = ask(&server, "RPUSH list x");
    let limits = limiter(server.port(), PATIENT).await;
    let take = async |key: &str, cost| {
        let taken = limits.take(key, &rate("1"), 1, Options::cost(cost)).await;
        match taken {
            Err(Error::Mistake(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert!(take("list", 1).await.contains("WRONGTYPE"));
    assert!(take("k", u64::MAX).await.contains("COST"));
    // The connection stays: only its user may no longer.
    let _: () = ask(&server, "ACL SETUSER default -rl.take");
    assert!(take("k", 1).await.to_lowercase().contains("no permissions"));
}

#[tokio::test]
async fn a_server_that_hangs_leaves_the_bucket_in_the_process_and_its_late_denial_is_remembered() {
    let server = Server::start();
    let settings = Settings {
        share: 0.5,
        ..Settings::default()
    };
    let limits = limiter(
        server.port(),
        Settings {
            log: |_| {},
            ..settings
        },
    )
    .await;
    let hour = rate("1/h");
    until("it answers", || async {
        let first = limits
            .take("k", &hour, 1, Options::default())
            .await
            .expect("a decision");
        first.source == Source::Server || first.source == Source::Memory
    })
    .await;
    let pid = pid(&server);
    signal(&pid, "STOP");
    let mut allowed = 0;
    for _ in 0..15 {
        let got = limits
            .take("j", &hour, 20, Options::default())
            .await
            .expect("a decision");
        assert_eq!(got.source, Source::Local);
        allowed += u32::from(got.allowed);
    }
    assert_eq!(allowed, 10);
    signal(&pid, "CONT");
    until("a late denial is remembered", || async {
        signal(&pid, "STOP");
        let take = async || limits.take("k", &hour, 1, Options::default()).await;
        let is_late = take().await.expect("a decision").source == Source::Local;
        let before = limits.counts().answered;
        signal(&pid, "CONT");
        while is_late && limits.counts().answered == before {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // On a busy machine more than the second may have passed.
        is_late && take().await.expect("a decision").source == Source::Memory
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_gone_is_decided_by_the_policy_and_asked_again_when_it_is_back() {
    let mut server = Server::start();
    let hour = rate("1/h");
    for (on_error, expected) in [
        (OnError::Local, [true, true, false]),
        (OnError::Open, [true; 3]),
        (OnError::Closed, [false; 3]),
    ] {
        let settings = Settings {
            on_error,
            log: |_| {},
            ..Settings::default()
        };
        let limits = limiter(server.port(), settings).await;
        server.kill();
        let mut got = [false; 3];
        for one in &mut got {
            *one = limits
                .take("k", &hour, 2, Options::default())
                .await
                .expect("a decision")
                .allowed;
        }
        assert_eq!(got, expected, "{on_error:?}");
        assert!(matches!(
            limits.peek("k", &hour, 2, 1).await,
            Err(Error::Outage(_))
        ));
        server.restart();
        until("it is asked again", || async {
            let got = limits
                .take("k2", &hour, 2, Options::default())
                .await
                .expect("a decision");
            matches!(got.source, Source::Server | Source::Memory)
        })
        .await;
    }
}

#[tokio::test]
async fn full_of_late_calls_decides_at_once() {
    let server = Server::start();
    let wire = Wire::to(server.port());
    let settings = Settings {
        in_flight: 2,
        timeout: Duration::from_millis(200),
        log: |_| {},
        ..Settings::default()
    };
    let limits = limiter(wire.port, settings).await;
    wire.hold();
    let one = rate("1");
    for n in 0..50 {
        let got = limits
            .take(&format!("k{n}"), &one, 1, Options::default())
            .await
            .expect("a decision");
        assert_eq!(got.source, Source::Local);
    }
    // Only those that were sent count as late: nobody else waited. Each place is free again after a while.
    assert!(
        (2..20).contains(&limits.counts().late),
        "{:?}",
        limits.counts()
    );
}

#[tokio::test]
async fn a_take_is_never_sent_again_after_a_lost_reply() {
    let server = Server::start();
    let wire = Wire::to(server.port());
    let limits = limiter(wire.port, PATIENT).await;
    let day = rate("1/d");
    let take = async || {
        limits
            .take("k", &day, 100, Options::default())
            .await
            .expect("a decision")
            .source
    };
    assert_eq!(take().await, Source::Server);
    wire.lose_one();
    assert_eq!(take().await, Source::Local);
    until("it is connected again", || async {
        limits.peek("other", &day, 1, 1).await.is_ok()
    })
    .await;
    let peeked: [i64; 5] = ask(&server, "RL.PEEK k 1/d 100");
    // One whose reply came, one whose reply was lost.
    assert_eq!(100 - peeked[2], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_passes_no_more_than_the_limit() {
    let server = Server::start();
    let limits = limiter(
        server.port(),
        Settings {
            in_flight: 16,
            ..PATIENT
        },
    )
    .await;
    let (passed, limit) = flood(&limits).await;
    let counts = limits.counts();
    assert_eq!((counts.local_allowed, counts.outages), (0, 0));
    assert!(
        passed >= 20 && passed as f64 <= limit * 1.02,
        "{passed} of {limit}"
    );
    assert!(counts.from_memory > counts.answered, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_past_the_time_out_passes_at_most_the_share_more() {
    let server = Server::start();
    let timeout = Duration::from_micros(50);
    let limits = limiter(server.port(), Settings { timeout, ..PATIENT }).await;
    let (passed, limit) = flood(&limits).await;
    assert!(passed as f64 <= limit * 2.0 * 1.02, "{passed} of {limit}");
    assert!(limits.counts().local_allowed as f64 <= limit * 1.02);
}

/// 200 callers at once, for a second, and for 20 calls each. Returns how many passed, and burst + rate × time.
async fn flood(limits: &Connected) -> (u64, f64) {
    let passed = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let (limits, passed) = (limits.clone(), passed.clone());
            tokio::spawn(async move {
                let mut asked = 0;
                while asked < 20 || start.elapsed() < Duration::from_secs(1) {
                    asked += 1;
                    let got = limits
                        .take("flood", &rate("100/m"), 20, Options::default())
                        .await;
                    passed.fetch_add(
                        u64::from(got.expect("a decision").allowed),
                        Ordering::Relaxed,
                    );
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no panic");
    }
    let seconds = start.elapsed().as_secs_f64();
    (
        passed.load(Ordering::Relaxed),
        20.0 + 100.0 / 60.0 * seconds,
    )
}

#[tokio::test]
async fn a_denial_is_remembered_until_its_wait_is_over_for_a_second_at_most() {
    let server = Server::start();
    let limits = limiter(server.port(), PATIENT).await;
    let two = rate("2");
    let take = async |key: &str, rate: &Rate, burst, cost| {
        let taken = limits.take(key, rate, burst, Options::cost(cost)).await;
        taken.expect("a decision")
    };
    take("k", &two, 1, 1).await;
    until("a denial is remembered", || async {
        // On a busy machine the wait may be over before the next call.
        let denied = take("k", &two, 1, 1).await;
        let again = take("k", &two, 1, 1).await;
        again.source == Source::Memory && again.retry_after <= denied.retry_after
    })
    .await;
    until("its wait is over", || async {
        take("k", &two, 1, 1).await.allowed
    })
    .await;

    let hour = rate("1/h");
    take("l", &hour, 5, 4).await;
    let start = Instant::now();
    until("it is remembered", || async {
        take("l", &hour, 5, 3).await.source == Source::Memory
    })
    .await;
    assert_eq!(take("l", &hour, 5, 2).await.source, Source::Server);
    let _: i64 = ask(&server, "DEL l");
    until("the refund is seen", || async {
        take("l", &hour, 5, 2).await.allowed
    })
    .await;
    assert!(start.elapsed() > Duration::from_millis(900));
}
