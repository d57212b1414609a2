//! The sketch of the keys denied most, against exact counts.

use std::collections::HashMap;

use proptest::prelude::*;
use redis_rl_limits::keys::hash::mix;
use redis_rl_limits::sketch::top::{Top, MAX_KEYS};

/// Generates keys, a few of them frequent: small numbers, and one of two long keys that differ at
/// the end.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..4u8).prop_map(|n| vec![n]),
        4 => (0..255u8).prop_map(|n| vec![n]),
        1 => (0..2u8).prop_map(|n| [vec![b'x'; 400], vec![n]].concat()),
    ]
}

fn shown(key: &[u8]) -> Vec<u8> {
    key[..key.len().min(256)].to_vec()
}

proptest! {
    #[test]
    fn bounds_hold(capacity in 1..40usize, keys in prop::collection::vec(key(), 0..2_000)) {
        let mut top = Top::new(capacity, 7);
        let mut exact: HashMap<Vec<u8>, u64> = HashMap::new();
        for (now, key) in keys.iter().enumerate() {
            top.denied(key, now as u64);
            *exact.entry(key.clone()).or_default() += 1;
        }
        let most = keys.len() as u64 / capacity as u64;
        let entries: Vec<_> = top.entries().collect();
        prop_assert_eq!(entries.len(), capacity.min(exact.len()));
        prop_assert!(entries.is_sorted_by(|a, b| a.denials >= b.denials));
        prop_assert_eq!(entries.iter().map(|e| e.denials).sum::<u64>(), keys.len() as u64);
        for entry in &entries {
            prop_assert!(entry.error <= most);
            let counts = exact.iter().filter(|(key, _)| shown(key) == entry.key);
            let fits = |count: u64| (entry.denials - entry.error..=entry.denials).contains(&count);
            prop_assert!(counts.clone().any(|(_, &count)| fits(count)));
            let last = keys.iter().rposition(|key| shown(key) == entry.key);
            prop_assert!(entry.last <= last.unwrap_or(0) as u64);
        }
        for (key, &count) in &exact {
            let kept = entries.iter().any(|entry| entry.key == shown(key));
            prop_assert!(kept || count <= most, "{key:?} was denied {count} times");
        }
    }
}

#[test]
fn sketch_capacity_is_bounded() {
    let mut off = Top::new(0, 7);
    off.denied(b"k", 1);
    assert_eq!(off.entries().count(), 0);
    assert_eq!(Top::new(usize::MAX, 7).capacity(), MAX_KEYS);
}

#[test]
fn sketch_lists_the_heaviest_of_a_thousand_first() {
    let mut top = Top::new(128, 7);
    for round in 0..1_000u64 {
        top.denied(b"heavy", round);
        top.denied(b"heavier", round);
        top.denied(b"heavier", round);
        top.denied(format!("light:{round}").as_bytes(), round);
    }
    let first: Vec<_> = top.entries().take(2).map(|e| e.key.as_slice()).collect();
    assert_eq!(first, [b"heavier".as_slice(), b"heavy"]);
}

/// Returns the denials of each key.
fn counts(top: &Top) -> Vec<u64> {
    top.entries().map(|entry| entry.denials).collect()
}

#[test]
fn similar_keys_are_counted_separately() {
    for n in 0..100_u64 {
        // The first 256 bytes are all that is kept of a key.
        let long =
            |last: u64| [vec![b'x'; 300], n.to_le_bytes().to_vec(), vec![last as u8]].concat();
        // Whatever the first word is, the second one brings the hash to zero.
        let colliding = |first: u64| {
            let second = mix(mix(7, 24), first);
            [first, second, n].map(u64::to_le_bytes).concat()
        };
        for [one, other] in [[1, 2].map(long), [1, 2].map(colliding)] {
            let mut top = Top::new(2, 7);
            for key in [&one, &other, &one, &one, &other] {
                top.denied(key, n);
            }
            assert_eq!(counts(&top), [3, 2]);
        }
    }
}

#[test]
fn cleared_sketch_counts_from_zero() {
    let mut top = Top::new(2, 7);
    for key in [b"a", b"b", b"c", b"c"] {
        top.denied(key, 1);
    }
    top.clear();
    assert_eq!(counts(&top), []);
    for key in [b"d", b"a", b"a", b"d", b"d"] {
        top.denied(key, 2);
    }
    assert_eq!(counts(&top), [3, 2]);
    top.denied(b"e", 3);
    assert_eq!(counts(&top), [3, 3]);
}

#[test]
fn cleared_sketch_still_evicts_the_fewest_denials() {
    let deny =
        |top: &mut Top, key: &[u8], times: u64| (0..times).for_each(|now| top.denied(key, now));
    let mut top = Top::new(3, 7);
    for key in [b"a", b"b", b"c"] {
        deny(&mut top, key, 5);
    }
    // Now it is known which have the fewest.
    deny(&mut top, b"d", 1);
    top.clear();
    for (key, times) in [(b"x", 1), (b"y", 5), (b"z", 9), (b"w", 1)] {
        deny(&mut top, key, times);
    }
    assert_eq!(counts(&top), [9, 5, 2]);
}
