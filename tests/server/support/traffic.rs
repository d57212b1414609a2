//! Calls of every command, chosen at random, under limits so slow that no bucket fills and no window
//! ends while a test runs.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;

use redis::{Cmd, Connection, Pipeline, RedisResult, Value};

use crate::common::{wait_until, Server};

const KEYS: u64 = 120;

/// Pseudo-random numbers, equal for equal seeds.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Returns a number in `range`.
    pub fn roll(&mut self, range: Range<u64>) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        range.start + (self.0 >> 11) % (range.end - range.start)
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.roll(0..list.len() as u64) as usize]
    }

    fn key(&mut self) -> String {
        format!("bucket:{}", self.roll(0..KEYS))
    }

    fn rate(&mut self) -> &'static str {
        self.pick(&["1/h", "0.25/m", "7/d", "40/d", "3/2h", "0.0001"])
    }

    fn burst(&mut self) -> String {
        self.roll(1..12).to_string()
    }

    /// Returns one random call, as words.
    pub fn call(&mut self) -> Vec<String> {
        match self.roll(0..100) {
            0..8 => self.on_bucket("RL.PEEK"),
            8..25 => {
                let mut words = self.on_bucket("RL.GIVE");
                self.cost(&mut words);
                words
            }
            25..40 => self.mtake(),
            40..50 => self.throttle(),
            50..52 => vec!["DEL".into(), self.key()],
            52..70 => self.on_window(),
            70..76 => self.on_lease(),
            76..82 => self.all(),
            _ => self.take(),
        }
    }

    fn on_bucket(&mut self, command: &str) -> Vec<String> {
        let (key, rate, burst) = (self.key(), self.rate(), self.burst());
        vec![command.into(), key, rate.into(), burst]
    }

    fn cost(&mut self, words: &mut Vec<String>) {
        if self.roll(0..2) == 0 {
            words.extend(["COST".into(), self.roll(1..7).to_string()]);
        }
    }

    fn take(&mut self) -> Vec<String> {
        let mut words = self.on_bucket("RL.TAKE");
        self.cost(&mut words);
        let wait = self.pick(&["0", "60000", "36000000", "604800000"]);
        match self.roll(0..8) {
            0 | 1 => words.push("ATMOST".into()),
            2 | 3 => words.extend(["MAXWAIT".into(), wait.into()]),
            4 => words.push("FORCE".into()),
            _ => {}
        }
        words
    }

    fn on_lease(&mut self) -> Vec<String> {
        let (slots, token) = (self.roll(0..9), self.roll(0..12));
        let text = match self.roll(0..5) {
            0 => format!("RL.RENEW slots:{slots} 29d t{token}"),
            1 => format!("RL.RELEASE slots:{slots} t{token}"),
            _ => format!("RL.ACQUIRE slots:{slots} 5 20d t{token}"),
        };
        text.split(' ').map(str::to_owned).collect()
    }

    /// Returns a call on a bucket, a window of each kind and a lease.
    fn all(&mut self) -> Vec<String> {
        let (bucket, rate, burst) = (self.key(), self.rate(), self.burst());
        let window = self.roll(0..KEYS / 4);
        let (limit, cost) = (self.roll(1..12), self.roll(1..4));
        let (slots, token) = (self.roll(0..9), self.roll(0..12));
        let once = self.pick(&["", " ONCE"]);
        let text = format!(
            "RL.ALL 4 {bucket} fixed:{window} sliding:{window} slots:{slots} \
             BUCKET {rate} {burst} COST {cost} WINDOW {limit} 40d \
             WINDOW {limit} SLIDING 40d COST {cost} LEASE 5 25d t{token}{once}"
        );
        text.split(' ').map(str::to_owned).collect()
    }

    /// Returns a call on a window, with lengths that convert each other, and ends that do not.
    fn on_window(&mut self) -> Vec<String> {
        let windows = match self.roll(0..2) {
            0 => ["40d", "UNTIL 2000000000000", "9weeks"],
            _ => ["SLIDING 40d", "SLIDING 4000h", "SLIDING 1w"],
        };
        let window = self.pick(&windows);
        let kind = if window.starts_with("SLIDING") {
            "sliding"
        } else {
            "fixed"
        };
        let key = format!("{kind}:{}", self.roll(0..KEYS / 4));
        let limit = self.roll(0..12).to_string();
        let name = self.pick(&["RL.WTAKE", "RL.WTAKE", "RL.WTAKE", "RL.WPEEK", "RL.WGIVE"]);
        let mut words = vec![name.to_owned(), key, limit];
        words.extend(window.split(' ').map(str::to_owned));
        self.cost(&mut words);
        let of_take = ["ATMOST", "FORCE", "KEEP 2", "KEEP 1 ATMOST", ""];
        let options = match name {
            "RL.WTAKE" => self.pick(&of_take),
            "RL.WGIVE" => self.pick(&["AT 100000000000", "AT 1900000000000", "", ""]),
            _ => "",
        };
        words.extend(options.split_whitespace().map(str::to_owned));
        words
    }

    fn mtake(&mut self) -> Vec<String> {
        let first = self.roll(0..KEYS);
        let buckets = self.roll(1..5);
        let mut words = vec!["RL.MTAKE".to_owned(), buckets.to_string()];
        for n in first..first + buckets {
            let (rate, burst) = (self.rate(), self.burst());
            words.extend([format!("bucket:{}", n % KEYS), rate.into(), burst]);
        }
        self.cost(&mut words);
        words
    }

    fn throttle(&mut self) -> Vec<String> {
        let (key, max_burst) = (self.key(), self.roll(0..9).to_string());
        let (count, quantity) = (self.roll(1..4).to_string(), self.roll(0..4).to_string());
        let words = ["CL.THROTTLE", &key, &max_burst, &count, "7200", &quantity];
        words.map(str::to_owned).to_vec()
    }

    /// Sends a few calls together: as a pipeline, a transaction or a script.
    pub fn send(&mut self, connection: &mut Connection) -> RedisResult<usize> {
        let calls: Vec<_> = (0..self.roll(1..9)).map(|_| self.call()).collect();
        match self.roll(0..6) {
            0 => pipeline(&calls).atomic().query::<Value>(connection)?,
            1 => script(&calls).query::<Value>(connection)?,
            _ => pipeline(&calls).query::<Value>(connection)?,
        };
        Ok(calls.len())
    }
}

fn pipeline(calls: &[Vec<String>]) -> Pipeline {
    let mut pipe = Pipeline::new();
    for words in calls {
        pipe.add_command(command(words));
    }
    pipe
}

fn script(calls: &[Vec<String>]) -> Cmd {
    // The keys are not declared, which only a cluster would mind.
    const RUN: &str = "
        local at = 1
        while at <= #ARGV do
            local last = at + tonumber(ARGV[at])
            redis.call(unpack(ARGV, at + 1, last))
            at = last + 1
        end";
    let mut eval = redis::cmd("EVAL");
    eval.arg(RUN).arg(0);
    for words in calls {
        eval.arg(words.len()).arg(words);
    }
    eval
}

/// Returns the words as a command.
pub fn command(words: &[String]) -> Cmd {
    let mut command = Cmd::new();
    command.arg(words);
    command
}

/// Makes `calls` random calls.
pub fn run(node: &Server, dice: &mut Dice, calls: usize) {
    let mut connection = node.connection();
    let mut done = 0;
    while done < calls {
        done += dice.send(&mut connection).expect("every call is answered");
    }
}

/// Random calls in the background, until stopped or until the server is gone.
pub struct Traffic {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    done: AtomicUsize,
}

impl Traffic {
    /// Begins, over two connections.
    pub fn on(node: &Server, seed: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let client = |n| {
            let shared = Arc::clone(&shared);
            let mut connection = node.connection();
            let mut dice = Dice::new(seed + n);
            std::thread::spawn(move || {
                while !shared.stop.load(Ordering::Relaxed) {
                    match dice.send(&mut connection) {
                        Ok(calls) => shared.done.fetch_add(calls, Ordering::Relaxed),
                        Err(error) if error.is_io_error() => return,
                        Err(error) => panic!("{error}"),
                    };
                }
            })
        };
        let threads = (0..2).map(client).collect();
        Self { shared, threads }
    }

    fn done(&self) -> usize {
        self.shared.done.load(Ordering::Relaxed)
    }

    /// Waits for `calls` further calls.
    pub fn pass(&self, calls: usize) {
        let enough = self.done() + calls;
        wait_until("calls are made", || {
            self.done() >= enough || self.threads.iter().any(JoinHandle::is_finished)
        });
    }

    /// Ends it; the number of calls made.
    pub fn stop(mut self) -> usize {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("nothing but answers");
        }
        self.done()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}
