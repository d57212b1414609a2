//! The demo's own memory, from inside.

use super::{Ask, Demand, Memory, FEW_KEYS};
use crate::limit::bucket;

#[test]
fn expired_keys_take_no_memory() {
    let bucket = bucket("b", "1000000", "1").expect("a limit");
    let demand = Demand {
        limits: vec![bucket],
    };
    let memory = Memory::default();
    for i in 0..10 * FEW_KEYS {
        let ask = Ask {
            caller: i.to_string(),
            cost: 1,
            token: String::new(),
            asked_at: 0,
        };
        let taken = memory.take_now(&demand, &ask);
        assert!(taken.is_ok_and(|answer| answer.allowed));
    }
    // Each expires a millisecond later, and those of the last milliseconds are few.
    assert!(memory.state().held.len() <= 8 * FEW_KEYS);
}
