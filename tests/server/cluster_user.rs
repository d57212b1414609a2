//! The README's ACL rules for a cluster are enough for real clients.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use redis::cluster::ClusterClient;
use redis::{from_redis_value, ConnectionLike, Value};

use crate::common::{root, Server};
use crate::support::call;
use crate::support::cluster::Cluster;

/// One key for each master.
const KEYS: [&str; 3] = ["limit:{bar}", "limit:{hello}", "limit:{foo}"];

/// Returns the rules after `ACL SETUSER app` in the README's line.
fn rules() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("a README");
    let mut lines = readme.lines().map(str::trim);
    let line = lines.find(|line| line.starts_with("ACL SETUSER") && line.contains("+cluster|"));
    let line = line.expect("a line for a cluster's clients");
    line.split(' ').skip(3).map(str::to_owned).collect()
}

/// Starts a cluster whose nodes accept only that user.
fn cluster() -> Cluster {
    let cluster = Cluster::without_replicas();
    for node in &cluster.nodes {
        let mut setuser = call("ACL", &["SETUSER", "app"]);
        let () = setuser
            .arg(rules())
            .query(&mut node.connection())
            .expect("OK");
    }
    cluster
}

/// Begins to move a slot, so that clients are asked to go to the target for a key that does not
/// exist yet.
fn begin_to_move(cluster: &Cluster) {
    let slot = cluster.slot(KEYS[0]);
    let from = cluster.first_owner(slot);
    let (source, target) = (&cluster.nodes[from], &cluster.nodes[(from + 1) % 3]);
    let id = |node: &Server| node.ask::<String>("CLUSTER MYID");
    let () = target.ask(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", id(source)));
    let () = source.ask(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", id(target)));
}

fn move_on(cluster: &Cluster) {
    let slot = cluster.slot(KEYS[0]);
    let from = cluster.first_owner(slot);
    cluster.move_slot(slot, from, (from + 1) % 3);
}

/// Returns the commands that the nodes refused. Some clients try commands that they can do without,
/// such as CLIENT SETNAME.
fn refused(cluster: &Cluster) -> Vec<String> {
    let log = |node: &Server| {
        let entries: Vec<redis::Value> = node.ask("ACL LOG");
        entries
            .iter()
            .map(|entry| format!("{entry:?}"))
            .collect::<Vec<_>>()
    };
    cluster.nodes.iter().flat_map(log).collect()
}

fn addresses(cluster: &Cluster) -> Vec<String> {
    let address = |node: &Server| format!("127.0.0.1:{}", node.port());
    cluster.nodes.iter().map(address).collect()
}

/// Runs a script of tests/clients, which takes from all keys before, while and after a slot moves.
fn passes(program: PathBuf, script: &str) {
    let cluster = cluster();
    let root = root();
    let mut process = Command::new(program)
        .arg(root.join("tests/clients").join(script))
        .arg(addresses(&cluster).join(","))
        .args(KEYS)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("CLIENTS", root.join("target/clients/node/"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client runs: scripts/setup.sh clients installs it");
    let mut output = BufReader::new(process.stdout.take().expect("its output"));
    let mut input = process.stdin.take().expect("its input");
    for then in [begin_to_move, move_on, |_: &Cluster| ()] {
        let mut line = String::new();
        output.read_line(&mut line).expect("text");
        if line != "taken\n" {
            break;
        }
        then(&cluster);
        input.write_all(b"go on\n").expect("it reads");
    }
    let status = process.wait().expect("an end");
    assert!(
        status.success(),
        "{script}: {status}, {:?}",
        refused(&cluster)
    );
}

#[test]
fn redis_py_cluster_works_with_the_acl_rules_of_the_readme() {
    passes(root().join("target/clients/py/bin/python"), "cluster.py");
}

#[test]
fn ioredis_cluster_works_with_the_acl_rules_of_the_readme() {
    passes("node".into(), "cluster.mjs");
}

#[test]
fn redis_rs_cluster_works_with_the_acl_rules_of_the_readme() {
    let cluster = cluster();
    let urls = addresses(&cluster);
    let urls: Vec<_> = urls
        .iter()
        .map(|a| format!("redis://app:secret@{a}"))
        .collect();
    let patience = Duration::from_secs(30);
    let client = ClusterClient::builder(urls)
        .connection_timeout(patience)
        .response_timeout(patience)
        .build()
        .expect("addresses");
    let mut blocking = client.get_connection().expect("a connection");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut async_one = runtime
        .block_on(client.get_async_connection())
        .expect("a connection");
    let moments: [(_, fn(&Cluster)); 3] = [
        ("before", |_| ()),
        ("while", begin_to_move),
        ("after", move_on),
    ];
    for (moment, key) in moments.iter().flat_map(|m| KEYS.map(|key| (m, key))) {
        if key == KEYS[0] {
            moment.1(&cluster);
        }
        let several = commands(&format!("{key}:{}", moment.0));
        // For several new keys in a moving slot a server replies TRYAGAIN.
        let count = several.len() - usize::from(moment.0 == "while");
        for command in several.into_iter().take(count) {
            let value = blocking.req_command(&command).expect("a reply");
            assert_ne!(taken(&value), 0, "{value:?}");
            let value: Value = runtime
                .block_on(command.query_async(&mut async_one))
                .expect("a reply");
            assert_ne!(taken(&value), 0, "{value:?}");
        }
    }
}

fn commands(key: &str) -> Vec<redis::Cmd> {
    let (other, third) = (format!("{key}:2"), format!("{key}:3"));
    vec![
        call("RL.TAKE", &[key, "1/d", "99"]),
        call("RL.PEEK", &[key, "1/d", "99"]),
        call("RL.GIVE", &[key, "1/d", "99"]),
        call("RL.MTAKE", &["2", &other, "1/d", "99", &third, "1/d", "99"]),
    ]
}

fn taken(reply: &Value) -> i64 {
    let Value::Array(items) = reply else {
        panic!("{reply:?}");
    };
    let first = items.first().cloned().expect("a number");
    from_redis_value(first).expect("a number")
}
