//! RL.ALL inside what a server builds around its commands: AOF, replicas, memory, transactions,
//! scripts, a clock that steps back.

use redis::Connection;

use crate::clock::with_clock;
use crate::common::{wait_until, Server};
use crate::support::mixed::{all, state, words, Replies, KINDS};
use crate::support::node::launch;
use crate::support::traffic::Dice;
use crate::support::{aof, call, knows, Ask, Reply, HOUR_MS};

const EACH: &str = "BUCKET 1/d 5 WINDOW 5 1h WINDOW 5 SLIDING 1h LEASE 5 1h";

/// Returns a call on some of twelve keys, each always of one kind; a fifth of the calls is denied.
fn random_call(dice: &mut Dice) -> String {
    let first = dice.roll(0..12) as usize;
    let count = dice.roll(1..9) as usize;
    let (mut keys, mut specs) = (Vec::new(), Vec::new());
    for n in (0..count).map(|n| (first + n * 5) % 12) {
        let (cost, keep) = (dice.roll(1..4), dice.roll(1..9));
        keys.push(format!("k{n}"));
        specs.push(match n % 4 {
            0 => format!("BUCKET 1/h 90 COST {cost} KEEP {keep}"),
            1 => format!("WINDOW 90 1h COST {cost} KEEP {keep}"),
            2 => format!("WINDOW 90 SLIDING 1h COST {cost} KEEP {keep}"),
            _ => {
                let ttl = ["10ms", "1h", "2h"][dice.roll(0..3) as usize];
                format!("LEASE 30 {ttl} t{} ONCE", dice.roll(0..40))
            }
        });
    }
    format!("{count} {} {}", keys.join(" "), specs.join(" "))
}

#[test]
fn replicas_and_the_aof_match_with_one_transaction_per_call() {
    let mut server = launch()
        .with(&["--appendonly", "yes", "--appendfsync", "always"])
        .with(&["--aof-use-rdb-preamble", "no"])
        .start();
    let replica = server.attach(launch());
    server.wait_for_rewrite();
    let mut c = server.connection();
    for kind in &KINDS {
        all(
            &mut c,
            &words(&[(kind.key, kind.spec), ("other", "BUCKET 1/d 1000")]),
        );
    }
    for (calls, keys) in [(4, "a b c d"), (8, "e f g h")] {
        for n in 0..4 {
            all(&mut c, &format!("4 {keys} {EACH} t{n}"));
        }
        // One per call, and one before these.
        for word in ["MULTI", "EXEC"] {
            assert_eq!(
                aof::count(&server, &format!("\n{word}\r\n")),
                calls + 4,
                "{word}"
            );
        }
    }
    // A call that is denied, and one that was made before and lasts no longer, send nothing.
    all(&mut c, "1 a BUCKET 1/d 5 COST 1");
    let sent = aof::read(&server).len();
    all(&mut c, "2 a d BUCKET 1/d 5 COST 5 LEASE 5 1h new");
    assert_eq!(aof::read(&server).len(), sent);
    // Under a limit that fills it later a bucket has to live longer, as with RL.TAKE: that is sent.
    let set = || aof::count(&server, "PXAT");
    let before = (set(), c.ask::<i64>("PTTL a"));
    all(&mut c, "2 a d BUCKET 1/2d 5 COST 5 LEASE 5 1h new");
    let after = (set(), c.ask::<i64>("PTTL a"));
    assert_eq!(after.0, before.0 + 1);
    assert!(after.1 > before.1 + 96 * HOUR_MS, "{before:?} {after:?}");

    let mut dice = Dice::new(42);
    let mut taken = 0;
    for _ in 0..400 {
        taken += all(&mut c, &random_call(&mut dice)).0;
    }
    assert!((100..400).contains(&taken), "{taken} of 400");
    assert_eq!(aof::count(&server, "RL.ALL"), 0);
    // Leases that end meanwhile are not a difference.
    wait_until("the replica holds the same", || {
        replica.wait_for(&server);
        let before = state(&mut c);
        before == state(&mut replica.connection())
    });
    let before = state(&mut c);
    assert!(before.len() > 12);
    server.restart();
    assert_eq!(state(&mut server.connection()), before);
}

/// Tests each position and each kind. Nothing is written, not even to existing keys.
#[test]
fn out_of_memory_denies_new_keys_before_any_write() {
    let server = Server::with(&["--maxmemory-policy", "noeviction"]);
    let mut c = server.connection();
    let old = format!("4 b w s l {EACH} me");
    assert_eq!(all(&mut c, &old).0, 1);
    let before = state(&mut c);
    let new = [
        ("new", "BUCKET 1/d 5"),
        ("new", "WINDOW 5 1h"),
        ("new", "WINDOW 5 SLIDING 1h"),
        ("new", "LEASE 5 1h me"),
        ("l", "LEASE 5 1h other"),
    ];
    for (n, limit) in new.iter().enumerate() {
        for place in 0..4 {
            let mut limits = vec![
                ("b", "BUCKET 1/d 5"),
                ("w", "WINDOW 5 1h"),
                ("s", "WINDOW 5 SLIDING 1h"),
            ];
            limits.insert(place, *limit);
            c.ask::<()>("CONFIG SET maxmemory 1");
            let error = c.error(&format!("RL.ALL {}", words(&limits)));
            c.ask::<()>("CONFIG SET maxmemory 0");
            let names = match n {
                0..3 => "key 'new' would be new".to_owned(),
                _ => format!("a lease in key '{}' would be new", limit.0),
            };
            assert!(
                error.starts_with("OOM ") && error.contains(&names),
                "{error}"
            );
            assert_eq!(state(&mut c), before, "{limits:?}");
        }
    }
    assert_eq!(server.count("rl_errors_memory"), 20);
    c.ask::<()>("CONFIG SET maxmemory 1");
    // Existing limits and held leases keep working; a denial comes before the memory check.
    assert_eq!(all(&mut c, &old).0, 1);
    assert_eq!(all(&mut c, "2 b new BUCKET 1/d 5 COST 5 BUCKET 1/d 5").0, 0);
}

#[test]
fn transactions_scripts_and_functions_behave_as_outside() {
    let server = Server::start();
    let mut c = server.connection();
    let arguments: Vec<_> = "2 b l BUCKET 1/d 3 LEASE 9 1h".split(' ').collect();
    let remaining = |replies: &[Replies]| -> Vec<_> {
        replies
            .iter()
            .map(|(taken, _, each)| (*taken, each[0][2], each[1][2]))
            .collect()
    };
    let mut transaction = redis::pipe();
    transaction.atomic();
    for token in ["a", "b"] {
        transaction.cmd("RL.ALL").arg(&arguments).arg(token);
    }
    let replies: Vec<Replies> = transaction.query(&mut c).expect("replies");
    assert_eq!(remaining(&replies), [(1, 2, 8), (1, 1, 7)]);

    let script = "return redis.call('RL.ALL', 2, KEYS[1], KEYS[2], unpack(ARGV))";
    for (token, expected) in [("c", (1, 0, 6)), ("d", (0, 0, 6))] {
        let mut eval = call("EVAL", &[script]);
        eval.arg(&arguments).arg(token);
        let reply: Replies = eval.query(&mut c).expect("a reply");
        assert_eq!(remaining(&[reply]), [expected]);
    }
    if knows(&mut c, &["FUNCTION", "LIST"]) {
        let library = "#!lua name=limits\nredis.register_function('limited', \
            function(keys, args) return redis.call('RL.ALL', 2, keys[1], keys[2], \
            unpack(args)) end)";
        c.call::<()>(&["FUNCTION", "LOAD", library]);
        let mut function = call("FCALL", &["limited"]);
        c.ask::<()>("DEL b");
        function.arg(&arguments).arg("e");
        let reply: Replies = function.query(&mut c).expect("a reply");
        assert_eq!(remaining(&[reply]), [(1, 2, 5)]);
    }
}

/// The listener deletes A when a key expires, as B does while it is looked up.
#[test]
fn clock_step_back_locks_out_no_longer_than_the_limits_last() {
    let server = with_clock();
    let mut c = server.connection();
    let charge = |c: &mut Connection, token: &str| {
        all(
            c,
            &format!(
                "4 b w s l BUCKET 1/m 2 COST 2 WINDOW 2 10m COST 2 WINDOW 2 SLIDING 10m COST 2 \
        LEASE 1 10m {token} ONCE"
            ),
        )
    };
    assert_eq!(charge(&mut c, "a").0, 1);
    server.set_clock(-86_400);
    // A call that was made before is known for as long as its lease lives.
    assert_eq!(charge(&mut c, "a").0, 1);
    let (taken, _, each) = charge(&mut c, "b");
    assert_eq!(taken, 0);
    let waits: Vec<_> = each.iter().map(|reply| reply[3]).collect();
    assert!((1..=120_000).contains(&waits[0]), "{waits:?}");
    assert!((1..=600_000).contains(&waits[1]), "{waits:?}");
    assert!((1..=640_000).contains(&waits[2]), "{waits:?}");
    // A denial that has to write that has written it, and no more.
    let before = state(&mut c);
    let again = charge(&mut c, "b");
    assert_eq!(again.0, 0);
    assert_eq!(state(&mut c), before);
    // Released by hand, because the clock no longer ends it.
    c.ask::<i64>("RL.RELEASE l a");
    server.set_clock(-86_400 + 640);
    let (taken, _, each) = charge(&mut c, "b");
    assert_eq!(taken, 1, "{each:?}");
    assert!(each.iter().all(|reply| reply[4] <= HOUR_MS), "{each:?}");
}

/// They refill from now on, whichever limit denies the call.
#[test]
fn denied_call_after_a_clock_step_back_rewrites_the_buckets_that_had_room() {
    let server = with_clock();
    let mut c = server.connection();
    for call in [
        "RL.ALL 2 k never BUCKET 1/m 10 BUCKET 1/d 1 COST 2",
        "RL.ALL 2 never k BUCKET 1/d 1 COST 2 BUCKET 1/m 10",
    ] {
        server.set_clock(3_600);
        c.ask::<()>("FLUSHALL");
        assert_eq!(c.take("k 1/m 10 COST 5")[0], 5);
        server.set_clock(0);
        assert_eq!(c.ask::<Replies>(call).0, 0);
        server.set_clock(130);
        assert!(c.ask::<Reply>("RL.PEEK k 1/m 10")[2] >= 7, "{call}");
    }
}
