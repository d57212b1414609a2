//! RL.GIVE refunds tokens.

use crate::common::Server;
use crate::support::{Ask, Reply};

#[test]
fn refund_is_capped_at_full() {
    let server = Server::start();
    let mut c = server.connection();
    c.take("k 1/d 5 COST 3");
    let mut give = |words: &str| c.ask::<Reply>(&format!("RL.GIVE {words}"));
    assert_eq!(give("k 1/d 5")[..4], [1, 5, 3, 0]);
    let [given, limit, remaining, wait_ms, reset_ms] = give("k 1/d 5 COST 10");
    assert!(
        [1, 2].contains(&given),
        "{given} of the two that lack, less what time gave"
    );
    assert_eq!([limit, remaining, wait_ms, reset_ms], [5, 5, 0, 0]);
    assert_eq!(
        give("none 1/d 5"),
        [0, 5, 5, 0, 0],
        "what is not there is full"
    );
    assert_eq!(c.ask::<i64>("DBSIZE"), 0, "a full bucket is no key");
    assert_eq!(c.take("k 1/d 5 COST 5")[0], 5);
}

#[test]
fn refund_repays_debt_first() {
    let server = Server::start();
    let mut c = server.connection();
    c.take("k 1/d 5 COST 8 FORCE");
    let given: Reply = c.ask("RL.GIVE k 1/d 5 COST 4");
    assert_eq!(given[..3], [4, 5, 1]);
    assert_eq!(c.take("k 1/d 5")[..3], [1, 5, 0]);
}
