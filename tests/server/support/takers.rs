//! Clients that take tokens one by one as fast as they can, and keep account of it.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;

use redis::{Connection, RedisResult};

use crate::common::{wait_until, Server};

/// The number of keys.
pub const KEYS: usize = 12;
const CLIENTS: usize = 2;
/// Calls that a client sends together.
const TOGETHER: usize = 8;
/// Refills nothing that counts while a test runs.
const LIMIT: [&str; 2] = ["0.001", "1000000"];
const BURST: i64 = 1_000_000;

/// The clients, running until they are stopped or their server is gone.
pub struct Takers {
    accounts: Arc<Accounts>,
    threads: Vec<JoinHandle<()>>,
}

/// The clients' knowledge of each key.
#[derive(Default)]
struct Accounts {
    stop: AtomicBool,
    /// Tokens received.
    taken: [AtomicI64; KEYS],
    /// Tokens requested without a reply.
    unanswered: [AtomicI64; KEYS],
}

/// Tokens taken of each key.
pub type Taken = [i64; KEYS];

/// Returns a key; all share one cluster slot.
pub fn key(n: usize) -> String {
    format!("{{account}}:{n}")
}

fn read(counters: &[AtomicI64; KEYS]) -> Taken {
    counters.each_ref().map(|n| n.load(Ordering::SeqCst))
}

impl Takers {
    /// Begins. No call may fail while the server is there.
    pub fn on(server: &Server) -> Self {
        Self::with_refusals(server, |_| false)
    }

    /// Begins. Calls may fail in the ways that are expected, and have then taken nothing.
    pub fn with_refusals(server: &Server, expected: fn(&str) -> bool) -> Self {
        let accounts = Arc::new(Accounts::default());
        let client = |first| {
            let accounts = Arc::clone(&accounts);
            let mut connection = server.connection();
            std::thread::spawn(move || {
                let mut first: usize = first;
                while !accounts.stop.load(Ordering::SeqCst) {
                    first += 1;
                    match accounts.take(first, &mut connection, expected) {
                        Ok(()) => {}
                        Err(error) if error.is_io_error() => return,
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        };
        let threads = (0..CLIENTS).map(client).collect();
        Self { accounts, threads }
    }

    /// Returns the tokens received so far.
    pub fn taken(&self) -> Taken {
        read(&self.accounts.taken)
    }

    /// Waits for `tokens` further tokens.
    pub fn pass(&self, tokens: i64) {
        let sum = || self.taken().iter().sum::<i64>();
        let enough = sum() + tokens;
        wait_until("tokens are taken", || {
            assert!(
                !self.threads.iter().all(JoinHandle::is_finished),
                "the server is gone"
            );
            sum() >= enough
        });
    }

    /// Ends it: the least and the most that can have been taken.
    pub fn stop(mut self) -> (Taken, Taken) {
        self.accounts.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().expect("a client that ends");
        }
        let taken = self.taken();
        let unanswered = read(&self.accounts.unanswered);
        (taken, std::array::from_fn(|n| taken[n] + unanswered[n]))
    }
}

impl Accounts {
    fn take(
        &self,
        first: usize,
        connection: &mut Connection,
        expected: fn(&str) -> bool,
    ) -> RedisResult<()> {
        let mut pipe = redis::pipe();
        let keys = (first..first + TOGETHER).map(|n| n % KEYS);
        for n in keys.clone() {
            self.unanswered[n].fetch_add(1, Ordering::SeqCst);
            pipe.cmd("RL.TAKE").arg(key(n)).arg(&LIMIT);
        }
        let replies: Vec<RedisResult<[i64; 5]>> = pipe.ignore_errors().query(connection)?;
        for (n, reply) in keys.zip(replies) {
            match reply {
                Ok([1, ..]) => self.taken[n].fetch_add(1, Ordering::SeqCst),
                Ok(reply) => panic!("there are plenty, yet {reply:?}"),
                Err(error) if expected(&error.to_string()) => 0,
                Err(error) => panic!("{error}"),
            };
            self.unanswered[n].fetch_sub(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// Returns the tokens taken according to the server.
pub fn missing(server: &Server) -> Taken {
    let mut connection = server.connection();
    std::array::from_fn(|n| {
        let mut peek = redis::cmd("RL.PEEK");
        peek.arg(key(n)).arg(&LIMIT);
        let [_, _, remaining, ..]: [i64; 5] = peek.query(&mut connection).expect("a reply");
        BURST - remaining
    })
}

/// Checks that the server's account is between `least` and `most`.
pub fn assert_between(server: &Server, least: &Taken, most: &Taken) {
    for (n, missing) in missing(server).iter().enumerate() {
        let range = least[n]..=most[n];
        assert!(
            range.contains(missing),
            "{missing} taken of {}, not {range:?}",
            key(n)
        );
    }
}
