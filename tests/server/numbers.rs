//! Numbers as programs print them: with an exponent, on every server alike.

use crate::common::Server;
use crate::support::node::launch;
use crate::support::{call, Ask, Reply};

const DAY_MS: i64 = 86_400_000;

#[test]
fn integers_in_scientific_notation_work_in_every_command() {
    let server = launch().start();
    let mut c = server.connection();
    let mut five = |words: &str| c.ask::<Reply>(words);
    assert_eq!(five("RL.TAKE a 1/d 1e2 COST 1.0E1")[..3], [10, 100, 90]);
    assert_eq!(five("RL.TAKE a 1/d 1e+2 COST 150e-1")[..3], [15, 100, 75]);
    assert_eq!(five("RL.TAKE a 1/d 1.0e2 COST 1.5e1")[..3], [15, 100, 60]);
    assert_eq!(five("RL.GIVE a 1/d 100 COST 1e1")[..3], [10, 100, 70]);
    assert_eq!(five("RL.PEEK a 1/d 1E2 COST 7e1")[..3], [70, 100, 70]);
    assert_eq!(five("RL.WTAKE w 1e2 3e1d COST 1.0E1")[..3], [10, 100, 90]);
    assert_eq!(five("RL.WPEEK w 1.0e2 DAY COST 9e+1")[..3], [90, 100, 90]);
    assert_eq!(
        five("RL.WGIVE w 100 DAY COST 1e1 AT 1.9e12")[..3],
        [10, 100, 100]
    );
    assert_eq!(five("RL.WTAKE u 5 UNTIL 2e12")[..3], [1, 5, 4]);
    assert_eq!(
        five("RL.WTAKE m 5 MONTH ANCHOR 3.1e1 KEEP 5e0")[..4],
        [0, 5, 5, -1]
    );
    assert_eq!(five("RL.TAKE b 1/h 1 MAXWAIT 3.6e6")[..3], [1, 1, 0]);
    assert_eq!(five("RL.TAKE b 1/h 1 MAXWAIT 3.6e6")[0], 1);
    assert_eq!(five("RL.TAKE b 1/h 1 MAXWAIT 3.6e6")[0], 0);
    assert_eq!(
        five("RL.TAKE c 1e8 1e+8 COST 1e8")[..3],
        [100_000_000, 100_000_000, 0]
    );
    assert_eq!(five("CL.THROTTLE d 1.5e1 1e0 8.64e4 1e0")[..3], [0, 16, 15]);
    let (taken, ..): (i64, i64, Vec<Reply>) = c.ask("RL.MTAKE 1 e 1/d 1e1 COST 1e0");
    assert_eq!(taken, 1);
    c.ask::<Vec<redis::Value>>("RL.TOP 1e1");
}

/// Recent limits are remembered by their text.
#[test]
fn numbers_that_differ_in_one_digit_are_told_apart() {
    let server = Server::start();
    let mut c = server.connection();
    for length in 1..=20_usize {
        // Numbers of up to 11 digits, with zeros in front.
        for place in length.saturating_sub(11)..length {
            for digit in ["1", "2"] {
                let mut burst = "0".repeat(length);
                burst.replace_range(place..=place, digit);
                let reply: Reply = c.ask(&format!("RL.PEEK k 1e6/s {burst}"));
                assert_eq!(Ok(reply[1]), burst.parse(), "{burst}");
            }
        }
    }
}

/// The servers' own key specification reads it.
#[test]
fn numkeys_is_plain_digits() {
    let server = Server::start();
    let mut c = server.connection();
    for numkeys in ["1e0", "1.0", "+1", "10e-1"] {
        let error = c.error(&format!("RL.MTAKE {numkeys} k 1/d 5"));
        assert!(
            error.starts_with("ERR numkeys must be "),
            "{numkeys}: {error}"
        );
    }
}

/// A server formats a script's numbers in its own way.
#[test]
fn script_may_pass_computed_rates_and_counts() {
    let server = Server::start();
    let mut c = server.connection();
    let cases = [
        ("10/86400", "5", 8_640_000),
        ("1/86400", "5", DAY_MS),
        ("1/3", "5", 3_000),
        ("0.1 + 0.2", "5", 3_334),
        ("1e8", "1e8", 1),
        ("2^33", "2^33", 1),
        ("100/60", "10 * 2", 600),
        ("1e-5", "5", 100_000_000),
        ("7/604800", "5", DAY_MS),
    ];
    for (rate, burst, millis) in cases {
        let script = format!("return redis.call('RL.TAKE', KEYS[1], {rate}, {burst})");
        let eval = call("EVAL", &[script.as_str(), "1", rate]);
        let [taken, _, _, _, reset_ms]: Reply = eval.query(&mut c).expect(rate);
        assert_eq!(taken, 1, "{rate}");
        // The last digit is the script's.
        let accepted = millis - 1..=millis + millis / 1_000_000 + 1;
        assert!(accepted.contains(&reset_ms), "{rate}: {reset_ms}");
    }
}
