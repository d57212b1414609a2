//! Keys: that none is given twice, and by what it is known when they expire.

use std::collections::HashSet;

use redis_rl_limits::bucket::Bucket;
use redis_rl_limits::decision::{Limit as _, State as _};
use redis_rl_limits::distinct::check_distinct;
use redis_rl_limits::error::Error;

use crate::cases::{Pair, TODAY};
use crate::oracle::State;

/// Of every number of keys that a call may have, the one at each place against each other.
#[test]
fn a_key_that_is_given_twice_is_found_wherever_it_is() {
    for count in [1, 2, 3, 7, 8, 9, 10, 64, 128] {
        // Alike at both ends, as long as each other; and short ones.
        for keys in [
            (0..count)
                .map(|n| format!("user:{n:010}:limit:of:all"))
                .collect::<Vec<_>>(),
            (0..count).map(|n| n.to_string()).collect(),
        ] {
            let check = |keys: &[String]| {
                let bytes = keys.iter().map(String::as_bytes);
                check_distinct(7, bytes).map_err(|error| match error {
                    Error::RepeatedKey(key) => String::from_utf8_lossy(key).into_owned(),
                    error => panic!("{error}"),
                })
            };
            assert_eq!(check(&keys), Ok(()));
            for second in 1..count {
                for first in [0, second / 2, second - 1] {
                    let mut twice = keys.clone();
                    twice[second] = twice[first].clone();
                    assert_eq!(check(&twice), Err(twice[first].clone()));
                }
            }
        }
    }
}

/// A key's expiry follows from its name, what it holds and the limit: of a few thousand of these no
/// two have one hash, or one would be taken for known that is not.
#[test]
fn what_tells_when_a_key_expires_is_told_apart() {
    let mut hashes = HashSet::new();
    for key in [
        "user:1",
        "user:2",
        "2:user",
        "a-long-name-of-a-user:0000",
        "a-long-name-of-a-user:0001",
    ] {
        for rate in ["1", "2", "1/m", "2/m", "1/h", "60/m", "3600/h", "7/3m"] {
            for burst in [1, 2, 3, 20, 1 << 10] {
                for (later, tokens) in [(0, 0), (0, 1), (1, 0), (1 << 20, 0)] {
                    let limit = Pair::parse(rate, burst).real;
                    let updated_at = TODAY + later;
                    let bytes = State { updated_at, tokens }.bytes();
                    let state = Bucket::from_bytes(&bytes).expect("a bucket");
                    let hash = limit.expiry_hash(key.as_bytes(), &state).expect("a hash");
                    hashes.insert(hash);
                }
            }
        }
    }
    // The level has no part in it: of one instant there is but one.
    assert_eq!(hashes.len(), 5 * 8 * 5 * 3);
}
