//! Many callers that wait for random times, from a millisecond on, while others unblock and kill
//! them: nobody is left without an answer, no key has more holders than slots, and the module can
//! be unloaded in the end.
//!
//! `REDIS_RL_WAIT_RANDOM` sets how many callers and seconds (24, 3): `scripts/wait_random.sh`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redis::{Connection, RedisResult, Value};

use super::{assert_unloads, wait_until_waiting};
use crate::common::{wait_until, Launch};
use crate::support::node::launch;
use crate::support::traffic::Dice;
use crate::support::{Ask, Reply};

const KEYS: u64 = 4;
const SLOTS: usize = 3;

/// When a caller was certainly holding a slot.
type Interval = (Instant, Instant);

/// The state that the callers share.
struct Shared {
    client: redis::Client,
    stop: AtomicBool,
    /// The CLIENT ID of each.
    ids: Vec<AtomicI64>,
    finished: AtomicU64,
    granted: AtomicU64,
    denied: AtomicU64,
    /// Waits that ended with an error or a closed connection, or that the caller left.
    left: AtomicU64,
    intervals: Mutex<BTreeMap<u64, Vec<Interval>>>,
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn connect(&self, number: usize) -> Connection {
        let mut c = self.client.get_connection().expect("a connection");
        self.ids[number].store(c.ask("CLIENT ID"), Ordering::Relaxed);
        c
    }

    fn call(&self, number: usize) {
        let mut dice = Dice::new(number as u64 + 1);
        let mut c = self.connect(number);
        let mut turn = 0;
        while self.goes_on() {
            turn += 1;
            let token = format!("{number}-{turn}");
            if self.turn(&mut c, &mut dice, &token).is_err() {
                self.left.fetch_add(1, Ordering::Relaxed);
                c = self.connect(number);
            }
        }
        self.finished.fetch_add(1, Ordering::Relaxed);
    }

    fn turn(&self, c: &mut Connection, dice: &mut Dice, token: &str) -> RedisResult<()> {
        let slot = dice.roll(0..KEYS);
        let key = format!("key{slot}");
        let ttl_ms = [10, 20, 50, 1_000][dice.roll(0..4) as usize];
        let wait_ms = [1, 2, 5, 20, 100][dice.roll(0..5) as usize] + dice.roll(0..3);
        let keep = [0, 0, 0, 1][dice.roll(0..4) as usize];
        let mut acquire = redis::cmd("RL.ACQUIRE");
        acquire.arg(&[&key, &SLOTS.to_string(), &format!("{ttl_ms}ms"), token]);
        acquire.arg("KEEP").arg(keep).arg("WAIT").arg(wait_ms);
        if dice.roll(0..3) == 0 {
            acquire.arg("NX");
        }
        let sent = Instant::now();
        if dice.roll(0..12) == 0 {
            // It leaves without an answer.
            c.send_packed_command(&acquire.get_packed_command())?;
            pause(dice.roll(0..2 * wait_ms));
            return Err((redis::ErrorKind::Client, "left").into());
        }
        let reply: Reply = acquire.query(c)?;
        if reply[0] == 0 {
            self.denied.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.granted.fetch_add(1, Ordering::Relaxed);
        let since = Instant::now();
        pause(dice.roll(0..15));
        // Leases end at whole milliseconds, rounded down.
        let ends = sent + Duration::from_millis(ttl_ms - 1);
        let until = Instant::now().min(ends);
        if since < until {
            let mut intervals = self.intervals.lock().expect("no panic");
            intervals.entry(slot).or_default().push((since, until));
        }
        // Some forget their slot.
        if dice.roll(0..10) > 0 {
            let _: i64 = redis::cmd("RL.RELEASE").arg(&[&key, token]).query(c)?;
        }
        Ok(())
    }

    /// Ends waits at random.
    fn interfere(&self, may_unblock: bool) {
        let mut dice = Dice::new(99);
        let mut c = self.client.get_connection().expect("a connection");
        while self.goes_on() {
            let at = dice.roll(0..self.ids.len() as u64) as usize;
            let id = self.ids[at].load(Ordering::Relaxed);
            if id == 0 {
                continue; // It has not connected yet.
            }
            let id = id.to_string();
            let words: &[&str] = match dice.roll(0..4) {
                0 | 1 if may_unblock => &["UNBLOCK", &id],
                2 if may_unblock => &["UNBLOCK", &id, "ERROR"],
                _ => &["KILL", "ID", &id],
            };
            let _: Value = redis::cmd("CLIENT")
                .arg(words)
                .query(&mut c)
                .expect("a number");
            pause(dice.roll(0..5));
        }
        self.finished.fetch_add(1, Ordering::Relaxed);
    }
}

fn pause(ms: u64) {
    let until = Instant::now() + Duration::from_millis(ms);
    wait_until("a while has passed", || Instant::now() >= until);
}

fn setting() -> (usize, Duration) {
    let text = std::env::var("REDIS_RL_WAIT_RANDOM").unwrap_or_else(|_| "24,3".into());
    let (callers, seconds) = text.split_once(',').expect("CALLERS,SECONDS");
    let seconds = seconds.parse().expect("seconds");
    (
        callers.parse().expect("a number"),
        Duration::from_secs(seconds),
    )
}

/// Returns the greatest number of intervals that overlap.
fn most_at_once(intervals: &[Interval]) -> usize {
    let mut edges: Vec<_> = intervals
        .iter()
        .flat_map(|&(from, to)| [(to, -1), (from, 1)])
        .collect();
    edges.sort();
    let counts = edges.iter().scan(0i64, |count, &(_, step)| {
        *count += step;
        Some(*count)
    });
    counts.max().unwrap_or(0) as usize
}

fn run(launch: Launch, may_unblock: bool) {
    let (callers, time) = setting();
    let server = launch.start();
    let shared = Arc::new(Shared {
        client: server.client(),
        stop: AtomicBool::new(false),
        ids: (0..callers).map(|_| AtomicI64::new(0)).collect(),
        finished: AtomicU64::new(0),
        granted: AtomicU64::new(0),
        denied: AtomicU64::new(0),
        left: AtomicU64::new(0),
        intervals: Mutex::default(),
    });
    // Not joined: one without an answer would never end.
    for number in 0..callers {
        let shared = Arc::clone(&shared);
        std::thread::spawn(move || shared.call(number));
    }
    let interferes = Arc::clone(&shared);
    std::thread::spawn(move || interferes.interfere(may_unblock));

    let end = Instant::now() + time;
    while Instant::now() < end {
        pause(100);
        // The later ones overlap none that ended this long ago.
        let old = Instant::now().checked_sub(Duration::from_secs(2));
        let mut intervals = shared.intervals.lock().expect("no panic");
        for (key, intervals) in intervals.iter_mut() {
            let most = most_at_once(intervals);
            assert!(most <= SLOTS, "{most} held key{key} at once");
            intervals.retain(|(_, to)| old.is_none_or(|old| *to > old));
        }
    }
    let calls = || {
        [&shared.granted, &shared.denied, &shared.left].map(|count| count.load(Ordering::Relaxed))
    };
    let ends = || {
        ["waits_granted", "waits_timed_out", "waits_left"]
            .map(|name| server.count(&format!("rl_lease_{name}")))
    };
    // On a busy machine this takes longer than the time that was named.
    wait_until("calls and waits have ended in every way", || {
        calls().iter().all(|&count| count > 0) && ends().iter().all(|&count| count > 0)
    });
    shared.stop.store(true, Ordering::Relaxed);
    wait_until("every caller was answered", || {
        shared.finished.load(Ordering::Relaxed) == callers as u64 + 1
    });
    wait_until_waiting(&server, 0);
    let ([granted, denied, left], [waits_granted, timed_out, waits_left]) = (calls(), ends());
    println!(
        "{granted} granted, {denied} denied, {left} left; waits: {waits_granted} granted, \
         {timed_out} timed out, {waits_left} left"
    );
    assert_unloads(&server);
}

#[test]
fn random_waits_are_all_answered_and_exceed_no_limit() {
    run(launch(), true);
}

#[test]
fn random_waits_are_all_answered_with_io_threads() {
    let threads = launch().with(&["--io-threads", "3", "--io-threads-do-reads", "yes"]);
    // Redis 6.2 and 7.0 leave a client unanswered that CLIENT UNBLOCK meets between the timer and
    // the delivery, where only their I/O threads run commands.
    let server = launch().start();
    let is_old = |version: String| version.starts_with("6.") || version.starts_with("7.0.");
    let [version] = server.info(["redis_version"]);
    let is_valkey = server
        .ask::<String>("INFO server")
        .contains("valkey_version");
    run(threads, is_valkey || !is_old(version));
}

/// The independent count must be able to fail.
#[test]
fn count_of_overlapping_intervals_detects_one_too_many() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    assert_eq!(
        most_at_once(&[(at(0), at(5)), (at(5), at(9)), (at(1), at(2))]),
        2
    );
    assert_eq!(
        most_at_once(&[(at(0), at(5)), (at(4), at(9)), (at(4), at(5))]),
        3
    );
}
