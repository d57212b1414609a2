//! Compares what several servers admitted with what they may admit.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use crate::common::{root, wait_until, Launch, Server};
use crate::support::aof;
use crate::support::node::launch;

/// Tokens a second, so few that clients at full speed are denied most of the time.
pub const RATE: u32 = 200;
/// Large enough that the loss of a bucket, which is then full again, is visible.
pub const BURST: u32 = 3_000;

/// The tokens that clients received, and the errors.
#[derive(Debug, Default)]
pub struct Tally {
    pub taken: BTreeMap<String, f64>,
    pub errors: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts one more answer.
    pub fn add(&mut self, key: &str, answer: redis::RedisResult<[i64; 5]>) {
        match answer {
            Ok([taken, ..]) => *self.taken.entry(key.into()).or_default() += taken as f64,
            Err(error) => {
                let code = error
                    .code()
                    .map_or_else(|| "connection".into(), str::to_owned);
                *self.errors.entry(code).or_default() += 1;
            }
        }
    }

    /// Adds what others counted.
    pub fn merge(&mut self, other: Self) {
        for (key, taken) in other.taken {
            *self.taken.entry(key).or_default() += taken;
        }
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
    }

    /// Checks that no key admitted more than its limit allows since `start`, plus the unreplicated
    /// takes.
    pub fn assert_within(&self, start: Instant, unshipped: &BTreeMap<String, usize>) {
        let seconds = start.elapsed().as_secs_f64();
        let lost: usize = unshipped.values().sum();
        let taken: f64 = self.taken.values().sum();
        println!(
            "{taken} tokens in {seconds:.1} s, {lost} not shipped, errors {:?}",
            self.errors
        );
        for (key, &taken) in &self.taken {
            let unshipped = unshipped.get(key).copied().unwrap_or_default();
            let most = f64::from(BURST) + f64::from(RATE) * seconds + unshipped as f64;
            assert!(taken <= most, "{key} gave {taken} tokens, {most} at most");
            // Or somebody was charged for what nobody got, beyond the answers that were lost.
            let least = f64::from(BURST) * 0.8;
            assert!(
                taken >= least,
                "{key} gave {taken} tokens, {least} at least"
            );
        }
    }
}

/// Waits until the clients have taken what there was, and can take only what flows in.
pub fn wait_until_drained(master: &Server, key: &str) {
    wait_until("the bucket is drained", || {
        let peek = format!("RL.PEEK {key} {RATE} {BURST} COST {}", BURST / 10);
        let [taken, ..] = master.ask::<[i64; 5]>(&peek);
        taken == 0
    });
}

/// Launches a server whose AOF contains every change that it made or received. The AOF is written
/// before the reply, because the operating system, not the server, delays disk writes.
pub fn logging() -> Launch {
    launch().with(&[
        "--appendonly",
        "yes",
        "--aof-use-rdb-preamble",
        "no",
        "--appendfsync",
        "no",
    ])
}

/// Returns, for each key, the takes that `dead` made and `heir` never received.
pub fn unshipped(dead: &Server, heir: &Server) -> BTreeMap<String, usize> {
    let known = changes(heir);
    assert!(!known.is_empty());
    let mut unshipped = BTreeMap::new();
    for (key, _) in changes(dead).difference(&known) {
        *unshipped.entry(key.clone()).or_default() += 1;
    }
    unshipped
}

/// Returns the keys with all their values, from `… $<length> <key> $16 <value> …`. No two values of
/// a key are equal, because each contains its time.
fn changes(server: &Server) -> HashSet<(String, Vec<u8>)> {
    const VALUE: &[u8] = b"\r\n$16\r\n";
    let mut changes = HashSet::new();
    let log = aof::read(server);
    for at in 0..log.len().saturating_sub(VALUE.len() + 16) {
        if log[at..].starts_with(VALUE) {
            let key = log[..at].rsplit(|&byte| byte == b'\n').next();
            let key = String::from_utf8_lossy(key.unwrap_or_default()).into_owned();
            changes.insert((key, log[at + VALUE.len()..][..16].to_vec()));
        }
    }
    changes
}

/// A client in another language, running until it is stopped.
pub struct Script {
    process: Child,
    /// Closing it stops the script.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Script {
    /// Runs a script of tests/clients: `<kind> <addresses> <rate> <burst> <keys>`. Returns when
    /// it has had its first answer.
    pub fn start(script: &str, kind: &str, servers: &[&Server], keys: &[String]) -> Self {
        let root = root();
        let program = if script.ends_with(".py") {
            root.join("target/clients/py/bin/python")
        } else {
            "node".into()
        };
        let addresses: Vec<_> = servers
            .iter()
            .map(|s| format!("127.0.0.1:{}", s.port()))
            .collect();
        let mut process = Command::new(program)
            .arg(root.join("tests/clients").join(script))
            .args([
                kind,
                &addresses.join(","),
                &RATE.to_string(),
                &BURST.to_string(),
            ])
            .args(keys)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("CLIENTS", root.join("target/clients/node/"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the client runs: scripts/setup.sh clients installs it");
        let input = process.stdin.take();
        let mut output = BufReader::new(process.stdout.take().expect("its output"));
        let mut line = String::new();
        output.read_line(&mut line).expect("text");
        assert_eq!(line, "started\n");
        Self {
            process,
            input,
            output,
        }
    }

    /// Stops it: lines of `taken <key> <tokens>` and `error <code> <count>`.
    pub fn stop(mut self) -> Tally {
        drop(self.input.take());
        let mut status = None;
        wait_until("the client ends", || {
            status = self.process.try_wait().expect("a child");
            status.is_some()
        });
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("text");
        assert!(status.is_some_and(|status| status.success()), "{text}");
        let mut tally = Tally::default();
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["taken", key, tokens] => {
                    tally
                        .taken
                        .insert(key.into(), tokens.parse().expect("a number"));
                }
                ["error", code, count] => {
                    tally
                        .errors
                        .insert(code.into(), count.parse().expect("a number"));
                }
                _ => panic!("{line}"),
            }
        }
        assert!(!tally.taken.is_empty(), "{text}");
        tally
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
