//! Calls on limits of several kinds, and all that a server holds.

use std::collections::BTreeMap;

use redis::Connection;

use crate::support::{expires_at, Ask, Reply};

/// `[taken, wait_ms, [five integers for each limit]]`.
pub type Replies = (i64, i64, Vec<Reply>);

/// Every key: what it holds, and when it expires.
pub type State = BTreeMap<String, (Vec<u8>, i64)>;

/// A limit of each kind, and how it comes to have too little.
pub struct Kind {
    pub key: &'static str,
    pub spec: &'static str,
    /// The first integers of a successful call on a new key: taken, limit, remaining.
    pub passes: [i64; 3],
    pub exhaust: &'static str,
    /// A limit that never passes.
    pub never: &'static str,
}

pub const KINDS: [Kind; 4] = [
    Kind {
        key: "bucket",
        spec: "BUCKET 1/d 5 COST 2",
        passes: [2, 5, 3],
        exhaust: "RL.TAKE bucket 1/d 5 COST 4",
        never: "BUCKET 1/d 1 COST 2",
    },
    Kind {
        key: "window",
        spec: "WINDOW 6 1h COST 3",
        passes: [3, 6, 3],
        exhaust: "RL.WTAKE window 6 1h COST 4",
        never: "WINDOW 1 1h COST 2",
    },
    Kind {
        key: "sliding",
        spec: "WINDOW 7 SLIDING 1h",
        passes: [1, 7, 6],
        exhaust: "RL.WTAKE sliding 7 SLIDING 1h COST 7",
        never: "WINDOW 1 SLIDING 1h COST 2",
    },
    Kind {
        key: "lease",
        spec: "LEASE 2 1h me",
        passes: [1, 2, 1],
        exhaust: "RL.ACQUIRE lease 1 2h other",
        never: "LEASE 0 1h me",
    },
];

pub fn all(c: &mut Connection, words: &str) -> Replies {
    c.ask(&format!("RL.ALL {words}"))
}

/// Returns the arguments of a call on these limits.
pub fn words(limits: &[(&str, &str)]) -> String {
    let keys: Vec<_> = limits.iter().map(|(key, _)| *key).collect();
    let specs: Vec<_> = limits.iter().map(|(_, spec)| *spec).collect();
    format!("{} {} {}", limits.len(), keys.join(" "), specs.join(" "))
}

pub fn state(c: &mut Connection) -> State {
    let keys: Vec<String> = c.ask("KEYS *");
    let mut state = State::new();
    for key in keys {
        let value: Option<Vec<u8>> = c.call(&["DUMP", &key]);
        let expires = expires_at(c, &key);
        state.insert(key, (value.unwrap_or_default(), expires));
    }
    state
}
