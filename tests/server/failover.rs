//! A replica takes its master's place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use redis::sentinel::{SentinelClient, SentinelServerType};
use redis::{Connection, RedisResult};

use crate::common::{until, wait_until, Launch, Server};
use crate::support::admitted::{
    logging, unshipped, wait_until_drained, Script, Tally, BURST, RATE,
};

const KEYS: [&str; 3] = ["first", "second", "third"];

fn keys() -> Vec<String> {
    KEYS.map(str::to_owned).to_vec()
}

/// Milliseconds of silence that a busy master does not reach.
const PATIENT: u32 = 30_000;

/// Starts a sentinel that does not mistake a busy master for a failed one.
fn sentinel(master: &Server) -> Server {
    let port = master.port();
    let configuration = format!(
        "sentinel monitor limits 127.0.0.1 {port} 2\n\
         sentinel down-after-milliseconds limits {PATIENT}\n\
         sentinel failover-timeout limits 6000\n"
    );
    Launch::sentinel(&configuration).start()
}

/// Makes the sentinels declare a master down that has been silent for this long.
fn set_patience(sentinels: &[Server], milliseconds: u32) {
    for sentinel in sentinels {
        let set = format!("SENTINEL SET limits down-after-milliseconds {milliseconds}");
        let () = sentinel.ask(&set);
    }
}

/// Returns a field that a sentinel reports about the master.
fn known(sentinel: &Server, field: &str) -> String {
    let about: Vec<String> = sentinel.ask("SENTINEL MASTER limits");
    let mut pairs = about.chunks_exact(2);
    let found = pairs.find(|pair| pair[0] == field);
    found.map(|pair| pair[1].clone()).unwrap_or_default()
}

/// Waits until the sentinels know each other and the replicas.
fn wait_for_agreement(sentinels: &[Server]) {
    for sentinel in sentinels {
        wait_until("the sentinels know the others", || {
            known(sentinel, "num-other-sentinels") == "2"
                && known(sentinel, "num-slaves") == "2"
                && known(sentinel, "flags") == "master"
        });
    }
}

/// Clients that ask the sentinels where the master is whenever they lose it.
struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Tally>>,
}

impl Clients {
    fn start(sentinels: &[Server]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |_| {
            let addresses: Vec<_> = sentinels.iter().map(Server::url).collect();
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || take_by_sentinel(addresses, &stop))
        };
        let threads = (0..2).map(client).collect();
        Self { stop, threads }
    }

    fn stop(self) -> Tally {
        self.stop.store(true, Ordering::SeqCst);
        let mut tally = Tally::default();
        for thread in self.threads {
            tally.merge(thread.join().expect("a client that ends"));
        }
        tally
    }
}

fn take_by_sentinel(sentinels: Vec<String>, stop: &AtomicBool) -> Tally {
    let name = "limits".to_owned();
    let mut client = SentinelClient::build(sentinels, name, None, SentinelServerType::Master)
        .expect("addresses");
    let mut tally = Tally::default();
    while !stop.load(Ordering::SeqCst) {
        // Sentinels that are asked without a pause have no time left to elect anybody.
        let found = until("a master is found", || match client.get_connection() {
            Ok(connection) => Some(Some(connection)),
            Err(_) if stop.load(Ordering::SeqCst) => Some(None),
            Err(_) => {
                *tally.errors.entry("connection".into()).or_default() += 1;
                None
            }
        });
        let Some(mut connection) = found else {
            break;
        };
        while !stop.load(Ordering::SeqCst) && take_each(&mut connection, &mut tally).is_ok() {}
    }
    tally
}

/// Sends several calls per key in one pipeline.
fn take_each(connection: &mut Connection, tally: &mut Tally) -> RedisResult<()> {
    let keys = KEYS.iter().cycle().take(3 * KEYS.len());
    let mut pipe = redis::pipe();
    for key in keys.clone() {
        pipe.cmd("RL.TAKE").arg(key).arg(RATE).arg(BURST);
    }
    let replies: RedisResult<Vec<RedisResult<[i64; 5]>>> = pipe.ignore_errors().query(connection);
    match replies {
        Ok(replies) => {
            let refused = replies.iter().any(|reply| reply.is_err());
            for (key, reply) in keys.zip(replies) {
                tally.add(key, reply);
            }
            // Such as READONLY, from a master that was made a replica: the next one is asked for.
            if refused {
                return Err((redis::ErrorKind::Io, "not the master").into());
            }
            Ok(())
        }
        Err(error) => {
            tally.add("", Err(error.clone()));
            Err(error)
        }
    }
}

/// Its role, if it answers: a Sentinel that promotes a server also cuts its clients off.
fn role(server: &Server) -> String {
    let info = server.client().get_connection().and_then(|mut connection| {
        let info: RedisResult<String> = redis::cmd("INFO").query(&mut connection);
        info
    });
    let info = info.unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("role:"));
    line.unwrap_or_default().to_owned()
}

#[test]
fn sentinels_promote_a_replica_under_load() {
    let mut master = logging().start();
    let replicas = [master.attach(logging()), master.attach(logging())];
    for replica in &replicas {
        replica.wait_for_rewrite();
    }
    let sentinels = [(); 3].map(|()| sentinel(&master));
    wait_for_agreement(&sentinels);

    let start = Instant::now();
    let clients = Clients::start(&sentinels);
    let all: Vec<_> = sentinels.iter().collect();
    let script = Script::start("taker.py", "sentinel", &all, &keys());
    for key in KEYS {
        wait_until_drained(&master, key);
    }
    master.kill();
    set_patience(&sentinels, 1_000);
    let heir = until("a replica is promoted", || {
        replicas.iter().find(|replica| role(replica) == "master")
    });
    // Otherwise they would mistake the heir for a failed master while it is busy.
    set_patience(&sentinels, PATIENT);
    let late = heir.count("total_commands_processed") + 1_000;
    wait_until("clients have found it", || {
        heir.count("total_commands_processed") > late
    });

    let mut tally = clients.stop();
    tally.merge(script.stop());
    tally.taken.retain(|key, _| !key.is_empty());
    tally.assert_within(start, &unshipped(&master, heir));
    let expected = [
        "connection",
        "READONLY",
        "LOADING",
        "MASTERDOWN",
        "UNBLOCKED",
    ];
    for error in tally.errors.keys() {
        assert!(expected.contains(&error.as_str()), "{error}");
    }
}

/// A master in a planned failover waits for its replica: nothing is over-admitted.
#[test]
fn planned_failover_loses_nothing() {
    let master = logging().start();
    let heir = master.attach(logging());
    heir.wait_for_rewrite();
    assert_eq!(take(&master, 3_000), 3_000);
    master.fail_over_to(&heir);
    assert!(unshipped(&master, &heir).is_empty());
    assert_eq!(take(&heir, 3_000), 0);
}

/// The over-admission equals the takes that were not replicated: not more, and not less, otherwise
/// the test would measure nothing.
#[test]
fn failover_over_admits_only_unreplicated_takes() {
    let mut master = logging().start();
    let heir = master.attach(logging());
    heir.wait_for_rewrite();
    assert_eq!(take(&master, 2_000), 2_000);
    heir.wait_for(&master);
    let paused = heir.pause();
    let _: i64 = master.ask("CLIENT KILL TYPE replica");
    for _ in 0..50 {
        assert_eq!(take(&master, 1), 1);
    }
    master.kill();
    paused.resume();
    let () = heir.ask("REPLICAOF NO ONE");
    let expected = [("bucket".to_owned(), 50)].into();
    assert_eq!(unshipped(&master, &heir), expected);
    assert_eq!(take(&heir, 1_000), 1_000);
    assert_eq!(take(&heir, 1), 0);
}

/// Takes `tokens` from a bucket of 3000 that refills one token a day.
fn take(server: &Server, tokens: u32) -> i64 {
    let reply = server.take(&format!("bucket 1/d 3000 COST {tokens}"));
    reply[0]
}
