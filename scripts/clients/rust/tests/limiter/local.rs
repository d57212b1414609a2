//! Batches that are spent in the process.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::SystemTime;

use redis_rl_client::{Decision, Local};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;

const BURST: u64 = 10_000;
const HOLD: f64 = 0.1;

/// Returns how often the server has executed this command.
fn executed(server: &Server, name: &str) -> u64 {
    let stats: String = ask(server, "INFO commandstats");
    let stats = stats.to_lowercase();
    let calls = stats.split_once(&format!("cmdstat_{name}:calls="));
    calls.map_or(0, |(_, rest)| {
        let calls = rest.split(',').next().expect("a number");
        calls.parse().expect("a number")
    })
}

async fn take(local: &Local<ConnectionManager>, rate: &Rate, burst: u64, cost: u64) -> Decision {
    let taken = local.take("k", rate, burst, cost).await;
    taken.expect("a decision")
}

/// Starts this many callers, which take a token each.
fn callers(
    times: usize,
    local: &Local<ConnectionManager>,
    rate: &Rate,
    burst: u64,
) -> JoinSet<Decision> {
    let mut callers = JoinSet::new();
    for _ in 0..times {
        let (local, rate) = (local.clone(), rate.clone());
        callers.spawn(async move { take(&local, &rate, burst, 1).await });
    }
    callers
}

/// Takes a token this many times at once.
async fn take_at_once(local: &Local<ConnectionManager>, times: usize, rate: &Rate) {
    let got = callers(times, local, rate, BURST).join_all().await;
    assert!(got.iter().all(|one| one.allowed));
}

#[tokio::test]
async fn ten_thousand_calls_a_second_cost_at_most_a_hundred_commands() {
    let server = Server::start();
    let local = Local::new(limiter(server.port(), PATIENT).await);
    let (rate, start) = (rate("10000"), Instant::now());
    let (mut passed, mut seconds) = (0, 0.0);
    while seconds < 2.0 || passed <= 1000 {
        if (passed as f64) < 10_000.0 * seconds {
            passed += u64::from(take(&local, &rate, BURST, 1).await.allowed);
        } else {
            sleep(Duration::from_millis(1)).await;
        }
        seconds = start.elapsed().as_secs_f64();
    }
    let sent = executed(&server, "rl.take") + executed(&server, "rl.give");
    assert!(
        sent as f64 <= 100.0 * seconds,
        "{passed} by {sent} in {seconds} s"
    );
}

#[tokio::test]
async fn rest_of_each_batch_is_refunded() {
    let server = Server::start();
    let local = Local::new(limiter(server.port(), PATIENT).await);
    let hour = rate("1/h");
    take_at_once(&local, 1500, &hour).await;
    local.close().await;
    let refunds = executed(&server, "rl.give");
    let [_, _, left, ..]: [u64; 5] = ask(&server, "RL.PEEK k 1/h 10000");
    // Each refund is rounded down.
    assert!(
        refunds > 0 && (1500..=1500 + refunds).contains(&(BURST - left)),
        "{left}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_at_once_share_one_call_in_flight() {
    let server = Server::start();
    let local = Local::new(limiter(server.port(), PATIENT).await);
    take_at_once(&local, 1000, &rate("1/h")).await;
    // Two, unless a busy machine gets a reply too late to spend the batch.
    assert!(executed(&server, "rl.take") < 20);
}

#[tokio::test]
async fn small_burst_and_large_cost_are_decided_by_the_server() {
    let server = Server::start();
    let local = Local::new(limiter(server.port(), PATIENT).await);
    let hour = rate("1/h");
    for n in 0..20 {
        let got = local.take("small", &hour, 15, 1).await.expect("a decision");
        assert_eq!(got.allowed, n < 15);
        assert!(matches!(got.source, Source::Server | Source::Memory));
    }
    take_at_once(&local, 100, &hour).await;
    assert!(take(&local, &hour, BURST, 5000).await.allowed);
    assert!(take(&local, &hour, BURST, 0).await.allowed);
    let denied = take(&local, &hour, BURST, 5000).await;
    assert!(!denied.allowed && denied.retry_after > Some(Duration::from_secs(90 * 3600)));
}

#[tokio::test]
async fn after_a_short_answer_tokens_are_taken_one_call_at_a_time() {
    let server = Server::start();
    let local = Local::new(limiter(server.port(), PATIENT).await);
    let hour = rate("1/h");
    let _: [i64; 5] = ask(&server, "RL.TAKE k 1/h 10000 COST 9500");
    let mut passed = 0;
    let denied = loop {
        let got = take(&local, &hour, BURST, 1).await;
        if !got.allowed {
            break got;
        }
        passed += 1;
    };
    // A batch that a busy machine did not spend in time is back later.
    assert!((251..=500).contains(&passed), "{passed}");
    assert!(denied.retry_after > Some(Duration::from_secs(3000)));
    until("the denial is remembered", || async {
        take(&local, &hour, BURST, 1).await.source == Source::Memory
    })
    .await;
    let _: [i64; 5] = ask(&server, "RL.GIVE k 1/h 10000 COST 100");
    until("the refund is seen", || async {
        take(&local, &hour, BURST, 1).await.allowed
    })
    .await;
    // Until the bucket would be full.
    for _ in 0..50 {
        assert_eq!(take(&local, &hour, BURST, 1).await.source, Source::Server);
    }
}

#[tokio::test]
async fn without_the_server_the_bucket_in_the_process_is_spent() {
    let mut server = Server::start();
    let settings = Settings {
        share: 0.002,
        log: |_| {},
        ..Settings::default()
    };
    let local = Local::new(limiter(server.port(), settings).await);
    server.kill();
    let mut passed = 0;
    for _ in 0..40 {
        passed += u32::from(take(&local, &rate("1/h"), BURST, 1).await.allowed);
    }
    assert_eq!(passed, 20);
}

#[tokio::test]
async fn call_without_an_answer_decides_about_those_that_wait_for_it() {
    let server = Server::start();
    let wire = Wire::to(server.port());
    let settings = Settings {
        log: |_| {},
        ..Settings::default()
    };
    let local = Local::new(limiter(wire.port, settings).await);
    wire.hold();
    let got = callers(100, &local, &rate("1/h"), 7).join_all().await;
    assert!(got.iter().all(|one| one.source == Source::Local));
    assert_eq!(got.iter().filter(|one| one.allowed).count(), 7);
    // One, unless some callers start after its time-out.
    assert!(executed(&server, "rl.take") < 5);
}

#[tokio::test]
async fn caller_that_is_gone_loses_no_batch() {
    let server = Server::start();
    let wire = Wire::to(server.port());
    let (local, hour) = (Local::new(limiter(wire.port, PATIENT).await), rate("1/h"));
    let left = || ask::<[u64; 5]>(&server, "RL.PEEK k 1/h 10000")[2];
    let mut gone = loop {
        wire.hold();
        let (before, callers) = (left(), callers(100, &local, &hour, BURST));
        until("the server takes", || async { left() < before }).await;
        if before - left() > 1 {
            break callers;
        }
        // A busy machine started the callers one by one, and the use was too small for a batch.
        wire.release();
        callers.join_all().await;
        local.close().await;
    };
    gone.shutdown().await;
    let refunds = executed(&server, "rl.give");
    wire.release();
    until("the batch is refunded", || async {
        local.close().await;
        executed(&server, "rl.give") > refunds
    })
    .await;
}

#[tokio::test]
async fn nobody_waits_longer_for_a_turn_than_for_ten_time_outs() {
    let server = Server::start();
    let wire = Wire::to(server.port());
    let settings = Settings {
        timeout: Duration::from_millis(100),
        log: |_| {},
        ..Settings::default()
    };
    let local = Local::new(limiter(wire.port, settings).await);
    wire.delay();
    // So small a burst has no batches, and so high a rate no denials.
    let got = callers(100, &local, &rate("1000000"), 7).join_all().await;
    let from = |source| got.iter().filter(|one| one.source == source).count();
    assert_eq!(from(Source::Server) + from(Source::Local), 100);
    assert!(from(Source::Local) > 0 && executed(&server, "rl.take") < 100);
}

const RATE: u64 = 1200;
const SMALL: u64 = 1600;
const TEST: &str = "local::log_of_every_unit_is_within_the_limit_while_processes_are_killed";
const SPENDER: &str = "REDIS_RL_SPENDER";

/// Each spender is this test in a process of its own.
#[tokio::test]
async fn log_of_every_unit_is_within_the_limit_while_processes_are_killed() {
    if let Ok(arguments) = std::env::var(SPENDER) {
        let (port, log) = arguments.split_once(' ').expect("a port and a file");
        spend_without_end(port.parse().expect("a port"), log).await;
    }
    let server = Server::start();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(server.port().to_string());
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    let mut spenders: Vec<_> = (0..5)
        .map(|n| Spender::start(&server, &folder, n))
        .collect();
    for n in 0..4 {
        for spender in &spenders[n..] {
            until("it spends", || async { spender.units() > 200 }).await;
        }
        spenders[n].kill();
        spenders.push(Spender::start(&server, &folder, n + 5));
    }
    spenders.iter_mut().for_each(Spender::kill);
    let logs = spenders
        .iter()
        .map(|spender| fs::read_to_string(&spender.log));
    let logs: String = logs.map(Result::unwrap_or_default).collect();
    let mut units: Vec<(f64, f64)> = logs
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(before, after)| {
            (
                before.parse().expect("a time"),
                after.parse().expect("a time"),
            )
        })
        .collect();
    let most = excess(&mut units);
    assert!(
        units.len() > 100 && most <= SMALL as f64 + RATE as f64 * HOLD,
        "{most} of {}",
        units.len()
    );
    fs::remove_dir_all(&folder).expect("a folder");
}

/// Returns the least burst b so that in no time t more than b + RATE × t units are certainly spent. A unit is spent
/// at some time between its two.
fn excess(units: &mut [(f64, f64)]) -> f64 {
    units.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let mut most = 0.0_f64;
    for &(start, _) in &*units {
        let mut count = 0.0;
        for (_, end) in units.iter().filter(|(before, _)| *before >= start) {
            count += 1.0;
            most = most.max(count - RATE as f64 * (end - start));
        }
    }
    most
}

/// Takes some units, or all that there are, then pauses, and so on, so that the bucket is full at times. Logs a time
/// before each unit, and one after it.
async fn spend_without_end(port: u16, log: &str) -> ! {
    let settings = Settings {
        on_error: OnError::Closed,
        ..PATIENT
    };
    let limits = limiter(port, settings).await;
    let local = Local::new(limits.clone());
    let mut log = File::create(log).expect("a file");
    let now = || {
        SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("a time")
            .as_secs_f64()
    };
    let random = || RandomState::new().hash_one(port);
    let rate = rate(&RATE.to_string());
    loop {
        let most = [random() % 300, SMALL];
        for most in most {
            until_full(&limits, &rate).await;
            for _ in 0..most {
                let before = now();
                if !take(&local, &rate, SMALL, 1).await.allowed {
                    break;
                }
                let line = format!("{before} {}\n", now());
                log.write_all(line.as_bytes()).expect("a log");
                tokio::task::yield_now().await;
            }
            sleep(Duration::from_millis(random() % 300)).await;
        }
    }
}

/// Waits until the bucket is full, or somebody takes from it.
async fn until_full(limits: &Connected, rate: &Rate) {
    let mut last = 0;
    loop {
        let peeked = limits.peek("k", rate, SMALL, 1).await.expect("a reply");
        if peeked.remaining == SMALL || peeked.remaining < last {
            return;
        }
        last = peeked.remaining;
        sleep(Duration::from_millis(2)).await;
    }
}

struct Spender {
    process: Child,
    log: PathBuf,
}

impl Spender {
    fn start(server: &Server, folder: &Path, n: usize) -> Self {
        let log = folder.join(n.to_string());
        let process = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", TEST, "--nocapture"])
            .env(SPENDER, format!("{} {}", server.port(), log.display()))
            .spawn();
        Self {
            process: process.expect("it starts"),
            log,
        }
    }

    fn units(&self) -> usize {
        fs::read_to_string(&self.log).map_or(0, |log| log.lines().count())
    }

    fn kill(&mut self) {
        // It may have been killed before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Spender {
    fn drop(&mut self) {
        self.kill();
    }
}
