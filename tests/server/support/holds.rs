//! Calls with a HOLD, their settlements, and the records in a holds key.

use redis::Connection;

use crate::support::{Ask, Reply};

/// `[taken, wait_ms, [five integers for each key]]`.
pub type Replies = (i64, i64, Vec<Reply>);

/// Reserves from a bucket `b` and a window `w` with the holds key `h`.
pub fn reserve(c: &mut Connection, cost: u64, hold: &str) -> Replies {
    c.ask(&reserve_words(cost, hold))
}

pub fn reserve_words(cost: u64, hold: &str) -> String {
    format!("RL.ALL 3 b w h BUCKET 1/d 1000 COST {cost} WINDOW 1000 30d COST {cost} HOLD {hold}")
}

/// Settles such a call.
pub fn settle(c: &mut Connection, used: u64, id: &str) -> Replies {
    c.ask(&settle_words(used, id))
}

pub fn settle_words(used: u64, id: &str) -> String {
    format!("RL.SETTLE 3 b w h BUCKET 1/d 1000 USED {used} WINDOW 1000 30d USED {used} HOLD {id}")
}

/// Returns the usage of the bucket and of the window.
pub fn used(c: &mut Connection) -> [i64; 2] {
    let bucket: Reply = c.ask("RL.PEEK b 1/d 1000");
    let window: Reply = c.ask("RL.WPEEK w 1000 30d");
    [1000 - bucket[2], 1000 - window[2]]
}

/// One hold as RL.HOLDS lists it: id, milliseconds left, ELSE, and what each key holds.
pub type Listed = (Vec<u8>, i64, String, Vec<(Vec<u8>, i64)>);

/// `[open, limit, overdue, remembered, holds]`.
pub fn holds(c: &mut Connection, key: &str) -> (i64, i64, i64, i64, Vec<Listed>) {
    c.call(&["RL.HOLDS", key])
}

/// Returns the number of open, overdue and remembered records.
pub fn count(c: &mut Connection, key: &str) -> [i64; 3] {
    let (open, _, overdue, remembered, _) = holds(c, key);
    [open, overdue, remembered]
}
