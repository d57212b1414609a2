//! Hundreds of processes that take slots and are killed at random: never more at work than slots,
//! counted by the locks of files, and every slot comes back within its time.
//!
//! `REDIS_RL_LEASE_KILL=300,600` sets how many processes and seconds (200 that poll, or 40 that wait,
//! and 5).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{wait_until, Server};
use crate::support::node::launch;
use crate::support::traffic::Dice;
use crate::support::Ask;

const SLOTS: usize = 20;
const TTL_MS: i64 = 600;

/// The workers, and the folder in which they count.
struct Workers {
    folder: PathBuf,
    words: Vec<String>,
    running: Vec<Child>,
    killed: u64,
}

impl Workers {
    fn start(server: &Server, count: u64, limit: usize, how: &str) -> Self {
        let folder = server.dir().join("workers");
        fs::create_dir_all(&folder).expect("a folder");
        let port = server.port().to_string();
        let folder_word = folder.to_str().expect("UTF-8").to_owned();
        let numbers = [
            limit.to_string(),
            SLOTS.to_string(),
            TTL_MS.to_string(),
            how.to_owned(),
        ];
        let mut workers = Self {
            folder,
            words: [vec![port, folder_word], numbers.to_vec()].concat(),
            running: Vec::new(),
            killed: 0,
        };
        for n in 0..SLOTS {
            // A worker that hangs before it has written its own end must not count as at work.
            fs::write(workers.folder.join(format!("slot-{n}")), "0").expect("a file");
        }
        for _ in 0..count {
            let worker = workers.spawn();
            workers.running.push(worker);
        }
        workers
    }

    fn spawn(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_lease-worker"))
            .args(&self.words)
            .stdout(Stdio::null())
            .spawn()
            .expect("a worker")
    }

    /// Kills one with SIGKILL, and starts another.
    fn replace(&mut self, dice: &mut Dice) {
        let at = dice.roll(0..self.running.len() as u64) as usize;
        let new = self.spawn();
        let mut old = std::mem::replace(&mut self.running[at], new);
        assert!(
            matches!(old.try_wait(), Ok(None)),
            "a worker ended by itself"
        );
        old.kill().expect("it runs");
        old.wait().expect("it has ended");
        self.killed += 1;
    }

    fn kill_all(&mut self) {
        for worker in &mut self.running {
            // Nothing is left to do about one that has ended.
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }

    /// Returns whether there were enough kills and pieces of work to reveal a fault.
    fn did_enough(&self) -> bool {
        self.killed > 50 && self.noted("done").len() > 100
    }

    fn noted(&self, what: &str) -> String {
        fs::read_to_string(self.folder.join(what)).unwrap_or_default()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.kill_all();
    }
}

fn setting(count: u64) -> (u64, Duration) {
    let text = std::env::var("REDIS_RL_LEASE_KILL").unwrap_or_else(|_| format!("{count},5"));
    let (workers, seconds) = text.split_once(',').expect("WORKERS,SECONDS");
    let seconds = seconds.parse().expect("seconds");
    (
        workers.parse().expect("a number"),
        Duration::from_secs(seconds),
    )
}

/// Kills workers for this time, or until it [did enough](Workers::did_enough), at most a minute longer.
fn run(workers: &mut Workers, time: Duration) {
    let mut dice = Dice::new(16);
    let start = Instant::now();
    let most = time + Duration::from_secs(60);
    while start.elapsed() < time || !workers.did_enough() && start.elapsed() < most {
        workers.replace(&mut dice);
        // Some are killed within milliseconds of each other, others live for seconds.
        let pause = Instant::now() + Duration::from_millis(dice.roll(0..40));
        wait_until("the next is killed", || Instant::now() >= pause);
    }
}

#[test]
fn killed_workers_never_exceed_or_leak_slots() {
    killed_workers("POLLS", 200);
}

#[test]
fn killed_waiting_workers_never_exceed_or_leak_slots() {
    killed_workers("WAITS", 40);
}

/// Kills workers that get their slots in one way; as many as are named, or else `count`.
fn killed_workers(how: &str, count: u64) {
    let (count, time) = setting(count);
    let server = launch().start();
    let mut workers = Workers::start(&server, count, SLOTS, how);
    run(&mut workers, time);
    workers.kill_all();
    let killed_at = Instant::now();

    let mut c = server.connection();
    wait_until("the last calls of the dead are carried out", || {
        c.ask::<String>("CLIENT LIST").lines().count() == 1
    });
    let ends: Vec<(String, f64)> = c.ask("ZRANGE slots 0 -1 WITHSCORES");
    let [seconds, micros]: [i64; 2] = c.ask("TIME");
    let now_ms = seconds * 1_000 + micros / 1_000;
    let last = ends.iter().fold(0.0f64, |last, (_, end)| last.max(*end));
    assert!(
        last as i64 <= now_ms + TTL_MS,
        "a lease is longer than its time"
    );
    assert!(ends.len() <= SLOTS + 1, "{} members", ends.len());
    for n in 0..SLOTS {
        wait_until("the slot comes back", || {
            let [seconds, micros]: [i64; 2] = c.ask("TIME");
            let call = format!("RL.ACQUIRE slots {SLOTS} 1h heir{n}");
            let is_held = c.ask::<[i64; 5]>(&call)[0] == 0;
            let all_ended = seconds * 1_000 + micros / 1_000 > last as i64;
            assert!(!(is_held && all_ended), "a slot outlives its lease");
            !is_held
        });
    }
    let took = killed_at.elapsed();

    let violations = workers.noted("violations");
    assert!(violations.is_empty(), "{violations}");
    let done = workers.noted("done").len();
    let stalled = workers.noted("stalled").lines().count();
    let late = workers.noted("late").len();
    println!(
        "{count} workers, {} killed, {done} pieces of work, {stalled} found one that had outlived \
         its lease, {late} stopped since theirs had ended, all slots back after {took:?}; \
         trimmed {}, denied {}, granted after a wait {}",
        workers.killed,
        server.count("rl_lease_trimmed"),
        server.count("rl_lease_denied"),
        server.count("rl_lease_waits_granted"),
    );
    // The dead wait no more, and no handle of theirs was lost.
    super::wait::wait_until_waiting(&server, 0);
    super::wait::assert_unloads(&server);
    assert!(workers.did_enough(), "{} {done}", workers.killed);
}

/// The independent count must be able to fail.
#[test]
fn file_lock_count_detects_one_worker_too_many() {
    let server = Server::start();
    let workers = Workers::start(&server, 60, SLOTS + 1, "POLLS");
    wait_until("one too many is seen", || {
        !workers.noted("violations").is_empty()
    });
    assert!(Path::new(&workers.folder).exists());
}
