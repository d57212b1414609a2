//! Six nodes, whose slots move and whose masters die while clients in three languages go on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::Value;

use crate::common::{wait_until, Server};
use crate::support::admitted::{unshipped, wait_until_drained, Script, Tally, BURST, RATE};
use crate::support::cluster::{Cluster, MASTERS};
use crate::support::takers::{self, assert_between, Takers};
use crate::support::{node, Ask};

/// A node that stalls must not look like one that died.
const PATIENCE: Duration = Duration::from_secs(30);

/// One key each for the first and the second master, and two in a slot of the third.
const KEYS: [&str; 4] = ["bar", "hello", "{foo}:1", "{foo}:2"];

/// Clients of this language, each with several calls on their way at once.
struct Clients {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Tally>,
}

impl Clients {
    fn start(cluster: &Cluster) -> Self {
        let addresses: Vec<_> = cluster.nodes.iter().map(Server::url).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(take(addresses, told))
        });
        Self { stop, thread }
    }

    fn stop(self) -> Tally {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("clients that end")
    }
}

async fn take(addresses: Vec<String>, stop: Arc<AtomicBool>) -> Tally {
    let client = ClusterClient::builder(addresses)
        .connection_timeout(PATIENCE)
        .response_timeout(PATIENCE)
        .build()
        .expect("addresses");
    let connection = client.get_async_connection().await.expect("a connection");
    let mut tasks = tokio::task::JoinSet::new();
    for key in KEYS {
        tasks.spawn(take_from(connection.clone(), key, Arc::clone(&stop)));
    }
    let mut tally = Tally::default();
    while let Some(task) = tasks.join_next().await {
        tally.merge(task.expect("a task that ends"));
    }
    tally
}

async fn take_from(
    mut connection: ClusterConnection,
    key: &'static str,
    stop: Arc<AtomicBool>,
) -> Tally {
    let mut tally = Tally::default();
    let mut take = redis::cmd("RL.TAKE");
    take.arg(key).arg(RATE).arg(BURST);
    while !stop.load(Ordering::SeqCst) {
        tally.add(key, take.query_async(&mut connection).await);
    }
    tally
}

/// Returns the tally of all clients while `during` runs.
fn tally_of_all(cluster: &Cluster, during: impl FnOnce()) -> Tally {
    let nodes: Vec<_> = cluster.nodes.iter().collect();
    let keys: Vec<_> = KEYS.map(str::to_owned).to_vec();
    let both = vec!["{foo}:1+{foo}:2".to_owned(), "bar".to_owned()];
    let scripts = [
        Script::start("taker.py", "cluster", &nodes, &both),
        Script::start("taker.mjs", "cluster", &nodes, &keys),
    ];
    let clients = Clients::start(cluster);
    for key in KEYS {
        wait_until_drained(&cluster.nodes[cluster.first_owner(cluster.slot(key))], key);
    }
    during();
    pass_some_time();
    let mut tally = clients.stop();
    for script in scripts {
        tally.merge(script.stop());
    }
    tally
}

/// Waits while the clients take the refill.
fn pass_some_time() {
    let start = Instant::now();
    wait_until("time has passed", || {
        start.elapsed() > Duration::from_millis(1_000)
    });
}

fn assert_errors(tally: &Tally, expected: &[&str]) {
    for (error, count) in &tally.errors {
        assert!(expected.contains(&error.as_str()), "{count} times {error}");
    }
}

#[test]
fn slots_move_and_a_master_dies_under_load() {
    let mut cluster = Cluster::start();
    let start = Instant::now();
    let mut tally = tally_of_all(&cluster, || {
        for key in ["hello", "{foo}:1"] {
            let slot = cluster.slot(key);
            let from = cluster.first_owner(slot);
            let to = (from + 1) % MASTERS;
            cluster.move_slot(slot, from, to);
            cluster.move_slot_at_once(slot, to, from);
        }
    });
    // A call with two keys may come upon them on two nodes.
    assert_errors(&tally, &["TRYAGAIN"]);
    tally.assert_within(start, &BTreeMap::new());
    assert_several_keys(&cluster);

    let victim = cluster.first_owner(cluster.slot("bar"));
    let process = cluster.nodes[victim].count("process_id");
    let more = tally_of_all(&cluster, || {
        cluster.lose_patience();
        node::kill(process);
        let heir = &cluster.nodes[MASTERS + victim];
        wait_until("the replica is promoted", || {
            heir.info(["role"]) == ["master"]
        });
        for node in &cluster.nodes[MASTERS..] {
            wait_until("the cluster is up again", || {
                let about: String = node.ask("CLUSTER INFO");
                about.contains("cluster_state:ok")
            });
        }
    });
    assert_errors(
        &more,
        &[
            "TRYAGAIN",
            "CLUSTERDOWN",
            "MOVED",
            "ASK",
            "LOADING",
            "connection",
        ],
    );
    tally.merge(more);
    cluster.nodes[victim].kill();
    let lost = unshipped(&cluster.nodes[victim], &cluster.nodes[MASTERS + victim]);
    tally.assert_within(start, &lost);
}

fn is_redirection(error: &str) -> bool {
    error.starts_with("Moved") || error.starts_with("Ask")
}

/// The new owner receives effects, never calls that it would execute again.
#[test]
fn a_slot_moves_under_load_from_a_master_without_replicas() {
    let cluster = Cluster::without_replicas();
    let slot = cluster.slot(&takers::key(0));
    let from = cluster.first_owner(slot);
    let to = (from + 1) % MASTERS;
    let moves: [fn(&Cluster, u16, usize, usize); 2] =
        [Cluster::move_slot, Cluster::move_slot_at_once];
    for (move_slot, (from, to)) in moves.iter().zip([(from, to), (to, from)]) {
        let (source, target) = (&cluster.nodes[from], &cluster.nodes[to]);
        let _: Value = source.ask("FLUSHALL");
        // Keys of the slot that nobody touches.
        let [fixed, sliding] =
            ["fixed", "sliding"].map(|kind| format!("{}:{kind}", takers::key(0)));
        for window in [format!("{fixed} 9 30d"), format!("{sliding} 9 SLIDING 30d")] {
            let _: Value = source.ask(&format!("RL.WTAKE {window} COST 4"));
        }
        let windows = source.contents();
        let () = target.ask("CONFIG RESETSTAT");
        // They know only this node, so whatever the other does it was sent.
        let takers = Takers::with_refusals(source, is_redirection);
        takers.pass(500);
        move_slot(&cluster, slot, from, to);
        let (taken, most) = takers.stop();
        let commands: String = target.ask("INFO commandstats");
        assert!(!commands.to_lowercase().contains("rl."), "{commands}");
        assert_between(target, &taken, &most);
        let moved = target.contents();
        for (key, (value, expires_at)) in &windows {
            assert_eq!(moved[key].0, *value);
            // The server may send the time left instead of the absolute time.
            assert!((0..60_000).contains(&(moved[key].1 - expires_at)));
        }
        let left: [i64; 5] = target.ask(&format!("RL.WTAKE {fixed} 9 30d COST 6"));
        assert_eq!(left[..3], [0, 9, 5]);
    }
}

/// `RL.MTAKE` takes keys of one slot, and a client learns from the server which those are.
fn assert_several_keys(cluster: &Cluster) {
    let slot = cluster.slot("{foo}:1");
    let owner = &cluster.nodes[cluster.first_owner(slot)];
    let mut connection = owner.connection();
    for words in ["{foo}:5 5 DAY", "{foo}:6 5 SLIDING 1h"] {
        let reply: [i64; 5] = connection.ask(&format!("RL.WTAKE {words}"));
        assert_eq!(reply[..3], [1, 5, 4], "{words}");
        for name in ["RL.WTAKE", "RL.WPEEK", "RL.WGIVE"] {
            let elsewhere = words.replace("{foo}", "bar:{bar}");
            let error = connection.error(&format!("{name} {elsewhere}"));
            assert!(error.starts_with("MOVED "), "{name}: {error}");
        }
    }
    let (taken, ..): (i64, i64, Value) = connection.ask("RL.MTAKE 2 {foo}:3 1/d 5 {foo}:4 1/d 5");
    assert_eq!(taken, 1);
    let error = connection.error("RL.MTAKE 2 {foo}:3 1/d 5 bar 1/d 5");
    assert!(error.starts_with("CROSSSLOT"), "{error}");
    let keys: Vec<String> = owner.ask("COMMAND GETKEYS RL.MTAKE 2 {foo}:3 1/d 5 bar 1/d 5");
    assert_eq!(keys, ["{foo}:3", "bar"]);
}
