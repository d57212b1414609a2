//! The ways in which a wait ends.

use redis::Value;

use super::{assert_unloads, holders, joined, wait_until_waiting, waiting, Waiting};
use crate::common::{wait_until, Server};
use crate::lease::Leases;
use crate::support::node::launch;
use crate::support::{knows, listener, Ask, Reply};

#[test]
fn wait_ends_with_a_denial_when_its_time_is_up() {
    let server = launch().start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    let denied: Reply = c.ask("RL.ACQUIRE k 1 1h b WAIT 30");
    assert_eq!(denied[..3], [0, 1, 0]);
    assert!(denied[3] > 3_500_000);
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 1 1h b WAIT 1")[0], 0);
    assert_eq!(server.count("rl_lease_waits_timed_out"), 2);
    assert_eq!(server.count("rl_lease_denied"), 2);
    assert_unloads(&server);
}

#[test]
fn wait_ends_when_a_slot_becomes_free_in_any_way() {
    let server = launch().start();
    let mut c = server.connection();
    // By itself: 40 ms after it was acquired.
    c.ask::<Reply>("RL.ACQUIRE k 1 40ms a");
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 1 1h b WAIT 60000")[0], 1);
    for freed in [
        "ZREM k b",
        "DEL k",
        "RENAME k other",
        "FLUSHALL",
        "FLUSHDB ASYNC",
        "SWAPDB 0 1",
    ] {
        c.ask::<()>("DEL k");
        c.ask::<Reply>("RL.ACQUIRE k 1 1h b");
        let mut waiter = waiting(&server, "k 1 1h c WAIT 60000");
        c.ask::<Value>(freed);
        assert!(waiter.taken(), "{freed}");
        assert_eq!(holders(&mut c, "k"), ["c"], "{freed}");
    }
    assert_unloads(&server);
}

#[test]
fn wait_ends_with_the_error_of_a_key_that_holds_something_else() {
    let server = launch().start();
    let mut c = server.connection();
    for (set, error) in [
        ("SET k text", "WRONGTYPE "),
        ("ZADD k 1 a", "ERR key 'k' holds a sorted set"),
    ] {
        c.ask::<()>("DEL k");
        c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
        let mut waiter = waiting(&server, "k 1 1h b WAIT 60000");
        let mut together = redis::pipe();
        let words: Vec<_> = set.split(' ').collect();
        together
            .atomic()
            .cmd("DEL")
            .arg("k")
            .cmd(words[0])
            .arg(&words[1..]);
        let _: Value = together.query(&mut c).expect("replies");
        let ended = waiter.error();
        assert!(ended.starts_with(error), "{set}: {ended}");
        // The connection stays open.
        assert!(waiter.connection.ask::<String>("PING") == "PONG");
    }
    assert_unloads(&server);
}

#[test]
fn wait_ends_by_client_unblock_or_with_its_connection() {
    let server = launch().start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    let mut waiter = waiting(&server, "k 1 1h b WAIT 60000");
    assert_eq!(
        c.call::<i64>(&["CLIENT", "UNBLOCK", &waiter.id.to_string()]),
        1
    );
    assert_eq!(waiter.reply()[..3], [0, 1, 0]);
    let mut waiter = waiting(&server, "k 1 1h b WAIT 60000");
    let id = waiter.id.to_string();
    assert_eq!(c.call::<i64>(&["CLIENT", "UNBLOCK", &id, "ERROR"]), 1);
    let error = waiter.error();
    assert!(error.starts_with("UNBLOCKED "), "{error}");
    assert!(waiter.connection.ask::<String>("PING") == "PONG");
    drop(waiting(&server, "k 1 1h b WAIT 60000"));
    wait_until_waiting(&server, 0);
    assert_eq!(server.count("rl_lease_waits_left"), 2);
    assert_eq!(holders(&mut c, "k"), ["a"]);
    assert_unloads(&server);
}

/// The slot is free, but the caller does not get it: its reply must not look like that of a caller
/// which does. An error is not counted as a denial.
#[test]
fn caller_unblocked_by_a_transaction_that_changes_the_key_is_answered_as_of_then() {
    let server = launch().start();
    let mut c = server.connection();
    for (change, denied) in [("DEL k", 1), ("SET k text", 1)] {
        c.ask::<()>("DEL k");
        c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
        let mut waiter = waiting(&server, "k 1 1h b WAIT 3600000");
        let words: Vec<_> = change.split(' ').collect();
        let mut together = redis::pipe();
        together.atomic().cmd(words[0]).arg(&words[1..]).ignore();
        together.cmd("CLIENT").arg("UNBLOCK").arg(waiter.id);
        assert_eq!(together.query::<(i64,)>(&mut c).expect("a reply"), (1,));
        match change {
            "DEL k" => assert_eq!(waiter.reply()[..4], [0, 1, 1, 1]),
            _ => assert!(waiter.error().starts_with("WRONGTYPE "), "{change}"),
        }
        assert_eq!(server.count("rl_lease_denied"), denied, "{change}");
    }
    assert_unloads(&server);
}

/// A slot and the end of its waiter in one transaction: the waiter is answered once, and a slot of
/// which nobody was told is free again.
#[test]
fn grant_and_client_unblock_in_one_transaction_answer_once() {
    let server = launch().start();
    let mut c = server.connection();
    for (end, kept) in [("UNBLOCK", true), ("UNBLOCK ERROR", false), ("KILL", false)] {
        c.ask::<()>("DEL k");
        c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
        let mut waiter = waiting(&server, "k 1 1h b WAIT 60000");
        let mut behind = waiting(&server, "k 1 1h c WAIT 60000");
        let id = waiter.id.to_string();
        let words: &[&str] = match end {
            "UNBLOCK" => &["UNBLOCK", &id],
            "UNBLOCK ERROR" => &["UNBLOCK", &id, "ERROR"],
            _ => &["KILL", "ID", &id],
        };
        let mut together = redis::pipe();
        together.atomic().cmd("RL.RELEASE").arg(&["k", "a"]);
        together.cmd("CLIENT").arg(words);
        let replies: (i64, i64) = together.query(&mut c).expect("replies");
        assert_eq!(replies, (1, 1), "{end}");
        if kept {
            assert!(waiter.taken(), "{end}");
            assert_eq!(waiter.connection.ask::<String>("PING"), "PONG");
            assert_eq!(c.ask::<i64>("RL.RELEASE k b"), 1, "{end}");
        }
        assert!(behind.taken(), "{end}");
        assert_eq!(holders(&mut c, "k"), ["c"], "{end}");
    }
    assert_unloads(&server);
}

/// For the waiters behind the vanished one, its slot is released as usual.
#[test]
fn slot_of_a_vanished_waiter_is_released_with_an_event() {
    let server = launch()
        .with(&["--loadmodule", listener::library()])
        .start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    let lost = waiting(&server, "k 1 1h b WAIT 3600000");
    let mut behind = waiting(&server, "k 1 1h c WAIT 3600000");
    c.ask::<String>("LISTENER.HEARD");
    let mut together = redis::pipe();
    together.atomic().cmd("RL.RELEASE").arg(&["k", "a"]);
    together.cmd("CLIENT").arg(&["KILL", "ID"]).arg(lost.id);
    assert_eq!(together.query::<(i64, i64)>(&mut c), Ok((1, 1)));
    assert!(behind.taken());
    let heard: String = c.ask("LISTENER.HEARD");
    let twice = "rl.release k\nrl.acquire k\n".repeat(2);
    assert_eq!(heard, twice);
    assert_eq!(server.count("rl_lease_released"), 2);
    assert_unloads(&server);
}

#[test]
fn slot_of_a_vanished_waiter_stays_if_its_end_was_changed_by_hand() {
    let server = launch().start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    let lost = waiting(&server, "k 1 1h b WAIT 3600000");
    let end = crate::support::now() / 1_000_000 + 7_200_000;
    let mut together = redis::pipe();
    together.atomic().cmd("RL.RELEASE").arg(&["k", "a"]);
    together
        .cmd("ZADD")
        .arg(&["k", "XX", "CH"])
        .arg(end)
        .arg("b");
    together.cmd("CLIENT").arg(&["KILL", "ID"]).arg(lost.id);
    assert_eq!(together.query::<(i64, i64, i64)>(&mut c), Ok((1, 1, 1)));
    // The timer has nothing left to do.
    assert_unloads(&server);
    assert_eq!(c.ask::<f64>("ZSCORE k b"), end as f64);
}

/// A slot that another caller was told of, before or after its waiter vanished, is not taken back.
#[test]
fn slot_of_a_vanished_waiter_stays_if_another_caller_was_told_of_it() {
    let server = launch().start();
    let mut c = server.connection();
    for (told, is_first) in [
        "RL.RENEW k 1m b",
        "RL.ACQUIRE k 1 1m b",
        "RL.ALL 1 k LEASE 1 1m b",
        "RL.ALL 1 k LEASE 1 1m b ONCE",
    ]
    .iter()
    .flat_map(|told| [(told, true), (told, false)])
    {
        c.ask::<()>("DEL k");
        c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
        let waiter = waiting(&server, "k 1 1h b WAIT 60000");
        let kill = format!("CLIENT KILL ID {}", waiter.id);
        let after = match is_first {
            true => [*told, &kill],
            false => [&kill, *told],
        };
        let mut together = redis::pipe();
        together.atomic();
        for command in [&["RL.RELEASE k a"], &after[..]].concat() {
            let words: Vec<_> = command.split(' ').collect();
            together.cmd(words[0]).arg(&words[1..]).ignore();
        }
        let () = together.query(&mut c).expect("replies");
        // Another round of checks has passed once a later waiter has timed out.
        assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 1 1h c WAIT 80")[0], 0);
        assert_eq!(holders(&mut c, "k"), ["b"], "{told} {is_first}");
    }
    assert_unloads(&server);
}

/// While the server sleeps, sends it commands that it then runs in one turn of the event loop: a slot
/// is granted to a waiter, another caller renews and releases it, it is granted again to a second
/// waiter of the same token, and the second waiter is killed, or both. Returns whether all of that
/// was done before the first waiter was told. Each attempt sleeps longer.
fn grant_again(server: &Server, kills_both: bool, attempt: u32) -> bool {
    let mut c = server.connection();
    c.ask::<()>("DEL k");
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    let mut first = waiting(server, "k 1 1h t WAIT 60000");
    let [mut sleeps, mut releases, mut second, mut kills] =
        [(); 4].map(|()| Waiting::connect(server));
    let acquired = server.count("rl_lease_acquired");
    sleeps.send(&[&format!("DEBUG SLEEP {}", 0.2 * f64::from(attempt))]);
    releases.send(&[
        "RL.RELEASE k a",
        "RL.RENEW k 1h t",
        "RL.RELEASE k t",
        "RL.ACQUIRE k 1 1h b",
    ]);
    second.send(&["RL.ACQUIRE k 1 1h t WAIT 60000"]);
    let [kill_first, kill_second] =
        [&first, &second].map(|waiter| format!("CLIENT KILL ID {}", waiter.id));
    let ends = ["RL.RELEASE k b", &kill_second, &kill_first];
    kills.send(&ends[..if kills_both { 3 } else { 2 }]);
    let is_told = [&mut first, &mut second].map(|waiter| waiter.value().is_ok());
    // Those of `t`, `b` and `t` again.
    let granted = server.count("rl_lease_acquired") - acquired;
    is_told == [!kills_both, false] && granted == 3
}

#[test]
fn slot_granted_again_stays_only_if_a_caller_was_told_of_it_since() {
    let server = launch().start();
    let mut c = server.connection();
    if !knows(&mut c, &["DEBUG", "SLEEP", "0"]) {
        return;
    }
    // The commands may come in another order, but not each time.
    assert!((1..20).any(|attempt| grant_again(&server, true, attempt)));
    assert!(c.ask::<Reply>("RL.ACQUIRE k 1 1h c WAIT 20000")[0] == 1);
    assert_eq!(holders(&mut c, "k"), ["c"]);
    // The first waiter's answer comes after the second grant.
    assert!((1..20).any(|attempt| grant_again(&server, false, attempt)));
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 1 1h c WAIT 80")[0], 0);
    assert_eq!(holders(&mut c, "k"), ["t"]);
    assert_unloads(&server);
}

/// The wait's time is up while the server is busy, and its slot becomes free in the same turn of
/// the event loop.
#[test]
fn grant_and_timeout_in_one_turn_of_the_event_loop_answer_once() {
    let server = launch().start();
    let mut c = server.connection();
    if !knows(&mut c, &["DEBUG", "SLEEP", "0"]) {
        return;
    }
    let mut met = 0;
    wait_until("waits meet both", || {
        c.ask::<()>("DEL k");
        c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
        let mut waiter = joined(&server, "k 1 1h b WAIT 100");
        let mut together = redis::pipe();
        together.cmd("RL.LEASES").arg(&["k", "1"]);
        together.cmd("DEBUG").arg("SLEEP").arg("0.15").ignore();
        together.cmd("RL.RELEASE").arg(&["k", "a"]);
        let (before, released): (Leases, i64) = together.query(&mut c).expect("replies");
        assert_eq!(released, 1);
        let taken = waiter.taken();
        assert_eq!(waiter.connection.ask::<String>("PING"), "PONG");
        assert_eq!(!holders(&mut c, "k").is_empty(), taken);
        met += before.6;
        met == 3
    });
    assert_unloads(&server);
}

/// In one turn of the event loop the timer unblocks a waiter that got a slot, and the server then
/// closes its connection, before it asks for the waiter's answer: the output that the waiter has not
/// read exceeds a new limit, which the server's own timer checks.
#[test]
fn waiter_that_is_closed_after_it_was_unblocked_is_unblocked_once() {
    let server = launch().start();
    let mut c = server.connection();
    if !knows(&mut c, &["DEBUG", "SLEEP", "0"]) {
        return;
    }
    let limit = ["SET", "client-output-buffer-limit"];
    // More than the buffers of a socket hold.
    c.ask::<i64>(&format!("SETRANGE large {} x", 32 << 20));
    let mut met = 0;
    wait_until("waiters are closed in between", || {
        c.call::<()>(&["CONFIG", limit[0], limit[1], "normal 0 0 0"]);
        c.ask::<()>("DEL k");
        c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
        let mut waiter = Waiting::connect(&server);
        waiter.send(&["GET large", "RL.ACQUIRE k 1 1h b WAIT 600000"]);
        wait_until_waiting(&server, 1);
        let mut together = redis::pipe();
        together.atomic().cmd("RL.RELEASE").arg(&["k", "a"]);
        together.cmd("CONFIG").arg(&limit).arg("normal 1mb 0 0");
        // Both timers are due afterwards.
        together.cmd("DEBUG").arg("SLEEP").arg("0.25");
        let _: Value = together.query(&mut c).expect("replies");
        drop(waiter);
        // If the waiter was closed before it was told, its slot is free again.
        met += c.ask::<Reply>("RL.ACQUIRE k 1 1h c WAIT 100")[0];
        met == 3
    });
    assert_unloads(&server);
}

#[test]
fn max_waiters_bounds_the_callers_and_0_ends_all_waits() {
    let server = launch().module_arguments(&["MAX-WAITERS", "1"]).start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    let mut waiter = waiting(&server, "k 1 1h b WAIT 3600000");
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE other 1 1h b")[0], 1);
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 1 1h c WAIT 3600000")[0], 0);
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE other 1 1h c WAIT 3600000")[0], 0);
    if knows(&mut c, &["CONFIG", "HELP"])
        && server.ask::<Vec<String>>("CONFIG GET rl.max-waiters").len() == 2
    {
        c.ask::<()>("CONFIG SET rl.max-waiters 0");
        assert_eq!(waiter.reply()[0], 0);
        assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 1 1h c WAIT 3600000")[0], 0);
    } else {
        c.ask::<i64>("RL.RELEASE k a");
        assert!(waiter.taken());
    }
    assert_unloads(&server);
    let off = launch().module_arguments(&["max-waiters", "0"]).start();
    off.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    assert_eq!(off.ask::<Reply>("RL.ACQUIRE k 1 1h b WAIT 3600000")[0], 0);
}

/// The timer copies and looks up each name again and again, so a few long ones would stall the server for as
/// long as their callers wait.
#[test]
fn nobody_waits_for_a_key_with_a_name_of_more_than_1024_bytes() {
    let server = launch().start();
    let mut c = server.connection();
    let [accepted, long] = [1024, 1025].map(|len| "k".repeat(len));
    for key in [&accepted, &long] {
        assert_eq!(c.ask::<Reply>(&format!("RL.ACQUIRE {key} 1 1h a"))[0], 1);
    }
    let denied: Reply = c.ask(&format!("RL.ACQUIRE {long} 1 1h b WAIT 100"));
    assert_eq!(denied[..3], [0, 1, 0]);
    assert_eq!(server.count("rl_lease_waits"), 0);
    let mut waiter = waiting(&server, &format!("{accepted} 1 1h b WAIT 3600000"));
    c.ask::<i64>(&format!("RL.RELEASE {accepted} a"));
    assert!(waiter.taken());
    assert_unloads(&server);
}

/// One command answers all callers that wait with a token, and thousands would stall the server.
#[test]
fn at_most_16_callers_wait_with_the_same_token() {
    let server = launch().start();
    let mut c = server.connection();
    assert_eq!(c.ask::<Reply>("RL.ACQUIRE k 1 1h a")[0], 1);
    let same = "k 1 1h b WAIT 3600000";
    let waiters: Vec<_> = (0..16).map(|_| waiting(&server, same)).collect();
    let denied: Reply = c.ask("RL.ACQUIRE k 1 1h b WAIT 100");
    assert_eq!(denied[..3], [0, 1, 0]);
    assert_eq!(server.count("rl_lease_waits"), 16);
    let mut other = waiting(&server, "k 1 1h c WAIT 3600000");
    c.ask::<i64>("RL.RELEASE k a");
    for mut waiter in waiters {
        assert!(waiter.taken());
    }
    c.ask::<i64>("RL.RELEASE k b");
    assert!(other.taken());
    assert_unloads(&server);
}

/// Without waiters no timer is armed; with one, or one that is still blocked, the unload is refused.
#[test]
fn module_unload_is_refused_while_a_caller_waits() {
    let server = launch().start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    let waiter = waiting(&server, "k 1 1h b WAIT 60000");
    let refused = c.error("MODULE UNLOAD rl");
    assert!(refused.starts_with("ERR "), "{refused}");
    drop(waiter);
    wait_until_waiting(&server, 0);
    wait_until("the module is unloaded", || {
        redis::cmd("MODULE")
            .arg("UNLOAD")
            .arg("rl")
            .query::<()>(&mut c)
            .is_ok()
    });
    assert!(c.ask::<bool>("EXISTS k"));
}

#[test]
fn module_unloads_at_once_after_the_last_wait() {
    let server = launch().start();
    let mut c = server.connection();
    c.ask::<Reply>("RL.ACQUIRE k 1 1h a");
    let mut waiter = waiting(&server, "k 1 1h b WAIT 60000");
    assert_eq!(c.ask::<i64>(&format!("CLIENT UNBLOCK {}", waiter.id)), 1);
    assert!(!waiter.taken());
    // Servers refuse to unload a module whose timer is set.
    c.ask::<()>("MODULE UNLOAD rl");
}
