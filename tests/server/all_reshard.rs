//! RL.ALL and RL.SETTLE while the slot of their keys moves from one master to another and back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;

use redis::{Connection, RedisResult, Value};

use crate::common::wait_until;
use crate::support::cluster::{Cluster, MASTERS};
use crate::support::mixed::Replies;
use crate::support::Ask;
use crate::wait::holders;

/// The bucket refills nothing that counts, so every unit is accounted for.
const CHARGED: &str = "4 {all}:b {all}:w {all}:s {all}:l BUCKET 0.001 1000000 COST 3 \
     WINDOW 1000000 30d COST 3 WINDOW 1000000 SLIDING 30d COST 3 LEASE 100000 1h";
/// Denied by the window most of the time, and then the bucket must not be charged either.
const ROOM: i64 = 60;
const DENIED: &str = "2 {all}:b2 {all}:w2 BUCKET 0.001 1000000 WINDOW 60 30d";
/// A reservation of 5, and its settlement.
const RESERVED: &str =
    "5 {all}:rb {all}:rw {all}:rs {all}:rl {all}:holds BUCKET 0.001 1000000 COST 5 \
     WINDOW 1000000 30d COST 5 WINDOW 1000000 SLIDING 30d COST 5 LEASE 100000 1h NAME HOLD 1h NAME";
const SETTLED: &str =
    "5 {all}:rb {all}:rw {all}:rs {all}:rl {all}:holds BUCKET 0.001 1000000 USED AMOUNT \
     WINDOW 1000000 30d USED AMOUNT WINDOW 1000000 SLIDING 30d USED AMOUNT LEASE NAME HOLD NAME";
const CLIENTS: usize = 2;

/// The two nodes that have the slot by turns, as a client of the cluster talks to them.
struct Client {
    nodes: [Connection; 2],
    /// The node that it believes to own the slot.
    at: usize,
    redirected: usize,
}

impl Client {
    /// Repeats the call, unchanged, until a node answers.
    fn ask(&mut self, command: &str, words: &str) -> Replies {
        let mut call = redis::cmd(command);
        call.arg(words.split_whitespace().collect::<Vec<_>>());
        loop {
            let mut answer: RedisResult<Replies> = call.query(&mut self.nodes[self.at]);
            if code(&answer) == "ASK" {
                self.redirected += 1;
                let mut both = redis::pipe();
                both.cmd("ASKING").ignore().add_command(call.clone());
                let other = &mut self.nodes[1 - self.at];
                let asked: RedisResult<(Replies,)> = both.query(other);
                answer = asked.map(|(replies,)| replies);
            }
            match answer {
                Ok(replies) => return replies,
                Err(_) if code(&answer) == "MOVED" => self.at = 1 - self.at,
                // The keys are on two nodes.
                Err(_) if code(&answer) == "TRYAGAIN" => {}
                Err(error) => panic!("{error}"),
            }
            self.redirected += 1;
        }
    }
}

fn code<T>(answer: &RedisResult<T>) -> &str {
    let error = answer.as_ref().err();
    error.and_then(|error| error.code()).unwrap_or_default()
}

/// The replies that the clients received.
#[derive(Default)]
struct Told {
    charged: i64,
    passed: i64,
    /// The amounts that were settled.
    used: i64,
    redirected: usize,
}

fn start(clients: Vec<Client>, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<Told>> {
    let starts = clients.into_iter().enumerate().map(|(n, mut client)| {
        let stop = Arc::clone(stop);
        std::thread::spawn(move || {
            let mut told = Told::default();
            while !stop.load(Ordering::SeqCst) {
                let id = format!("{n}-{}", told.charged);
                let (taken, _, each) = client.ask("RL.ALL", &format!("{CHARGED} {id} ONCE"));
                // Said twice where it was made already: that charges nothing.
                assert_eq!((taken, each.len()), (1, 4));
                told.charged += 1;
                told.passed += client.ask("RL.ALL", DENIED).0;
                let reserved = client.ask("RL.ALL", &RESERVED.replace("NAME", &id));
                assert_eq!(reserved.0, 1);
                // Less and more than was reserved, and sometimes nothing.
                let used = told.charged % 9;
                let settled = SETTLED
                    .replace("NAME", &id)
                    .replace("AMOUNT", &used.to_string());
                let settled = client.ask("RL.SETTLE", &settled);
                assert_eq!((settled.0, settled.2[3][0]), (1, 1));
                told.used += used;
            }
            told.redirected = client.redirected;
            told
        })
    });
    starts.collect()
}

#[test]
fn every_unit_is_accounted_for_while_the_slot_moves() {
    let cluster = Cluster::without_replicas();
    let slot = cluster.slot("{all}:b");
    let from = cluster.first_owner(slot);
    let to = (from + 1) % MASTERS;
    let nodes = [from, to].map(|n| &cluster.nodes[n]);
    // So that it takes a while: keys are moved by tens.
    let mut first = nodes[0].connection();
    for n in 0..500 {
        let () = first.ask(&format!("SET {{all}}:other:{n} v"));
    }

    let client = |_| Client {
        nodes: nodes.map(|node| node.connection()),
        at: 0,
        redirected: 0,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let clients = start((0..CLIENTS).map(client).collect(), &stop);
    let used = |node: usize| -> i64 {
        let peeked: RedisResult<[i64; 5]> = redis::cmd("RL.WPEEK")
            .arg(&["{all}:w", "1000000", "30d"])
            .query(&mut nodes[node].connection());
        peeked.map_or(0, |reply| 1_000_000 - reply[2])
    };
    wait_until("calls pass", || used(0) > 300);
    cluster.move_slot(slot, from, to);
    let before = used(1);
    wait_until("calls pass there", || used(1) > before + 300);
    cluster.move_slot_at_once(slot, to, from);
    let before = used(0);
    wait_until("calls pass again", || used(0) > before + 300);
    stop.store(true, Ordering::SeqCst);

    let mut told = Told::default();
    for client in clients {
        let one = client.join().expect("a client that ends");
        told.charged += one.charged;
        told.passed += one.passed;
        told.used += one.used;
        told.redirected += one.redirected;
    }
    println!("{} calls, {} redirected", told.charged, told.redirected);
    assert!(told.redirected > 0);
    let mut left = |words: &str| first.ask::<[i64; 5]>(words)[2];
    for words in [
        "RL.PEEK {all}:b 0.001 1000000",
        "RL.WPEEK {all}:w 1000000 30d",
        "RL.WPEEK {all}:s 1000000 SLIDING 30d",
    ] {
        assert_eq!(1_000_000 - left(words), 3 * told.charged, "{words}");
    }
    for words in [
        "RL.PEEK {all}:rb 0.001 1000000",
        "RL.WPEEK {all}:rw 1000000 30d",
        "RL.WPEEK {all}:rs 1000000 SLIDING 30d",
    ] {
        assert_eq!(1_000_000 - left(words), told.used, "{words}");
    }
    assert_eq!(told.passed, ROOM);
    assert_eq!(left("RL.PEEK {all}:b2 0.001 1000000"), 1_000_000 - ROOM);
    assert_eq!(left("RL.WPEEK {all}:w2 60 30d"), 0);
    let leases: Vec<Value> = first.ask("RL.LEASES {all}:l 100000");
    assert_eq!(leases[0], Value::Int(told.charged));
    assert!(holders(&mut first, "{all}:rl").is_empty());
    let open: Vec<Value> = first.ask("RL.HOLDS {all}:holds");
    assert_eq!(open[0], Value::Int(0));
}
