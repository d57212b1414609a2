//! P9: after a denied take the key does not expire before the bucket is full under the limit of that
//! take, whatever has happened to the key before.

use redis::{Connection, Value};

use crate::common::Server;
use crate::support::node::launch;
use crate::support::traffic::Dice;
use crate::support::windows::now_ms;
use crate::support::{call, expires_at, now, Ask, Reply};

/// Alike at both ends and of the same length, so that a part of a key cannot stand for it.
const KEYS: [&str; 4] = [
    "{acme42}:rpm:limit",
    "{acme42}:tpm:limit",
    "{acme42}:rpd:limit",
    "{acme42}:tpd:limit",
];
/// Rate and burst: full after 2 seconds to 10 hours.
const LIMITS: [&str; 5] = ["5/s 10", "1/h 10", "1/m 10", "100/h 10", "7/m 3"];

/// Returns the reply of a take that must be denied.
fn deny(c: &mut Connection, words: &str) -> Reply {
    let reply = c.take(words);
    assert_eq!(reply[0], 0, "{words}");
    reply
}

/// Checks that the key lives until the bucket is full, `reset_ms` after `asked_at`. It may have
/// expired if that time has passed.
fn assert_lives(c: &mut Connection, key: &str, asked_at: u64, reset_ms: i64, context: &str) {
    if reset_ms == 0 {
        return;
    }
    let full_at = i64::try_from(asked_at / 1_000_000).expect("a time") + reset_ms;
    let expires = expires_at(c, key);
    let is_full = now_ms() >= full_at;
    assert!(
        expires == -1 || expires >= full_at || expires == -2 && is_full,
        "{context}: {key} expires at {expires}, and the bucket is full at {full_at}"
    );
}

#[test]
fn denied_bucket_lives_until_full_although_another_was_written_with_it() {
    let server = Server::start();
    let mut c = server.connection();
    let [a, b, ..] = KEYS;
    let charge = [
        format!("RL.MTAKE 2 {a} 5/m 10 {b} 5/m 10 COST 10"),
        format!("RL.ALL 2 {a} {b} BUCKET 5/m 10 COST 10 BUCKET 5/m 10 COST 10"),
    ];
    for charge in charge {
        let _: Value = c.ask(&charge);
        for key in [a, b] {
            let asked_at = now();
            let reply = deny(&mut c, &format!("{key} 1/h 10"));
            assert_lives(&mut c, key, asked_at, reply[4], &charge);
        }
        c.ask::<()>("FLUSHALL");
    }
}

#[test]
fn denied_bucket_lives_until_full_after_a_copy_and_an_expiry_by_hand() {
    let server = Server::start();
    let mut c = server.connection();
    c.take("k 5/m 10 COST 10");
    c.ask::<()>("COPY k k DB 1");
    for database in ["SELECT 0", "SELECT 1"] {
        c.ask::<()>(database);
        let asked_at = now();
        let reply = deny(&mut c, "k 1/h 10");
        assert_lives(&mut c, "k", asked_at, reply[4], database);
    }
    for by_hand in ["PEXPIRE k 90000", "GETEX k PX 90000", "RESTORE"] {
        match by_hand {
            "RESTORE" => {
                let dump: Vec<u8> = c.ask("DUMP k");
                let restore = call("RESTORE", &["k", "90000"])
                    .arg(dump)
                    .arg("REPLACE")
                    .clone();
                let () = restore.query(&mut c).expect("OK");
            }
            words => drop(c.ask::<Value>(words)),
        }
        let asked_at = now();
        let reply = deny(&mut c, "k 1/h 10");
        assert_lives(&mut c, "k", asked_at, reply[4], by_hand);
    }
}

#[test]
fn denied_take_gives_no_expiry_to_a_key_that_lost_it() {
    let server = Server::start();
    let mut c = server.connection();
    c.take("k 1/h 10 COST 10");
    c.ask::<i64>("PERSIST k");
    deny(&mut c, "k 1/h 10");
    assert_eq!(c.ask::<i64>("TTL k"), -1);
}

#[test]
fn refund_that_removes_a_bucket_aborts_a_watch() {
    let server = Server::start();
    let mut c = server.connection();
    let mut watching = server.connection();
    c.take("k 1/h 10");
    watching.ask::<()>("WATCH k");
    c.ask::<Value>("RL.GIVE k 1/h 10");
    assert_eq!(c.ask::<i64>("EXISTS k"), 0);
    watching.ask::<()>("MULTI");
    watching.ask::<()>("PING");
    assert_eq!(watching.ask::<Value>("EXEC"), Value::Nil);
}

/// A random history of a server.
struct World {
    dice: Dice,
    history: Vec<String>,
    /// Number of databases in use.
    databases: u64,
}

impl World {
    fn key(&mut self) -> &'static str {
        KEYS[self.dice.roll(0..KEYS.len() as u64) as usize]
    }

    fn limit(&mut self) -> &'static str {
        LIMITS[self.dice.roll(0..LIMITS.len() as u64) as usize]
    }

    fn two_keys(&mut self) -> [&'static str; 2] {
        let first = self.dice.roll(0..KEYS.len() as u64) as usize;
        let other = self.dice.roll(1..KEYS.len() as u64) as usize;
        [KEYS[first], KEYS[(first + other) % KEYS.len()]]
    }

    /// Returns a command that changes a key's value or expiry, by the module or behind its back.
    fn change(&mut self) -> String {
        let (key, limit) = (self.key(), self.limit());
        let [from, to] = self.two_keys();
        let cost = self.dice.roll(1..11);
        let ms = self.dice.roll(500..5_000);
        let database = self.dice.roll(0..self.databases);
        match self.dice.roll(0..24) {
            0..3 => format!("RL.TAKE {key} {limit} COST {cost} ATMOST"),
            3 => format!("RL.TAKE {key} {limit} COST {cost} FORCE"),
            4 => format!("RL.GIVE {key} {limit} COST {cost}"),
            5..8 => format!("RL.MTAKE 2 {from} {limit} {to} {limit} COST 3"),
            8..10 => format!("RL.ALL 2 {from} {to} BUCKET {limit} BUCKET {limit}"),
            10..12 => format!("CL.THROTTLE {key} 9 5 1 {cost}"),
            12..14 => format!("COPY {from} {to} REPLACE"),
            14 => format!("COPY {key} {key} DB {database} REPLACE"),
            15 => format!("MOVE {key} {database}"),
            16 => format!("SWAPDB 0 {database}"),
            17..19 => format!("RENAME {from} {to}"),
            19..21 => format!("PEXPIRE {key} {ms}"),
            21 => format!("GETEX {key} PX {ms}"),
            22 => format!("RESTORE {from} {to} {ms}"),
            _ => format!("PERSIST {key}"),
        }
    }

    /// Makes the change. Those that find no key, or one where none may be, change nothing.
    fn make(&mut self, c: &mut Connection, change: &str) {
        let words: Vec<_> = change.split(' ').collect();
        if let ["RESTORE", from, to, ms] = words[..] {
            let dump: Option<Vec<u8>> = c.call(&["DUMP", from]);
            if let Some(dump) = dump {
                let mut restore = call("RESTORE", &[to, ms]);
                let () = restore.arg(dump).arg("REPLACE").query(c).expect("OK");
            }
        } else {
            let _ = call(words[0], &words[1..]).query::<Value>(c);
        }
        self.history.push(change.to_owned());
    }

    /// Asks for much in one of the ways, and checks each key that was denied.
    fn deny(&mut self, c: &mut Connection) {
        let (key, limit) = (self.key(), self.limit());
        let [from, to] = self.two_keys();
        let other = self.limit();
        let words = match self.dice.roll(0..5) {
            0..2 => format!("RL.TAKE {key} {limit} COST 3 KEEP 7"),
            2 => format!("RL.MTAKE 2 {from} {limit} {to} {other} COST 10"),
            3 => format!("RL.ALL 2 {from} {to} BUCKET {limit} COST 10 BUCKET {other} COST 10"),
            _ => format!("CL.THROTTLE {key} 9 1 3600 10"),
        };
        self.history.push(words.clone());
        let recent = self.history.iter().rev().take(20).rev();
        let context = recent.cloned().collect::<Vec<_>>().join("\n");
        let asked_at = now();
        let parts: Vec<_> = words.split(' ').collect();
        match parts[0] {
            "RL.TAKE" => {
                let reply: Reply = c.call(&parts);
                if reply[0] == 0 {
                    assert_lives(c, key, asked_at, reply[4], &context);
                }
            }
            "CL.THROTTLE" => {
                let reply: Reply = c.call(&parts);
                if reply[0] == 1 {
                    let state: Reply = c.ask(&format!("RL.PEEK {key} 1/h 10"));
                    assert_lives(c, key, asked_at, state[4], &context);
                }
            }
            _ => {
                let (taken, _, replies): (i64, i64, Vec<Reply>) = c.call(&parts);
                for (key, reply) in [from, to].into_iter().zip(replies) {
                    if taken == 0 && reply[0] == 0 {
                        assert_lives(c, key, asked_at, reply[4], &context);
                    }
                }
            }
        }
    }
}

#[test]
fn denied_bucket_lives_until_full_whatever_happened_to_its_key() {
    let server = launch().start();
    let mut c = server.connection();
    let mut world = World {
        dice: Dice::new(9),
        history: Vec::new(),
        databases: 3,
    };
    for round in 0..1_500 {
        let change = world.change();
        world.make(&mut c, &change);
        if round % 10 == 0 {
            let database = world.dice.roll(0..3);
            world.make(&mut c, &format!("SELECT {database}"));
        }
        world.deny(&mut c);
    }
}

#[test]
fn denied_bucket_lives_until_full_on_a_master_that_was_a_replica() {
    let mut servers = [launch().start(), launch().start()];
    let mut world = World {
        dice: Dice::new(10),
        history: Vec::new(),
        databases: 1,
    };
    for _ in 0..4 {
        let [master, replica] = &servers;
        replica.replicate(master);
        replica.wait_for_link();
        let mut c = master.connection();
        for _ in 0..60 {
            let change = world.change();
            world.make(&mut c, &change);
            world.deny(&mut c);
        }
        replica.wait_for(master);
        let () = replica.ask("REPLICAOF NO ONE");
        world
            .history
            .push("-- the replica is the master".to_owned());
        let mut c = replica.connection();
        for _ in 0..60 {
            world.deny(&mut c);
            let change = world.change();
            world.make(&mut c, &change);
        }
        servers.reverse();
    }
}
