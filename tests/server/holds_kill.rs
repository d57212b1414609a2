//! Gateways that are killed at any moment: in the end the window holds what their logs say, and
//! nothing of an estimate that nobody settled.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::common::{root, wait_until, Server};
use crate::support::holds::{holds, Replies};
use crate::support::node::launch;
use crate::support::traffic::Dice;
use crate::support::{now, Ask};

const GATEWAYS: u64 = 8;
const KILLS: u64 = 40;

fn spawn(server: &Server, log: &Path) -> Child {
    Command::new("python3")
        .arg(root().join("tests/clients/gateway.py"))
        .arg(server.port().to_string())
        .arg(log)
        .spawn()
        .expect("python3")
}

/// Returns the amount of each settlement that was begun, by its id.
fn begun(log: &Path) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines().filter_map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        Some((words.get(1)?.to_string(), words.get(2)?.parse().ok()?))
    });
    lines.collect()
}

#[test]
fn window_holds_what_killed_gateways_logged() {
    let start = Instant::now();
    let server = launch().start();
    let log = server.dir().join("gateways");
    let mut dice = Dice::new(now());
    let mut running: Vec<_> = (0..GATEWAYS).map(|_| spawn(&server, &log)).collect();
    for kill in 0..KILLS {
        // A random number of settlements later, so each is killed at another point of its work.
        let enough = begun(&log).len() + dice.roll(1..6) as usize;
        wait_until("some more work", || begun(&log).len() >= enough);
        let at = (kill % GATEWAYS) as usize;
        assert!(matches!(running[at].try_wait(), Ok(None)), "it runs");
        running[at].kill().expect("it runs");
        running[at].wait().expect("it has ended");
        running[at] = spawn(&server, &log);
    }
    for gateway in &mut running {
        gateway.kill().expect("it runs");
        gateway.wait().expect("it has ended");
    }

    // A settlement whose reply was lost is sent again: by whoever reads the log.
    let mut c = server.connection();
    let begun = begun(&log);
    for (id, used) in &begun {
        let words = format!("RL.SETTLE 2 w h WINDOW 100000000 30d USED {used} HOLD {id}");
        let (status, ..): Replies = c.ask(&words);
        // A settled id is remembered for a minute. Afterwards the call charges nothing.
        let is_forgotten = status == -1 && start.elapsed() >= Duration::from_secs(60);
        assert!(status == 0 || status == 1 || is_forgotten, "{id}: {status}");
    }
    let expected: u64 = begun.values().sum();
    let mut sweeps = 0;
    wait_until("nothing is held any more", || {
        sweeps += 1;
        let sweep = format!("RL.ALL 2 w h WINDOW 100000000 30d COST 0 HOLD 1s sweep{sweeps}");
        let (taken, ..): Replies = c.ask(&sweep);
        let held = holds(&mut c, "h").4;
        let held = held
            .iter()
            .flat_map(|hold| &hold.3)
            .map(|(_, amount)| amount);
        taken == 1 && held.sum::<i64>() == 0
    });
    let remaining = c.ask::<Vec<i64>>("RL.WPEEK w 100000000 30d")[2];
    assert_eq!(100_000_000 - remaining, expected as i64);
    assert!(
        server.count("rl_holds_returned") > 0,
        "nobody died in between"
    );
}
