//! The gateway before a model: reservations, refunds and denials.

use std::io::Read;
use std::net::TcpStream;

use redis::Value;

use crate::common::{root, until, wait_until};
use crate::example::{Answer, Example};

const MONTH: i64 = 2_000_000;

fn gateway(environment: &[(&str, &str)]) -> Example {
    let python = root().join("target/clients/py/bin/python");
    Example::with(python, &["scripts/examples/model_gateway.py"], environment)
}

/// Returns the first answer with this status. A busy machine's Redis may not answer in time (503), and then
/// the estimate is charged until that call is settled.
fn answered(gateway: &Example, path: &str, account: &str, status: u16) -> Answer {
    until(&format!("the status is {status}"), || {
        let answer = gateway.get(path, account);
        assert!([status, 429, 503].contains(&answer.status()), "{answer:?}");
        (answer.status() == status).then_some(answer)
    })
}

/// Begins a long answer whose first bytes have arrived.
fn stream(gateway: &Example) -> TcpStream {
    until("Redis decides", || {
        let mut stream = gateway.begin("/?estimate=900&tokens=100000", "me");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("it streams");
        let is_decided = !status.ends_with(b"503");
        assert!(!is_decided || status.ends_with(b"200"));
        is_decided.then_some(stream)
    })
}

/// Returns the month's used tokens and the running streams.
fn used_and_running(gateway: &Example, account: &str) -> (i64, i64) {
    let month: [i64; 5] = gateway.call(&format!("RL.WPEEK {{llm:{account}}}:month {MONTH} MONTH"));
    let leases: Vec<Value> = gateway.call(&format!("RL.LEASES {{llm:{account}}}:run 5"));
    let Value::Int(running) = leases[0] else {
        panic!("{leases:?}")
    };
    (MONTH - month[2], running)
}

/// Milliseconds until the minute's tokens are all there again: 6 for each that is missing.
fn tokens_missing(gateway: &Example, account: &str) -> i64 {
    let words = format!("RL.PEEK {{llm:{account}}}:tpm 10000/m 20000");
    let peeked: [i64; 5] = gateway.call(&words);
    peeked[4] / 6
}

#[test]
fn reservation_is_settled_with_the_used_tokens() {
    let gateway = gateway(&[]);
    for (account, estimate, tokens) in [("less", 1500, 1120), ("more", 100, 1000), ("same", 9, 9)] {
        let path = format!("/?estimate={estimate}&tokens={tokens}");
        let answer = answered(&gateway, &path, account, 200);
        assert_eq!(answer.body().split_whitespace().count(), tokens);
        let settled = (i64::try_from(tokens).expect("few"), 0);
        wait_until("it is settled", || {
            used_and_running(&gateway, account) == settled
        });
        let missing = tokens_missing(&gateway, account);
        // They flow back meanwhile.
        assert!(
            (settled.0 - 2_000..=settled.0).contains(&missing),
            "{missing}"
        );
    }
}

#[test]
fn excess_use_becomes_debt() {
    let gateway = gateway(&[]);
    // It takes two minutes to repay.
    answered(&gateway, "/?estimate=20000&tokens=40000", "me", 200);
    wait_until("it is settled", || {
        used_and_running(&gateway, "me") == (40_000, 0)
    });
    let next = answered(&gateway, "/?estimate=1&tokens=1", "me", 429);
    assert!(
        next.body().contains(r#""denied":["tokens a minute"]"#),
        "{}",
        next.body()
    );
}

#[test]
fn each_limit_denies_by_its_name_and_nothing_is_charged() {
    let gateway = gateway(&[]);
    for (name, fill) in [
        (
            "requests a minute",
            "RL.TAKE {llm:me}:rpm 60/m 10 COST 40 FORCE",
        ),
        (
            "tokens a minute",
            "RL.TAKE {llm:me}:tpm 10000/m 20000 COST 20000",
        ),
        (
            "tokens a month",
            "RL.WTAKE {llm:me}:month 2000000 MONTH COST 2000000",
        ),
        ("streams at once", "RL.ACQUIRE {llm:me}:run 5 1h somebody"),
    ] {
        let () = gateway.call("FLUSHALL");
        let _: Value = gateway.call(fill);
        for n in 0..4 {
            let _: Value = gateway.call(&fill.replace("somebody", &n.to_string()));
        }
        let before = used_and_running(&gateway, "me");
        let answer = answered(&gateway, "/?estimate=5000&tokens=1", "me", 429);
        let denied = format!(r#"{{"denied":["{name}"],"#);
        assert!(answer.body().starts_with(&denied), "{}", answer.body());
        let seconds: i64 = answer
            .field("Retry-After")
            .expect("one")
            .parse()
            .expect("a number");
        assert!(seconds >= 1);
        assert_eq!(used_and_running(&gateway, "me"), before, "{name}");
    }
}

#[test]
fn crashed_gateways_slot_expires_and_a_disconnected_caller_is_settled() {
    let mut gateway = gateway(&[("TTL_MS", "9000"), ("SECONDS_A_TOKEN", "0.01")]);
    let first = stream(&gateway);
    drop(first);
    wait_until("what it had is settled", || {
        let (used, running) = used_and_running(&gateway, "me");
        running == 0 && used < 900
    });
    let _second = stream(&gateway);
    assert_eq!(used_and_running(&gateway, "me").1, 1);
    gateway.kill();
    wait_until("the lease ran out", || {
        used_and_running(&gateway, "me").1 == 0
    });
}

/// The server is busy for longer than the gateway's timeout, so the gateway repeats its call; then
/// both are executed.
#[test]
fn lost_reply_is_not_charged_twice() {
    let gateway = gateway(&[("SECONDS_A_TOKEN", "0.001")]);
    // With an open connection, the call arrives while the server is busy.
    answered(&gateway, "/?estimate=1&tokens=1", "me", 200);
    wait_until("it is settled", || {
        used_and_running(&gateway, "me") == (1, 0)
    });
    let mut busy = gateway.redis.connection();
    let script = "local function now()
            local time = redis.call('TIME')
            return time[1] * 1e6 + time[2]
        end
        local start = now()
        while now() - start < 8e5 do end";
    let eval = redis::cmd("EVAL").arg(script).arg(0).get_packed_command();
    busy.send_packed_command(&eval).expect("it is sent");
    let answer = gateway.get("/?estimate=900&tokens=1000", "me");
    // It may have given up; then the last call is charged at most once.
    if answer.status() == 200 {
        wait_until("it is settled", || {
            used_and_running(&gateway, "me") == (1001, 0)
        });
        return;
    }
    assert_eq!(answer.status(), 503);
    wait_until("the server is there again", || {
        used_and_running(&gateway, "me").0 <= 901
    });
}

/// A settlement that the server refuses is given up; one that it cannot execute now is repeated.
#[test]
fn settlement_is_repeated_unless_the_server_refuses_it() {
    let gateway = gateway(&[("SECONDS_A_TOKEN", "0.01")]);
    let first = stream(&gateway);
    let () = gateway.call("CONFIG SET min-replicas-to-write 1");
    drop(first);
    wait_until("it is repeated", || {
        gateway.log().matches("no settlement yet").count() > 1
    });
    let () = gateway.call("CONFIG SET min-replicas-to-write 0");
    wait_until("it is settled", || {
        let (used, running) = used_and_running(&gateway, "me");
        running == 0 && used < 900
    });
    let settled = used_and_running(&gateway, "me").0;

    let second = stream(&gateway);
    let () = gateway.call("SET {llm:me}:holds another");
    let repeated = gateway.log().matches("no settlement yet").count();
    drop(second);
    wait_until("it is given up", || {
        gateway.log().contains("not settled: WRONGTYPE")
    });
    assert_eq!(gateway.log().matches("no settlement yet").count(), repeated);
    assert_eq!(used_and_running(&gateway, "me"), (settled + 900, 1));
}

/// The estimate of a gateway that was killed is refunded by the next call of the same account.
#[test]
fn estimate_of_a_killed_gateway_comes_back() {
    let mut gateway = gateway(&[("TTL_MS", "9000"), ("SECONDS_A_TOKEN", "0.01")]);
    answered(&gateway, "/?estimate=500&tokens=20", "me", 200);
    wait_until("it is settled", || {
        used_and_running(&gateway, "me") == (20, 0)
    });
    let _killed = stream(&gateway);
    assert_eq!(used_and_running(&gateway, "me"), (920, 1));
    gateway.kill();
    wait_until("another gateway's call refunds it", || {
        let other: (i64, i64, Value) = gateway.call(
            "RL.ALL 2 {llm:me}:month {llm:me}:holds WINDOW 2000000 MONTH COST 7 HOLD 1h other",
        );
        other.0 == 1 && used_and_running(&gateway, "me").0 == 27
    });
}

/// The rows of the table in scripts/examples/README.md: what happened, and what is charged.
#[test]
fn each_row_of_the_table_charges_what_it_says() {
    let gateway = gateway(&[]);
    let account = "RL.ALL 2 {llm:me}:month {llm:me}:holds WINDOW 2000000 MONTH COST 1500";
    let reserve = |hold: &str| -> i64 {
        let (taken, _, _): (i64, i64, Value) = gateway.call(&format!("{account} HOLD {hold}"));
        taken
    };
    let settle = |used: i64, id: &str| -> i64 {
        let words = format!("2 {{llm:me}}:month {{llm:me}}:holds WINDOW 2000000 MONTH USED {used}");
        let (status, _, _): (i64, i64, Value) =
            gateway.call(&format!("RL.SETTLE {words} HOLD {id}"));
        status
    };
    let start = || gateway.call::<()>("FLUSHALL");
    let charged = || used_and_running(&gateway, "me").0;

    // The reply of RL.ALL was lost: repeated, or cancelled.
    for (used, expected) in [(1120, 1120), (0, 0)] {
        start();
        assert_eq!(
            (reserve("1h id"), reserve("1h id"), charged()),
            (1, 1, 1500)
        );
        assert_eq!((settle(used, "id"), charged()), (1, expected));
    }
    // The reply of RL.SETTLE was lost.
    assert_eq!((settle(1120, "id"), charged()), (0, 0));
    // A cancellation overtakes its reservation.
    start();
    assert_eq!(settle(0, "late"), -1);
    let mut late = redis::cmd("RL.ALL");
    late.arg(account.split(' ').skip(1).collect::<Vec<_>>());
    let late = late.arg(&["HOLD", "1h", "late"]);
    let error = late.query::<Value>(&mut gateway.redis.connection());
    let error = error.expect_err("it was cancelled").to_string();
    assert!(
        error.contains("was cancelled before it was made"),
        "{error}"
    );
    assert_eq!(charged(), 0);
    // The gateway dies: FREE or CHARGE. A stream outlives its ttl, and settles as usual.
    for (otherwise, left) in [("FREE", 0), ("CHARGE", 1500)] {
        start();
        reserve(&format!("1s id ELSE {otherwise}"));
        let overdue = || gateway.call::<Vec<Value>>("RL.HOLDS {llm:me}:holds")[2] == Value::Int(1);
        wait_until("it is overdue", overdue);
        reserve("1h next");
        settle(0, "next");
        assert_eq!(charged(), left, "{otherwise}");
        assert_eq!((settle(1120, "id"), charged()), (1, 1120), "{otherwise}");
    }
    // The holds key was deleted, or a failover lost the reservation: charged with FORCE.
    start();
    reserve("1h id");
    let () = gateway.call("DEL {llm:me}:holds");
    assert_eq!(settle(1120, "id"), -1);
    let force = "RL.WTAKE {llm:me}:month 2000000 MONTH COST 1120 FORCE";
    let _: Value = gateway.call(force);
    assert_eq!(charged(), 1500 + 1120);
}
