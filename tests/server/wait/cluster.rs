//! Callers that wait for a key whose hash slot moves to another node.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use redis::cluster::ClusterClient;

use super::{assert_unloads, wait_until_waiting, waiting};
use crate::common::{root, wait_until};
use crate::support::cluster::{Cluster, MASTERS};
use crate::support::{Ask, Reply};

const KEY: &str = "{wait}:k";

#[test]
fn cluster_clients_that_wait_through_a_migration_get_their_slot() {
    let cluster = Cluster::without_replicas();
    let slot = cluster.slot(KEY);
    let from = cluster.first_owner(slot);
    let to = (from + 1) % MASTERS;
    let [source, target] = [from, to].map(|n| &cluster.nodes[n]);
    source.ask::<Reply>(&format!("RL.ACQUIRE {KEY} 1 1h a"));
    let addresses = cluster
        .nodes
        .iter()
        .map(|node| format!("127.0.0.1:{}", node.port()));
    let addresses: Vec<_> = addresses.collect();

    let urls = addresses.iter().map(|address| format!("redis://{address}"));
    let client = ClusterClient::builder(urls)
        .response_timeout(Duration::from_secs(90))
        .build()
        .expect("addresses");
    let redis_rs = thread::spawn(move || {
        let mut c = client.get_connection().expect("a connection");
        let mut acquire = redis::cmd("RL.ACQUIRE");
        acquire.arg(&[KEY, "1", "1h", "rs", "WAIT", "60000"]);
        acquire.query::<Reply>(&mut c).expect("a reply")
    });
    wait_until_waiting(source, 1);
    let redis_py = Command::new(root().join("target/clients/py/bin/python"))
        .arg(root().join("tests/clients/wait.py"))
        .args([&addresses.join(","), KEY])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("scripts/setup.sh clients");
    wait_until_waiting(source, 2);

    cluster.move_slot(slot, from, to);
    wait_until_waiting(source, 0);
    wait_until_waiting(target, 2);
    let mut c = target.connection();
    let mut released = c.ask::<i64>(&format!("RL.RELEASE {KEY} a"));
    wait_until("the slot is passed on to both", || {
        released += c.ask::<i64>(&format!("RL.RELEASE {KEY} rs py"));
        released == 3
    });
    assert_eq!(redis_rs.join().expect("a reply")[0], 1);
    let output = redis_py.wait_with_output().expect("an end");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1");

    // A plain client is told to try again, whichever way the slot moves.
    c.ask::<Reply>(&format!("RL.ACQUIRE {KEY} 1 1h a"));
    let mut waiter = waiting(target, &format!("{KEY} 1 1h b WAIT 60000"));
    cluster.move_slot_at_once(slot, to, from);
    let error = waiter.error();
    assert!(
        error.starts_with("TRYAGAIN ") || error.starts_with("MOVED "),
        "{error}"
    );
    for node in [source, target] {
        wait_until_waiting(node, 0);
        assert_unloads(node);
    }
}
