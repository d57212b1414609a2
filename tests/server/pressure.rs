//! Many clients at full speed, on a server that is disturbed in every way that operators and bad
//! clients know: the account is right to the token, and the server stands.
//!
//! `REDIS_RL_PRESSURE=1000,180` makes it 1 000 connections for 180 seconds; it is 100 for 5
//! otherwise. Server and test each need a file descriptor for a connection (`ulimit -n`).

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Connection, Pipeline, Value};

use crate::common::{until, wait_until, Server};
use crate::support::crowd::{Crowd, Shared};
use crate::support::ledger::{window, BUCKETS};
use crate::support::ledger::{Account, Ledger, Level, Levels, Sign, BURST, LIMIT, LIMITS, RATE};
use crate::support::node;
use crate::support::traffic::Dice;
use crate::support::{call, texts, Ask};

/// Every kind of disturbance. Between two flushes without a kill nearby no call is in doubt.
const DISTURBANCES: [fn(&mut Disturber<'_>); 14] = [
    |d| d.swap(),
    |d| d.pause_writes(),
    |d| d.flush(),
    |d| d.squeeze(),
    |d| d.reload(),
    |d| d.flush(),
    |d| d.kill_script(),
    |d| d.resize_top(),
    |d| d.flush(),
    |d| d.pause_all(),
    |d| d.swap(),
    |d| d.kill_some(),
    |d| d.kill_all(),
    |d| d.flush(),
];

#[test]
fn every_token_is_accounted_for_under_pressure() {
    let (connections, time) = extent();
    let mut server = node::launch()
        .with(&["--lua-time-limit", "20", "--maxclients", "5000"])
        .start();
    let shared = Arc::new(Shared::default());
    let mut disturber = Disturber::new(&server, &shared);
    let crowd = Crowd::on(&server, connections, &shared);
    let start = Instant::now();
    let mut passes = 0;
    while passes < 3 || start.elapsed() < time {
        for disturb in DISTURBANCES {
            crowd.pass(connections * 10);
            disturb(&mut disturber);
        }
        passes += 1;
    }
    let (answered, lost) = (crowd.answered(), crowd.lost());
    let book = crowd.stop();
    disturber.turn(false);

    let audit = disturber.ledger.audit(&book);
    let time = start.elapsed();
    println!("{connections} connections, {time:?}: {answered} answers, {lost} lost, {audit:?}");
    assert!(lost > 0 && audit.without_doubt > 0 && audit.tokens > 0);
    for field in ["rl_errors_call", "rl_errors_key", "rl_errors_debt"] {
        assert_eq!(server.count(field), 0, "{field}");
    }
    assert!(server.alive());
    let log = server.log();
    for trouble in ["Protocol error", "ASSERTION", "BUG REPORT"] {
        assert!(!log.contains(trouble), "{log}");
    }
}

fn extent() -> (usize, Duration) {
    let Ok(text) = std::env::var("REDIS_RL_PRESSURE") else {
        return (100, Duration::from_secs(5));
    };
    let numbers = text.split_once(',').and_then(|(connections, seconds)| {
        Some((connections.parse().ok()?, seconds.parse().ok()?))
    });
    let (connections, seconds) = numbers.expect("REDIS_RL_PRESSURE=connections,seconds");
    (connections, Duration::from_secs(seconds))
}

/// Disturbs the server, and keeps the account consistent.
struct Disturber<'a> {
    server: &'a Server,
    connection: Connection,
    shared: Arc<Shared>,
    dice: Dice,
    ledger: Ledger,
    epoch: u64,
    serial: u64,
    /// The owner of the buckets in each database.
    sides: [u8; 2],
}

impl<'a> Disturber<'a> {
    fn new(server: &'a Server, shared: &Arc<Shared>) -> Self {
        let mut disturber = Self {
            server,
            connection: server.connection(),
            shared: Arc::clone(shared),
            dice: Dice::new(7),
            ledger: Ledger::default(),
            epoch: 0,
            serial: 0,
            sides: [0, 1],
        };
        disturber.flush();
        disturber
    }

    fn flush(&mut self) {
        self.turn(true);
    }

    /// In one transaction: closes the open accounts, flushes everything and, if `more`, opens new
    /// ones. They begin empty, so that no bucket is ever full.
    fn turn(&mut self, more: bool) {
        let was_open = self.epoch > 0;
        let closed = self.accounts();
        self.shared
            .announced
            .store(self.epoch + 1, Ordering::SeqCst);

        let mut pipe = redis::pipe();
        pipe.atomic();
        if was_open {
            look_at_limits(&mut pipe);
        }
        pipe.cmd("FLUSHALL").ignore();
        if more {
            self.epoch += 1;
            self.sign(&mut pipe);
            for database in [0, 1] {
                pipe.cmd("SELECT").arg(database).ignore();
                for bucket in 0..BUCKETS {
                    let mut empty = call("RL.TAKE", &[format!("bucket:{bucket}")]);
                    empty.arg(&[RATE, BURST]).arg("COST").arg(BURST);
                    pipe.add_command(empty).ignore();
                }
                // Begins with some usage, so that a refund never empties the window.
                for n in BUCKETS..LIMITS {
                    let (key, window) = window(n);
                    let mut used = call("RL.WTAKE", &[key, LIMIT.to_string()]);
                    used.arg(window.split(' ').collect::<Vec<_>>());
                    used.arg("COST").arg(LIMIT / 2);
                    pipe.add_command(used).ignore();
                }
            }
            look_at_limits(&mut pipe);
        }
        let levels: Vec<Value> = pipe.query(&mut self.connection).expect("all at once");
        self.shared.begun.store(self.epoch, Ordering::SeqCst);

        let mut levels = levels.chunks_exact(LIMITS).map(read_levels);
        let mut next = || levels.next().expect("levels of each database");
        if was_open {
            for account in closed {
                self.ledger.close(account, next());
            }
        }
        if more {
            for account in self.accounts() {
                self.ledger.open(account, next());
            }
        }
    }

    fn accounts(&self) -> [Account; 2] {
        let epoch = self.epoch;
        self.sides.map(|side| Account { epoch, side })
    }

    /// Puts a new sign into each database.
    fn sign(&mut self, pipe: &mut Pipeline) {
        for (database, account) in self.accounts().into_iter().enumerate() {
            self.serial += 1;
            let sign = Sign {
                account,
                serial: self.serial,
            };
            pipe.cmd("SELECT").arg(database).ignore();
            pipe.cmd("SET").arg(Sign::KEY).arg(sign.to_text()).ignore();
        }
    }

    fn swap(&mut self) {
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("SWAPDB").arg(0).arg(1).ignore();
        self.sides.reverse();
        self.sign(&mut pipe);
        let () = pipe.query(&mut self.connection).expect("swapped");
    }

    fn kill_some(&mut self) {
        self.shared.killed.store(self.epoch, Ordering::SeqCst);
        let c = &mut self.connection;
        let own = c.ask::<i64>("CLIENT ID").to_string();
        let list: String = c.ask("CLIENT LIST TYPE normal");
        let ids = list
            .split_whitespace()
            .filter_map(|word| word.strip_prefix("id="));
        for id in ids.filter(|id| *id != own) {
            if self.dice.roll(0..10) == 0 {
                // The client may already be gone.
                let _: i64 = c.call(&["CLIENT", "KILL", "ID", id]);
            }
        }
    }

    fn kill_all(&mut self) {
        self.shared.killed.store(self.epoch, Ordering::SeqCst);
        self.connection.ask::<i64>("CLIENT KILL TYPE normal");
    }

    fn pause_writes(&mut self) {
        self.connection.ask::<()>("CLIENT PAUSE 50 WRITE");
    }

    fn pause_all(&mut self) {
        self.connection.ask::<()>("CLIENT PAUSE 50");
        self.pause_writes();
        self.connection.ask::<()>("CLIENT UNPAUSE");
    }

    fn reload(&mut self) {
        self.connection.ask::<()>("DEBUG RELOAD");
    }

    /// Limits the memory until new buckets are denied, then restores it.
    fn squeeze(&mut self) {
        let refused = || self.server.count("rl_errors_memory");
        let before = refused();
        let c = &mut self.connection;
        c.ask::<()>("CONFIG SET maxmemory 1");
        wait_until("new buckets are refused", || refused() > before);
        c.ask::<()>("CONFIG SET maxmemory 0");
    }

    /// Runs an endless script until other clients get BUSY, then kills it.
    fn kill_script(&mut self) {
        let script =
            format!("while true do redis.call('RL.PEEK', 'bucket:0', '{RATE}', '{BURST}') end");
        let mut busy = self.server.connection();
        let endless = call("EVAL", &[script.as_str(), "0"]).get_packed_command();
        busy.send_packed_command(&endless).expect("sent");
        let c = &mut self.connection;
        wait_until("the script keeps others out", || {
            let answer = redis::cmd("PING").query::<Value>(c);
            answer.is_err_and(|error| error.code() == Some("BUSY"))
        });
        c.ask::<()>("SCRIPT KILL");
        let end = until("the script ends", || busy.recv_response().ok());
        assert!(matches!(end, Value::ServerError(_)), "{end:?}");
    }

    fn resize_top(&mut self) {
        let c = &mut self.connection;
        let known: Value = c.ask("CONFIG GET rl.top-keys");
        c.ask::<()>("RL.TOP RESET");
        for keys in ["0", "4096", "1", "128"] {
            // Redis 6.2 has no settings of modules.
            if !texts(&known).is_empty() {
                c.call::<()>(&["CONFIG", "SET", "rl.top-keys", keys]);
            }
        }
    }
}

fn look_at_limits(pipe: &mut Pipeline) {
    for database in [0, 1] {
        pipe.cmd("SELECT").arg(database).ignore();
        for bucket in 0..BUCKETS {
            pipe.cmd("GET").arg(format!("bucket:{bucket}"));
        }
        for n in BUCKETS..LIMITS {
            pipe.cmd("GET").arg(window(n).0);
        }
    }
}

fn read_levels(replies: &[Value]) -> Levels {
    std::array::from_fn(|n| Level::read(&replies[n]))
}
