//! COST 0, which a program computes when all of a prompt was cached, and KEEP 0, the reserve of the
//! highest priority.

use redis::Connection;

use crate::common::Server;
use crate::support::node::launch;
use crate::support::{expires_at, info, Ask, Reply};

/// A bucket and two windows of 5 with 2 left, and commands that peek, take and refund.
const LIMITS: [(&str, &str, &str, &str); 3] = [
    ("RL.TAKE b 1/d 5", "RL.PEEK b 1/d 5", "RL.GIVE b 1/d 5", "b"),
    (
        "RL.WTAKE w 5 30d",
        "RL.WPEEK w 5 30d",
        "RL.WGIVE w 5 30d",
        "w",
    ),
    (
        "RL.WTAKE s 5 SLIDING 30d",
        "RL.WPEEK s 5 SLIDING 30d",
        "RL.WGIVE s 5 SLIDING 30d",
        "s",
    ),
];

fn state(c: &mut Connection, key: &str) -> (Option<Vec<u8>>, i64, String) {
    let changes = info(c, "rdb_changes_since_last_save");
    (c.call(&["DUMP", key]), expires_at(c, key), changes)
}

#[test]
fn a_cost_of_zero_succeeds_if_the_reserve_is_there_and_changes_nothing() {
    let server = launch().start();
    let mut c = server.connection();
    for (take, peek, give, key) in LIMITS {
        for left in [5, 2, 0] {
            let before = state(&mut c, key);
            for keep in [0, 1, left, left + 1, 5, 6] {
                let reply: Reply = c.ask(&format!("{take} COST 0 KEEP {keep}"));
                assert_eq!(reply[..3], [0, 5, left], "{take} KEEP {keep}");
                match keep {
                    6 => assert_eq!(reply[3], -1, "{take}"),
                    _ if keep > left => assert!(reply[3] > 0, "{take} KEEP {keep}: {reply:?}"),
                    _ => assert_eq!(reply[3], 0, "{take} KEEP {keep}: {reply:?}"),
                }
            }
            for free in [
                format!("{take} COST 0"),
                format!("{take} COST 0 ATMOST"),
                format!("{take} COST 0 FORCE"),
                format!("{peek} COST 0"),
                format!("{give} COST 0"),
            ] {
                let reply: Reply = c.ask(&free);
                assert_eq!(reply[..4], [0, 5, left, 0], "{free}");
            }
            assert_eq!(state(&mut c, key), before, "{take}");
            if left > 0 {
                let cost = if left == 5 { 3 } else { 2 };
                c.ask::<Reply>(&format!("{take} COST {cost}"));
            }
        }
        // What owes grants nothing.
        c.ask::<Reply>(&format!("{take} COST 2 FORCE"));
        for denied in [format!("{take} COST 0"), format!("{peek} COST 0")] {
            let reply: Reply = c.ask(&denied);
            assert!(reply[0] == 0 && reply[3] > 0, "{denied}: {reply:?}");
        }
        let forced: Reply = c.ask(&format!("{take} COST 0 FORCE"));
        assert_eq!(forced[..4], [0, 5, 0, 0], "{take}");
    }
    let waits = c.take("b 1/d 5 COST 0 MAXWAIT 1000000000");
    assert!(waits[0] == 0 && waits[3] > 0, "{waits:?}");
    // A burst or limit of 0 has 0.
    for none in ["RL.TAKE none 1/d 0 COST 0", "RL.WTAKE none 0 DAY COST 0"] {
        assert_eq!(c.ask::<Reply>(none), [0, 0, 0, 0, 0], "{none}");
    }
    assert_eq!(c.take("none 1/d 0 COST 0 KEEP 1")[3], -1);
    assert!(!c.ask::<bool>("EXISTS none"));
}

#[test]
fn rl_mtake_and_rl_all_may_cost_nothing() {
    let server = Server::start();
    let mut c = server.connection();
    type Replies = (i64, i64, Vec<Reply>);
    let (taken, wait, each): Replies = c.ask("RL.MTAKE 2 a 1/d 5 b 1/d 5 COST 0");
    assert_eq!((taken, wait), (0, 0));
    assert_eq!(each, [[0, 5, 5, 0, 0]; 2]);
    let all = "RL.ALL 2 a w BUCKET 1/d 5 COST 0 WINDOW 5 DAY COST 0 KEEP 0";
    let (taken, wait, each): Replies = c.ask(all);
    assert_eq!((taken, wait), (1, 0));
    assert_eq!(each, [[0, 5, 5, 0, 0]; 2]);
    assert_eq!(c.ask::<i64>("DBSIZE"), 0);

    let mixed = "RL.ALL 2 a w BUCKET 1/d 5 COST 0 WINDOW 5 DAY COST 6";
    let (taken, wait, each): Replies = c.ask(mixed);
    assert_eq!((taken, wait), (0, -1));
    assert_eq!(each[0], [0, 5, 5, 0, 0]);
    let counts = [
        "rl_takes_denied",
        "rl_window_takes_denied",
        "rl_takes_allowed",
    ]
    .map(|name| server.count(name));
    assert_eq!(counts, [0, 1, 2], "what costs nothing is not denied");
}

#[test]
fn a_cost_of_zero_opens_and_converts_no_window() {
    let server = Server::start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.WTAKE s 5 SLIDING 1h");
    let before: Vec<u8> = c.ask("GET s");
    c.ask::<Reply>("RL.WTAKE w 5 1h COST 0");
    c.ask::<Reply>("RL.WTAKE s 5 SLIDING 2h COST 0");
    assert_eq!(c.ask::<Vec<u8>>("GET s"), before, "it keeps its length");
    assert_eq!(c.ask::<i64>("DBSIZE"), 1);
}
