//! Further functions of a server for these tests.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use redis::Value;

use crate::common::{wait_until, Launch, Server};
use crate::support::texts;

/// Every key of a server: its value, and when it expires (milliseconds since 1970, or -1).
pub type Contents = BTreeMap<Vec<u8>, (Vec<u8>, i64)>;

/// Checks that two servers, or one server at two times, hold the same contents, and that these are
/// not empty.
pub fn assert_equal(ours: &Contents, theirs: &Contents) {
    let differs = |key: &&Vec<u8>| ours.get(*key) != theirs.get(*key);
    let differing: BTreeSet<_> = ours.keys().chain(theirs.keys()).filter(differs).collect();
    let (differing, keys) = (differing.len(), ours.len());
    assert!(
        keys > 0 && differing == 0,
        "{differing} keys differ, {keys} are there"
    );
}

/// Launches the server under test with all commands of the module, as part of a group: it syncs at
/// once, adds nothing of its own to the replication stream, and refuses no administrative command.
pub fn launch() -> Launch {
    let launch = Launch::default()
        .module_arguments(&["CL.THROTTLE"])
        .with(&["--repl-diskless-sync-delay", "0"])
        .with(&["--repl-ping-replica-period", "3600"]);
    if is_redis_6() {
        return launch;
    }
    launch
        .with(&["--enable-debug-command", "yes"])
        .with(&["--enable-module-command", "yes"])
}

/// Returns whether the server is older than the options that guard some commands.
fn is_redis_6() -> bool {
    let about = Command::new(Launch::under_test()).arg("--version").output();
    let about = about.expect("the server runs").stdout;
    String::from_utf8_lossy(&about).contains("server v=6.")
}

impl Server {
    /// Lines of INFO, all of the same moment.
    pub fn info<const N: usize>(&self, fields: [&str; N]) -> [String; N] {
        let info: String = self.ask("INFO everything");
        fields.map(|field| {
            let mut lines = info.lines().filter_map(|line| line.split_once(':'));
            let line = lines.find(|(name, _)| *name == field);
            line.map(|(_, value)| value.to_owned()).unwrap_or_default()
        })
    }

    /// Returns a numeric field of INFO.
    pub fn count(&self, field: &str) -> i64 {
        let [text] = self.info([field]);
        text.parse()
            .unwrap_or_else(|_| panic!("INFO says {field}:{text}"))
    }

    /// Returns the replication offset.
    pub fn offset(&self) -> i64 {
        self.count("master_repl_offset")
    }

    pub fn replicate(&self, master: &Server) {
        let () = self.call(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    }

    /// Returns whether it has applied everything that its master has.
    pub fn is_in_step_with(&self, master: &Server) -> bool {
        let offset = master.offset().to_string();
        self.info(["master_link_status", "master_repl_offset"]) == ["up", &offset]
    }

    /// Returns all keys, which must hold strings, sorted sets (the members, each with its score) or
    /// hashes (the fields in order, each with its value).
    pub fn contents(&self) -> Contents {
        let keys: Vec<Vec<u8>> = self.ask("KEYS *");
        if keys.is_empty() {
            return Contents::new();
        }
        let mut pipe = redis::pipe();
        for key in &keys {
            pipe.cmd("TYPE").arg(key);
        }
        let kinds: Vec<String> = pipe.query(&mut self.connection()).expect("types");
        let mut pipe = redis::pipe();
        for (key, kind) in keys.iter().zip(&kinds) {
            match kind.as_str() {
                "zset" => pipe.cmd("ZRANGE").arg(key).arg(&["0", "-1", "WITHSCORES"]),
                "hash" => pipe.cmd("HGETALL").arg(key),
                _ => pipe.cmd("GET").arg(key),
            };
        }
        let values: Vec<Value> = pipe
            .query(&mut self.connection())
            .expect("strings, sets and hashes");
        let bytes = |(value, kind): (Value, &String)| match value {
            Value::Array(_) if kind == "zset" => texts(&value).join(" ").into_bytes(),
            Value::Array(_) => {
                let fields: BTreeMap<Vec<u8>, Vec<u8>> =
                    redis::from_redis_value(value).expect("fields");
                format!("{fields:?}").into_bytes()
            }
            value => redis::from_redis_value(value).expect("a string"),
        };
        let expiries = self.expiries(&keys);
        let values = values.into_iter().zip(&kinds).map(bytes);
        let pairs = values.zip(expiries);
        keys.into_iter().zip(pairs).collect()
    }

    fn expiries(&self, keys: &[Vec<u8>]) -> Vec<i64> {
        // Redis 6.2 reports only the time left: exact if the clock shows the same millisecond
        // before and after.
        const LEFT: &str = "
            local function ms() local t = redis.call('TIME')
                return t[1] * 1000 + math.floor(t[2] / 1000) end
            local at = {}
            for i, key in ipairs(KEYS) do
                repeat
                    local before = ms()
                    local left = redis.call('PTTL', key)
                    at[i] = left < 0 and left or before + left
                until ms() == before
            end
            return at";
        let known: Vec<Value> = self.ask("COMMAND INFO pexpiretime");
        let mut pipe = redis::pipe();
        if known.iter().all(|info| *info == Value::Nil) {
            let mut eval = redis::cmd("EVAL");
            eval.arg(LEFT).arg(keys.len()).arg(keys);
            return eval.query(&mut self.connection()).expect("expiries");
        }
        for key in keys {
            pipe.cmd("PEXPIRETIME").arg(key);
        }
        pipe.query(&mut self.connection()).expect("expiries")
    }

    /// Starts a replica of it, and waits until the two are linked.
    pub fn attach(&self, launch: Launch) -> Server {
        let replica = launch.start();
        replica.replicate(self);
        replica.wait_for_link();
        replica
    }

    /// Waits until its link to its master is up.
    pub fn wait_for_link(&self) {
        wait_until("the link is up", || {
            self.info(["master_link_status"]) == ["up"]
        });
    }

    /// Makes a replica the master in a planned failover. The server refuses that until it has heard
    /// from the replica that it is online, which may be a second after the link is up.
    pub fn fail_over_to(&self, heir: &Server) {
        let port = heir.port().to_string();
        let online = format!("port={port},state=online");
        wait_until("the replica is online", || {
            self.ask::<String>("INFO replication").contains(&online)
        });
        let () = self.call(&["FAILOVER", "TO", "127.0.0.1", &port]);
        wait_until("the roles have changed", || {
            heir.info(["role"]) == ["master"]
        });
    }

    /// Waits until it has applied all that its master has.
    pub fn wait_for(&self, master: &Server) {
        wait_until("the replica is in step", || self.is_in_step_with(master));
    }

    /// Waits until no snapshot is being written, such as a replica's.
    pub fn wait_for_no_save(&self) {
        wait_until("no snapshot is being written", || {
            self.count("rdb_bgsave_in_progress") == 0
        });
    }

    /// Waits until the AOF is not being rewritten, as it is after a replica's full sync.
    pub fn wait_for_rewrite(&self) {
        wait_until("the AOF is rewritten", || {
            let [running, due, status] = self.info([
                "aof_rewrite_in_progress",
                "aof_rewrite_scheduled",
                "aof_last_bgrewrite_status",
            ]);
            assert_eq!(status, "ok");
            running == "0" && due == "0"
        });
    }

    /// Stops it where it is, as a machine that hangs does.
    pub fn pause(&self) -> Paused {
        let paused = Paused(self.count("process_id"));
        signal("-STOP", paused.0);
        wait_until("the process has stopped", || paused.state().contains('T'));
        paused
    }
}

/// A process that was stopped where it was.
pub struct Paused(i64);

impl Paused {
    fn state(&self) -> String {
        let process = self.0.to_string();
        let mut ps = Command::new("ps");
        let state = ps.args(["-o", "state=", "-p", &process]).output();
        let state = state.expect("ps runs").stdout;
        String::from_utf8_lossy(&state).into_owned()
    }

    /// Lets it go on.
    pub fn resume(self) {
        signal("-CONT", self.0);
    }
}

/// Ends a process at once.
pub fn kill(process: i64) {
    signal("-KILL", process);
}

fn signal(signal: &str, process: i64) {
    let mut kill = Command::new("kill");
    let status = kill.args([signal, &process.to_string()]).status();
    assert!(status.expect("kill runs").success());
}
