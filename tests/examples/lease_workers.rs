//! The workers that hold a lease: they work while they hold it, stop when it has ended, and what
//! they held comes back.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::common::{root, until, wait_until, Server};

/// A running worker. It ends with its test.
struct Worker {
    process: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Worker {
    fn start(command: &[impl AsRef<OsStr>], redis: &Server, ttl_ms: u32, steps: u32) -> Self {
        let mut process = Command::new(&command[0])
            .args(&command[1..])
            .current_dir(root())
            .env("REDIS_URL", redis.url())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("TTL_MS", ttl_ms.to_string())
            .env("STEPS", steps.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the worker runs");
        let lines = BufReader::new(process.stdout.take().expect("a pipe"));
        Self { process, lines }
    }

    /// Starts workers until one works: a worker that gets no answer in time ends.
    fn working(command: &[impl AsRef<OsStr>], redis: &Server, ttl_ms: u32, steps: u32) -> Self {
        until("a worker works", || {
            let mut worker = Self::start(command, redis, ttl_ms, steps);
            (worker.line() == "working").then_some(worker)
        })
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Nothing is left to do about one that has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the number of held slots.
fn held(redis: &Server) -> i64 {
    slots(redis).0
}

/// Returns the number of held slots and that of the callers that wait.
fn slots(redis: &Server) -> (i64, i64) {
    let mut ask = redis::cmd("RL.LEASES");
    type Leases = (i64, i64, i64, i64, i64, Vec<(String, i64)>, i64);
    let told: Leases = ask
        .arg("slots:reports")
        .arg(5)
        .query(&mut redis.connection())
        .expect("leases");
    (told.0, told.6)
}

/// Tries all cases.
pub fn hold(command: &[impl AsRef<OsStr>]) {
    a_worker_renews_while_it_works_and_gives_its_slot_back(command);
    a_worker_whose_lease_has_ended_stops(command);
    a_worker_that_cannot_renew_stops_in_time(command);
    a_worker_waits_for_a_slot_and_a_killed_ones_comes_back(command);
}

/// The work takes several times the ttl. Both double after each attempt in which the machine stalled.
fn a_worker_renews_while_it_works_and_gives_its_slot_back(command: &[impl AsRef<OsStr>]) {
    let redis = Server::start();
    let mut times = 1;
    wait_until("nothing stalls while a worker works", || {
        let mut worker = Worker::working(command, &redis, 900 * times, 60 * times);
        times *= 2;
        let is_held = held(&redis) == 1;
        let is_done = worker.line() == "done";
        if is_done {
            wait_until("the slot is given back", || held(&redis) == 0);
        }
        is_held && is_done
    });
}

fn a_worker_whose_lease_has_ended_stops(command: &[impl AsRef<OsStr>]) {
    let redis = Server::start();
    let mut worker = Worker::working(command, &redis, 3_000, 100_000);
    // Deleted by hand, so a renewal returns 0.
    let () = redis::cmd("DEL")
        .arg("slots:reports")
        .query(&mut redis.connection())
        .expect("a count");
    assert!(worker.line().starts_with("stopped"));
    assert_eq!(held(&redis), 0);
}

fn a_worker_that_cannot_renew_stops_in_time(command: &[impl AsRef<OsStr>]) {
    let mut redis = Server::start();
    let mut worker = Worker::working(command, &redis, 1_500, 100_000);
    redis.kill();
    assert!(worker.line().starts_with("stopped"));
}

fn a_worker_waits_for_a_slot_and_a_killed_ones_comes_back(command: &[impl AsRef<OsStr>]) {
    let redis = Server::start();
    // A worker that stalls for two thirds of it loses its slot, and ends.
    let mut ttl_ms = 9_000;
    wait_until("no worker stalls", || {
        let mut workers: Vec<_> = (0..5)
            .map(|_| Worker::working(command, &redis, ttl_ms, 100_000))
            .collect();
        let mut sixth = Worker::start(command, &redis, ttl_ms, 100_000);
        ttl_ms *= 2;
        let waits = until("it waits in the server, or one has ended", || {
            let has_ended = workers.iter_mut().any(Worker::has_ended) || sixth.has_ended();
            (has_ended || slots(&redis) == (5, 1)).then_some(!has_ended)
        });
        // Killed with SIGKILL.
        drop(workers.pop());
        let works = waits && sixth.line() == "working";
        assert!(held(&redis) <= 5);
        works
    });
}
