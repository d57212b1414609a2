//! CL.THROTTLE compared with redis-cell, and as its replacement.

use std::process::Command;
use std::sync::OnceLock;

use num_rational::BigRational;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use redis::{Connection, Value};

use crate::common::{module, root, Launch, Server};
use crate::oracle::{Limit, State, SECOND, UNIT};
use crate::support::{call, now, Ask, Reply};

/// Returns redis-cell's library, built if necessary.
fn redis_cell() -> &'static str {
    static LIBRARY: OnceLock<String> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let script = root().join("scripts/redis-cell.sh");
        let built = Command::new(&script).output().expect("the script runs");
        let errors = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{}: {errors}", script.display());
        String::from_utf8(built.stdout)
            .expect("a path")
            .trim()
            .to_owned()
    })
}

fn throttle(c: &mut Connection, key: &str, [burst, count, period]: [u64; 3], n: u64) -> Reply {
    let [burst, count, period, n] = [burst, count, period, n].map(|n| n.to_string());
    c.call(&["CL.THROTTLE", key, &burst, &count, &period, &n])
}

/// Returns a random value of a strategy.
fn any<S: Strategy>(runner: &mut TestRunner, of: S) -> S::Value {
    of.new_tree(runner).expect("no filter").current()
}

/// The same bucket in both servers.
struct Twins {
    key: String,
    /// max_burst, count, period
    limit: [u64; 3],
    exact: Limit,
    /// The longest that a call to both has taken: so far apart may their clocks have been.
    apart: u64,
}

/// The comparison of a pair of replies.
#[derive(PartialEq)]
enum Compared {
    Same,
    /// One server had just enough tokens, the other just not.
    AtTheEdge,
}

impl Twins {
    fn new(number: usize, [burst, count, period]: [u64; 3]) -> Self {
        let tokens = BigRational::from_integer(count.into());
        Self {
            key: format!("bucket {number}"),
            limit: [burst, count, period],
            exact: Limit::new(tokens, period * SECOND, burst + 1).expect("a sane limit"),
            apart: 0,
        }
    }

    fn rate(&self) -> f64 {
        self.limit[1] as f64 / self.limit[2] as f64
    }

    /// Returns the allowed difference in tokens. Each call reaches the two servers at most `apart`
    /// from each other, and so did the call before which both were full. redis-cell's key
    /// disappears, and its bucket is full, up to two milliseconds early, because it rounds times
    /// down; and it divides microseconds, rounded down, to compute the remaining tokens. Ours
    /// rounds to a unit.
    fn tolerance(&self) -> f64 {
        let burst = self.limit[0] as f64 + 1.0;
        self.rate() * (2.0 * seconds(self.apart) + 0.002 + burst * 2e-6) + 1e-6
    }

    fn forget(&mut self, servers: [&mut Connection; 2]) {
        for c in servers {
            c.call::<i64>(&["DEL", &self.key]);
        }
        self.apart = 0;
    }

    /// Holds both replies to what the bucket's exact level says.
    fn compare(&self, n: u64, level: f64, theirs: Reply, ours: Reply) -> Compared {
        let off = self.tolerance();
        let shown = || format!("{:?} {n}: {theirs:?} {ours:?} {level} ±{off}", self.limit);
        let taken = if ours[0] == 0 { n as f64 } else { 0.0 };
        let short = n as f64 - (level + taken);
        if theirs[0] != ours[0] {
            assert!(short.abs() <= off, "{}", shown());
            return Compared::AtTheEdge;
        }
        assert_eq!(theirs[1], ours[1], "{}", shown());
        for reply in [theirs, ours] {
            assert!(within(reply[2], level, off, f64::floor), "{}", shown());
        }
        let off = off / self.rate() + 0.001;
        if ours[0] == 0 || n > self.limit[0] + 1 {
            assert_eq!([theirs[3], ours[3]], [-1, -1], "{}", shown());
        } else {
            // redis-cell rounds seconds down, which has a caller come back too early.
            let retry = short / self.rate();
            assert!(within(theirs[3], retry, off, f64::floor), "{}", shown());
            assert!(within(ours[3], retry, off, f64::ceil), "{}", shown());
        }
        let reset = (self.limit[0] as f64 + 1.0 - level) / self.rate();
        assert!(within(theirs[4], reset, off, f64::floor), "{}", shown());
        assert!(within(ours[4], reset, off, f64::ceil), "{}", shown());
        Compared::Same
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / SECOND as f64
}

/// Returns whether `told` is within `off` of `exact`, rounded; never below 0.
fn within(told: i64, exact: f64, off: f64, rounded: fn(f64) -> f64) -> bool {
    let bound = |n: f64| rounded(n).max(0.0);
    (bound(exact - off)..=bound(exact + off)).contains(&(told as f64))
}

/// Limits for which redis-cell counts right: up to a hundred tokens a second and a small burst.
fn sane_limits() -> impl Strategy<Value = [u64; 3]> {
    let period = proptest::prop_oneof![1..=10_u64, 1..=90_000_u64];
    (0..=60_u64, 1..=100_u64, period).prop_map(|(burst, count, period)| [burst, count, period])
}

#[test]
fn cl_throttle_replies_as_redis_cell_to_thousands_of_calls() {
    const CALLS: usize = 20_000;
    const TOO_FAR_APART: u64 = SECOND / 50;
    let cell = Launch::default().module(redis_cell()).start();
    let ours = Launch::default().module_arguments(&["CL.THROTTLE"]).start();
    let (mut cell, mut ours) = (cell.connection(), ours.connection());
    let mut runner = TestRunner::default();
    let mut buckets: Vec<_> = (0..100)
        .map(|n| Twins::new(n, any(&mut runner, sane_limits())))
        .collect();
    let (mut compared, mut edges) = (0, 0);
    for attempt in 0.. {
        if compared == CALLS {
            break;
        }
        assert!(attempt < 20 * CALLS, "this machine is too slow to compare");
        let choice = (
            0..buckets.len(),
            proptest::prop_oneof![0..=3_u64, 0..=70_u64],
        );
        let (bucket, n) = any(&mut runner, choice);
        let bucket = &mut buckets[bucket];

        let before = now();
        let theirs = throttle(&mut cell, &bucket.key, bucket.limit, n);
        let reply = throttle(&mut ours, &bucket.key, bucket.limit, n);
        let stored: Option<Vec<u8>> = ours.call(&["GET", &bucket.key]);
        let after = now();
        bucket.apart = bucket.apart.max(after - before);
        if bucket.apart > TOO_FAR_APART {
            bucket.forget([&mut cell, &mut ours]);
            continue;
        }
        let stored = stored.map(|bytes| State::read(&bytes).expect("a bucket"));
        let units = bucket.exact.level(stored, after);
        let level = i64::try_from(units).expect("a small burst") as f64 / UNIT as f64;
        if bucket.compare(n, level, theirs, reply) == Compared::AtTheEdge {
            edges += 1;
            bucket.forget([&mut cell, &mut ours]);
        }
        compared += 1;
    }
    assert!(
        edges < CALLS / 10,
        "{edges} of {CALLS} were answered differently"
    );
}

/// Creates buckets that gain no token while the test runs, and returns redis-cell's last replies.
fn left_by_redis_cell(c: &mut Connection) -> Vec<(String, [u64; 3], Reply)> {
    let mut runner = TestRunner::default();
    let mut used = Vec::new();
    for number in 0..200 {
        let key = format!("bucket {number}");
        let limit = any(&mut runner, (0..=60_u64, 1..=5_u64, 40_000..=90_000_u64));
        let limit = [limit.0, limit.1, limit.2];
        let costs = proptest::collection::vec(1..=20_u64, 1..6);
        for n in any(&mut runner, costs) {
            throttle(c, &key, limit, n);
        }
        let last = throttle(c, &key, limit, 0);
        used.push((key, limit, last));
    }
    for (key, ..) in &used {
        // The expiry distinguishes it from another application's number.
        let there: bool = c.call(&["EXISTS", key]);
        assert!(!there || c.call::<i64>(&["PTTL", key]) > 0, "{key}");
    }
    used
}

/// Calls that go on from what redis-cell left: what remains is what remained, and is then taken.
fn goes_on(c: &mut Connection, left: &[(String, [u64; 3], Reply)]) {
    let mut limited = 0;
    for (key, limit, last) in left {
        let found = throttle(c, key, *limit, 0);
        assert_eq!(found[..3], last[..3], "{key} {limit:?}");
        let reset = last[4] - 60..=last[4] + 1; // On a machine on which this takes a minute.
        assert!(reset.contains(&found[4]), "{key} {limit:?}");
        let remaining = u64::try_from(last[2]).expect("not negative");
        assert_eq!(
            throttle(c, key, *limit, remaining + 1)[0],
            1,
            "{key} {limit:?}"
        );
        if remaining == 0 {
            limited += 1;
            continue;
        }
        let all = throttle(c, key, *limit, remaining);
        assert_eq!([all[0], all[2]], [0, 0], "{key} {limit:?}");
        assert_eq!(throttle(c, key, *limit, 1)[0], 1, "{key} {limit:?}");
    }
    assert!(
        limited > 0 && limited < left.len(),
        "{limited} were limited"
    );
}

#[test]
fn swapping_redis_cell_for_this_module_resets_no_limit() {
    let server = crate::load::without_module().start();
    let mut c = server.connection();
    c.call::<()>(&["MODULE", "LOAD", redis_cell()]);
    let left = left_by_redis_cell(&mut c);
    c.ask::<()>("MODULE UNLOAD redis-cell");
    let library = module();
    let library = library.to_str().expect("a path that is text");
    c.call::<()>(&["MODULE", "LOAD", library, "CL.THROTTLE"]);
    goes_on(&mut c, &left);
}

#[test]
fn moving_redis_cell_values_to_another_server_resets_no_limit() {
    let cell = Launch::default().module(redis_cell()).start();
    let ours = Launch::default().module_arguments(&["CL.THROTTLE"]).start();
    let (mut cell, mut ours) = (cell.connection(), ours.connection());
    let left = left_by_redis_cell(&mut cell);
    for (key, ..) in &left {
        let Some(value) = cell.call::<Option<Vec<u8>>>(&["DUMP", key]) else {
            continue;
        };
        let ttl: i64 = cell.call(&["PTTL", key]);
        let mut restore = call("RESTORE", &[key, &ttl.to_string()]);
        let _: () = restore.arg(value).query(&mut ours).expect("it is restored");
    }
    goes_on(&mut ours, &left);
}

#[test]
fn redis_cell_keeps_cl_throttle_if_loaded_first_and_it_is_logged() {
    let library = module();
    let library = library.to_str().expect("a path that is text");
    let both =
        Launch::default()
            .module(redis_cell())
            .with(&["--loadmodule", library, "CL.THROTTLE"]);
    let server: Server = both.start();
    let mut c = server.connection();
    let log = server.log();
    let told = |line: &str| {
        line.contains("CL.THROTTLE") && line.contains("already registered by another module")
    };
    assert!(log.lines().any(told), "{log}");
    assert_eq!(c.take("bucket 1/d 5")[..3], [1, 5, 4]);
    throttle(&mut c, "theirs", [4, 1, 90_000], 1);
    let value: Value = c.ask("STRLEN theirs");
    assert_eq!(value, Value::Int(19), "an arrival time");
}
