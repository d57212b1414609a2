//! Masters and replicas that share the slots among them.

use redis::Value;

use super::admitted::logging;
use super::node::launch;
use super::{call, knows, texts};
use crate::common::{wait_until, Launch, Server};

const SLOTS: u16 = 16_384;
/// The number of masters.
pub const MASTERS: usize = 3;

/// Sets the state of a slot on one node. Valkey refuses it if a replica does not answer within two
/// seconds, as on a busy machine.
fn set_slot(node: &Server, slot: u16, state: &str, id: &str) {
    let set = ["SETSLOT", &slot.to_string(), state, id];
    wait_until("the slot is set", || {
        let answer = call("CLUSTER", &set).query::<Value>(&mut node.connection());
        let code = answer.as_ref().err().map(|error| error.code());
        assert!(
            [None, Some(Some("NOREPLICAS"))].contains(&code),
            "{answer:?}"
        );
        answer.is_ok()
    });
}

/// Returns whether the last migration of a slot away from this node has failed.
fn has_failed(source: &Server) -> bool {
    let migrations: Value = source.ask("CLUSTER GETSLOTMIGRATIONS");
    let words = texts(&migrations);
    let state = words.iter().skip_while(|word| *word != "state").nth(1);
    state.is_some_and(|state| state == "failed")
}

/// Servers of one cluster.
pub struct Cluster {
    /// Masters first, then a replica of each, in the same order.
    pub nodes: Vec<Server>,
    ids: Vec<String>,
}

impl Cluster {
    /// Starts three masters with a replica each.
    pub fn start() -> Self {
        let cluster = Self::connected(&logging(), 2 * MASTERS);
        cluster.replicate();
        cluster.wait_until_up();
        cluster
    }

    /// Starts masters without replicas.
    pub fn without_replicas() -> Self {
        let cluster = Self::connected(&launch(), MASTERS);
        cluster.wait_until_up();
        cluster
    }

    fn connected(node: &Launch, count: usize) -> Self {
        let node = node
            .clone()
            .with(&["--cluster-enabled", "yes"])
            .with(&["--cluster-node-timeout", "10000"])
            .with(&["--cluster-replica-validity-factor", "0"]);
        let nodes: Vec<_> = (0..count).map(|_| node.clone().start()).collect();
        let ids = nodes.iter().map(|node| node.ask("CLUSTER MYID")).collect();
        let cluster = Self { nodes, ids };
        cluster.give_slots();
        cluster.meet();
        cluster
    }

    fn give_slots(&self) {
        let share = SLOTS.div_ceil(MASTERS as u16);
        let masters = self.nodes[..MASTERS].iter();
        for (n, node) in masters.enumerate() {
            let first = n as u16 * share;
            let slots: Vec<_> = (first..SLOTS.min(first + share)).collect();
            let () = call("CLUSTER", &["ADDSLOTS"])
                .arg(slots)
                .query(&mut node.connection())
                .expect("OK");
        }
        for (n, node) in self.nodes.iter().enumerate() {
            let () = node.ask(&format!("CLUSTER SET-CONFIG-EPOCH {}", n + 1));
        }
    }

    fn meet(&self) {
        for (n, node) in self.nodes.iter().enumerate() {
            for other in &self.nodes[..n] {
                let () = node.ask(&format!("CLUSTER MEET 127.0.0.1 {}", other.port()));
            }
        }
        for node in &self.nodes {
            wait_until("all nodes know each other", || {
                let known: String = node.ask("CLUSTER NODES");
                self.ids.iter().all(|id| known.contains(id)) && !known.contains("handshake")
            });
        }
    }

    fn replicate(&self) {
        for n in 0..MASTERS {
            let () = self.nodes[MASTERS + n].ask(&format!("CLUSTER REPLICATE {}", self.ids[n]));
        }
        for replica in &self.nodes[MASTERS..] {
            replica.wait_for_link();
            replica.wait_for_rewrite();
        }
    }

    fn wait_until_up(&self) {
        for node in &self.nodes {
            wait_until("the cluster is up", || {
                let about: String = node.ask("CLUSTER INFO");
                about.contains("cluster_state:ok")
            });
        }
    }

    /// Shortens the node timeout, so that a dead node is soon declared failed, but not a node that
    /// hangs for some seconds on a busy machine.
    pub fn lose_patience(&self) {
        for node in &self.nodes {
            let () = node.ask("CONFIG SET cluster-node-timeout 6000");
        }
    }

    /// Returns the slot of a key.
    pub fn slot(&self, key: &str) -> u16 {
        self.nodes[0].ask(&format!("CLUSTER KEYSLOT {key}"))
    }

    /// Returns the first owner of the slot.
    pub fn first_owner(&self, slot: u16) -> usize {
        usize::from(slot / SLOTS.div_ceil(MASTERS as u16))
    }

    /// Moves a slot as `redis-cli --cluster reshard` does, key by key.
    pub fn move_slot(&self, slot: u16, from: usize, to: usize) {
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let port = target.port().to_string();
        set_slot(target, slot, "IMPORTING", &self.ids[from]);
        set_slot(source, slot, "MIGRATING", &self.ids[to]);
        loop {
            let keys: Vec<String> = source.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 10"));
            if keys.is_empty() {
                break;
            }
            let mut migrate = call("MIGRATE", &["127.0.0.1", &port, "", "0", "60000", "KEYS"]);
            let _: Value = migrate
                .arg(keys)
                .query(&mut source.connection())
                .expect("a reply");
        }
        for node in [target, source] {
            set_slot(node, slot, "NODE", &self.ids[to]);
        }
        wait_until("all masters know the owner", || {
            self.nodes[..MASTERS]
                .iter()
                .all(|node| self.owner(node, slot) == self.ids[to])
        });
    }

    /// Moves a slot in one step, where the server can.
    pub fn move_slot_at_once(&self, slot: u16, from: usize, to: usize) {
        let source = &self.nodes[from];
        if !knows(&mut source.connection(), &["CLUSTER", "GETSLOTMIGRATIONS"]) {
            return self.move_slot(slot, from, to);
        }
        let id = &self.ids[to];
        let migrate = format!("CLUSTER MIGRATESLOTS SLOTSRANGE {slot} {slot} NODE {id}");
        let () = source.ask(&migrate);
        wait_until("the slot has moved", || {
            // The server gives up if a node hangs in the last step.
            if has_failed(source) {
                let () = source.ask(&migrate);
            }
            self.nodes[..MASTERS]
                .iter()
                .all(|node| self.owner(node, slot) == *id)
        });
    }

    /// Returns the owner of the slot, as a node sees it.
    fn owner(&self, node: &Server, slot: u16) -> String {
        let ranges: Vec<Vec<Value>> = node.ask("CLUSTER SLOTS");
        for range in ranges {
            let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &range[..] else {
                panic!("{range:?}");
            };
            if (*first..=*last).contains(&i64::from(slot)) {
                return redis::from_redis_value_ref(&master[2]).expect("an id");
            }
        }
        String::new()
    }
}
