//! Callers that wait for a key whose hash slot moves to another node.

use std::process::{Command, Stdio};
use std::thread;

use redis::cluster::ClusterClient;

use super::{assert_unloads, holders, joined, wait_until_waiting, waiting, Waiting};
use crate::common::{root, wait_until, Server};
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
    let client = ClusterClient::new(urls).expect("addresses");
    let redis_rs = thread::spawn(move || {
        let mut c = client.get_connection().expect("a connection");
        let mut acquire = redis::cmd("RL.ACQUIRE");
        acquire.arg(&[KEY, "1", "1h", "rs", "WAIT", "300000"]);
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
    wait_until("the caller is answered", || redis_rs.is_finished());
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

/// A caller waits where its key is: in a hash slot that migrates as long as the key is not moved, and
/// at the new node once the hash slot is its own.
#[test]
fn waiters_of_a_migrating_slot_are_served_where_the_key_is() {
    let cluster = Cluster::without_replicas();
    let slot = cluster.slot(KEY);
    let from = cluster.first_owner(slot);
    let [source, target] = [from, (from + 1) % MASTERS].map(|n| &cluster.nodes[n]);
    let ids = [source, target].map(|node| node.ask::<String>("CLUSTER MYID"));
    let mut c = source.connection();
    c.ask::<Reply>(&format!("RL.ACQUIRE {KEY} 1 1h a"));
    let [mut by_release, mut by_hand, mut moved] =
        ["b", "c", "d"].map(|token| waiting(source, &format!("{KEY} 1 1h {token} WAIT 60000")));
    target.ask::<()>(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[0]));
    source.ask::<()>(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[1]));
    assert_eq!(c.ask::<i64>(&format!("RL.RELEASE {KEY} a")), 1);
    assert!(by_release.taken());
    assert_eq!(c.ask::<i64>(&format!("ZREM {KEY} b")), 1);
    assert!(by_hand.taken());

    let port = target.port();
    c.ask::<()>(&format!("MIGRATE 127.0.0.1 {port} {KEY} 0 60000"));
    let error = moved.error();
    assert!(error.starts_with("TRYAGAIN "), "{error}");
    let again = format!("RL.ACQUIRE {KEY} 1 1h d WAIT 60000");
    let asked = c.error(&again);
    assert!(asked.starts_with("ASK "), "{asked}");
    // Until the hash slot is its own, the new node lets nobody wait for longer than a check.
    let mut asking = Waiting::connect(target);
    asking.connection.ask::<()>("ASKING");
    asking.send(&[&again]);
    let error = asking.error();
    assert!(error.starts_with("TRYAGAIN "), "{error}");

    for node in [target, source] {
        node.ask::<()>(&format!("CLUSTER SETSLOT {slot} NODE {}", ids[1]));
    }
    let mut waiter = waiting(target, &format!("{KEY} 1 1h d WAIT 60000"));
    assert_eq!(target.ask::<i64>(&format!("RL.RELEASE {KEY} c")), 1);
    assert!(waiter.taken());
    assert_eq!(holders(&mut target.connection(), KEY), ["d"]);
    for node in [source, target] {
        assert_unloads(node);
    }
}

/// Returns whether the server answers blocked clients when the cluster is down.
fn unblocks_when_the_cluster_is_down(server: &Server) -> bool {
    let about: String = server.ask("INFO server");
    !about.contains("valkey_version") && !about.contains("redis_version:6.")
}

/// A node that knows no owner of a hash slot regards the cluster as down. A slot that becomes free
/// meanwhile is not granted.
#[test]
fn nobody_is_granted_a_slot_while_the_cluster_is_down() {
    let cluster = Cluster::without_replicas();
    let slot = cluster.slot(KEY);
    let node = &cluster.nodes[cluster.first_owner(slot)];
    let is_down = |down: bool| {
        let state = if down {
            "cluster_state:fail"
        } else {
            "cluster_state:ok"
        };
        wait_until("the node has noticed", || {
            node.ask::<String>("CLUSTER INFO").contains(state)
        });
    };
    let other = [slot - 1, slot + 1]
        .into_iter()
        .find(|other| cluster.first_owner(*other) == cluster.first_owner(slot))
        .expect("a slot of the same node");
    let goes_on = !unblocks_when_the_cluster_is_down(node);
    wait_until("a wait ends while the cluster is down", || {
        node.ask::<()>(&format!("DEL {KEY}"));
        node.ask::<Reply>(&format!("RL.ACQUIRE {KEY} 1 1h a"));
        let mut long = waiting(node, &format!("{KEY} 1 1h b WAIT 60000"));
        let mut short = joined(node, &format!("{KEY} 1 1h c WAIT 2000"));
        node.ask::<()>(&format!("CLUSTER DELSLOTS {other}"));
        is_down(true);
        // Commands without a key are not refused.
        let mut together = redis::pipe();
        together.atomic().cmd("INFO").arg("everything");
        together.cmd("FLUSHALL").ignore();
        let (before,): (String,) = together.query(&mut node.connection()).expect("replies");
        match short.value() {
            Ok(reply) => assert_eq!(reply[0], 0),
            Err(error) => assert!(!goes_on && error.starts_with("CLUSTERDOWN "), "{error}"),
        }
        assert_eq!(node.ask::<i64>("DBSIZE"), 0);
        if !goes_on {
            let error = long.error();
            assert!(error.starts_with("CLUSTERDOWN "), "{error}");
        }
        assert_eq!(node.count("rl_lease_waiting"), i64::from(goes_on));
        node.ask::<()>(&format!("CLUSTER ADDSLOTS {other}"));
        is_down(false);
        match goes_on {
            true => assert!(long.taken()),
            false => assert_eq!(
                node.ask::<Reply>(&format!("RL.ACQUIRE {KEY} 1 1h b WAIT 60000"))[0],
                1
            ),
        }
        assert_eq!(holders(&mut node.connection(), KEY), ["b"]);
        before.contains("rl_lease_waiting:2") || !goes_on
    });
    assert_unloads(node);
}
