//! Random and spoilt calls to a real server, each reply and each stored byte held to a model that
//! shares no line with the module.
//!
//! `REDIS_RL_FUZZ_SECONDS` sets the duration (60), `REDIS_RL_FUZZ_CALLS` a number of calls instead,
//! `REDIS_RL_FUZZ_SEED` the seed. With `REDIS_RL_FUZZ_CLOCK=1` the server's clock steps now and
//! then: `scripts/hours.sh` does all of it.

#[path = "../oracle/calendar.rs"]
mod calendar;
#[path = "../common/mod.rs"]
mod common;
#[path = "../oracle/leases.rs"]
mod lease_oracle;
#[path = "../oracle/mod.rs"]
mod oracle;

mod calls;
mod check;
mod hold_calls;
mod holds;
mod inspect;
mod leases;
mod mixed;
mod mixed_calls;
mod model;
mod random;
mod records;
mod syntax;
mod window;
mod window_calls;
#[path = "../oracle/windows.rs"]
mod windows;
mod wire;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use check::Moment;
use common::{Launch, Server};
use model::Model;
use random::Random;
use redis::Value;
use wire::{Command, Wire};

/// Seconds by which the server's clock is ahead of this machine's.
static AHEAD: AtomicI64 = AtomicI64::new(0);
const DAY: i64 = 86_400;
/// The mean number of batches between two clock steps.
const BATCHES_A_STEP: u64 = 5_000;
/// The bytes by which the two numbers of [`Fuzz::memory`] may grow: what an allocator keeps at hand, and
/// a part per call, far less than a block that is lost.
const GROWTH: [u64; 2] = [100_000, 1_000_000];
const CALLS_A_BYTE: u64 = 100;
const MILLION: u64 = 1_000_000;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

/// Returns the server's clock, in nanoseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let here = u64::try_from(since.expect("after 1970").as_nanos()).expect("before 2554");
    here.wrapping_add_signed(AHEAD.load(Ordering::Relaxed) * 1_000_000_000)
}

/// The calls that a run makes at least, however slow the machine is.
const LEAST_CALLS: u64 = 20_000;

/// The extent of the run.
struct Extent {
    calls: Option<u64>,
    end: Instant,
}

impl Extent {
    fn asked_for() -> Self {
        let seconds = setting("REDIS_RL_FUZZ_SECONDS").unwrap_or(60);
        Self {
            calls: setting("REDIS_RL_FUZZ_CALLS"),
            end: Instant::now() + Duration::from_secs(seconds),
        }
    }

    fn is_reached(&self, calls: u64) -> bool {
        match self.calls {
            Some(enough) => calls >= enough,
            None => calls >= LEAST_CALLS && Instant::now() >= self.end,
        }
    }
}

struct Fuzz {
    server: Server,
    wire: Wire,
    model: Model,
    random: Random,
    calls: u64,
}

impl Fuzz {
    /// Sends the commands in one pipeline, with a reading of the keys after each, and checks the
    /// replies.
    fn check(&mut self, commands: &[Command]) {
        let probes: Vec<_> = commands.iter().map(|c| self.model.keys_of(c)).collect();
        let earliest = now();
        for (command, keys) in commands.iter().zip(&probes) {
            self.wire.send(command);
            for key in keys {
                self.wire.probe(key);
            }
        }
        self.wire.flush();
        let mut moment = Moment::from(earliest);
        for (command, keys) in commands.iter().zip(&probes) {
            let reply = self.wire.reply();
            let found: Vec<_> = keys.iter().map(|_| self.wire.probed()).collect();
            moment.ends(now());
            self.model.check(command, reply, keys, found, &mut moment);
        }
        self.calls += commands.len() as u64;
    }

    /// Steps the clock by some seconds or a year, forward or back; keys that expired before are
    /// gone for good.
    fn step_clock(&mut self) {
        let by = self
            .random
            .one_of(&[3, 60, 3_600, DAY, 40 * DAY, 366 * DAY]);
        let sign = self.random.one_of(&[-1, 1]);
        // Not on and on in one direction.
        let ahead = (AHEAD.load(Ordering::Relaxed) + sign * by) % (800 * DAY);
        self.server.set_clock(ahead);
        // Until it noticed the server went on by its old clock.
        let latest = now();
        AHEAD.store(ahead, Ordering::Relaxed);
        let keys = self.model.keys();
        for key in &keys {
            self.wire.probe(key);
        }
        self.wire.flush();
        let found: Vec<_> = keys.iter().map(|_| self.wire.probed()).collect();
        let mut moment = Moment::from(0);
        moment.ends(latest.max(now()));
        self.model.stands(keys, found, &moment);
    }

    /// Returns the bytes in use when the server holds no key: by the server, and by its whole process.
    /// Debian's server and the module share an allocator, so the second number counts both.
    fn memory(&mut self) -> [u64; 2] {
        // The same number of top keys as at first.
        for text in [
            "FLUSHALL",
            "CONFIG SET rl.top-keys 0",
            "CONFIG SET rl.top-keys 128",
        ] {
            let words = text.split(' ').map(calls::word);
            self.check(&[Command(words.collect())]);
        }
        self.model.forget();
        // Tables shrink and buffers are freed in the background: the smallest of many readings counts.
        let readings = (0..200).map(|_| {
            self.wire
                .send(&Command(vec![calls::word("INFO"), calls::word("memory")]));
            self.wire.flush();
            let text = match self.wire.reply() {
                Value::BulkString(text) => String::from_utf8_lossy(&text).into_owned(),
                Value::VerbatimString { text, .. } => text,
                other => panic!("{other:?}"),
            };
            ["used_memory:", "allocator_allocated:"].map(|name| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                let bytes = line.and_then(|bytes| bytes.parse::<u64>().ok());
                bytes.unwrap_or_else(|| panic!("no {name} {text}"))
            })
        });
        let least = readings.reduce(|a, b| std::array::from_fn(|n| a[n].min(b[n])));
        least.expect("a reading")
    }
}

#[test]
fn every_reply_matches_the_model() {
    let seed = setting("REDIS_RL_FUZZ_SEED").unwrap_or_else(now);
    println!("REDIS_RL_FUZZ_SEED={seed}");
    let steps_clock = setting("REDIS_RL_FUZZ_CLOCK").is_some();
    // Without the slow log, which could look like a leak.
    let launch = Launch::default()
        .with(&["--slowlog-log-slower-than", "-1", "--hz", "100"])
        .module_arguments(&["CL.THROTTLE"]);
    let launch = if steps_clock {
        launch.with_clock_seen_once_a_second()
    } else {
        launch
    };
    let server = launch.start();
    let mut fuzz = Fuzz {
        wire: Wire::connect(&server),
        server,
        model: Model::new(seed),
        random: Random::new(seed),
        calls: 0,
    };
    let extent = Extent::asked_for();
    let (mut at_first, mut steps, mut millions) = (None, 0, 0);
    while !extent.is_reached(fuzz.calls) {
        let size = fuzz.random.one_of(&[1, 4, 32]);
        let batch: Vec<_> = (0..size)
            .map(|_| calls::any(&mut fuzz.random, &fuzz.model))
            .collect();
        fuzz.check(&batch);
        if fuzz.calls / MILLION > millions {
            millions = fuzz.calls / MILLION;
            println!("{millions} million calls, {steps} steps of the clock");
        }
        if at_first.is_none() && fuzz.calls > 10_000 {
            at_first = Some(fuzz.memory());
        }
        if steps_clock && fuzz.random.once_in(BATCHES_A_STEP) {
            fuzz.step_clock();
            steps += 1;
        }
    }
    let (at_first, in_the_end) = (at_first.expect("10,000 calls"), fuzz.memory());
    println!("{}", fuzz.model.tally());
    println!("{steps} steps of the clock; memory {at_first:?} to {in_the_end:?} bytes");
    assert!(fuzz.server.alive());
    fuzz.model.assert_variety();
    for n in 0..GROWTH.len() {
        let allowed = at_first[n] + GROWTH[n] + fuzz.calls / CALLS_A_BYTE;
        assert!(in_the_end[n] < allowed, "{at_first:?} to {in_the_end:?}");
    }
}
