//! Keys: that none is given twice.

use std::collections::HashSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

use redis_rl_limits::keys::distinct::repeated;
use redis_rl_limits::keys::hash::{hash, mark, mix};

/// Tests, for every number of keys, the key at each position against each other one.
#[test]
fn repeated_key_is_found_at_any_position() {
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
                repeated(7, bytes).map(|key| String::from_utf8_lossy(key).into_owned())
            };
            assert_eq!(check(&keys), None);
            for second in 1..count {
                for first in [0, second / 2, second - 1] {
                    let mut twice = keys.clone();
                    twice[second] = twice[first].clone();
                    assert_eq!(check(&twice), Some(twice[first].clone()));
                }
            }
        }
    }
}

/// Anyone who knows the seed can construct keys with equal hashes.
#[test]
fn keys_with_equal_hashes_are_distinct() {
    let seed = 7;
    // Whatever the first word is, the second one brings the hash to zero.
    let keys: Vec<Vec<u8>> = (0..20_u64)
        .map(|first| {
            let second = mix(mix(seed, 24), first);
            [first, second, 99].map(u64::to_le_bytes).concat()
        })
        .collect();
    let hashes: HashSet<_> = keys.iter().map(|key| hash(seed, key)).collect();
    assert_eq!(hashes.len(), 1);
    assert_eq!(repeated(seed, keys.iter().map(Vec::as_slice)), None);
}

/// Each bit of a hash is set as often as not, and changes with about half of the key's bits.
#[test]
fn hash_depends_on_every_bit_of_the_key() {
    for length in [1, 7, 8, 9, 16, 40] {
        let (mut ones, mut turned) = ([0; 64], [0; 64]);
        let mut pairs = 0;
        let count = |bits: u64, counts: &mut [u32; 64]| {
            for (at, count) in counts.iter_mut().enumerate() {
                *count += (bits >> at & 1) as u32;
            }
        };
        for n in 0..200_u64 {
            let key: Vec<u8> = (0..length).map(|at| (mix(n, at) >> 9) as u8).collect();
            for bit in 0..8 * key.len() {
                let mut other = key.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                let hashes = [hash(n, &key), hash(n, &other)];
                count(hashes[1], &mut ones);
                count(hashes[0] ^ hashes[1], &mut turned);
                pairs += 1;
            }
        }
        let share = |counts: [u32; 64]| counts.map(|count| f64::from(count) / f64::from(pairs));
        let (ones, turned) = (share(ones), share(turned));
        assert!(ones.iter().all(|one| (0.4..0.6).contains(one)), "{ones:?}");
        assert!(
            turned.iter().all(|turn| (0.2..0.8).contains(turn)),
            "{turned:?}"
        );
    }
}

/// Keys that differ at one of their ends, or in length, have marks that differ.
#[test]
fn mark_depends_on_both_ends_and_the_length() {
    let ends = (0..1_000).map(|n| format!("user:{n:03}:a limit of many:{n:03}:{}", n * n));
    let lengths = (16..1_000).map(|length| "x".repeat(length));
    let marks: HashSet<_> = ends
        .chain(lengths)
        .map(|key| mark(key.as_bytes()))
        .collect();
    assert_eq!(marks.len(), 1_000 + 984);
}

/// Comparing all pairs of 128 keys that differ only in their last bytes takes some thirty times as long
/// as hashing each. The bound lies far from both, and the least time of several turns counts, so a
/// busy machine does not matter.
#[test]
fn keys_alike_at_the_beginning_are_not_compared_in_pairs() {
    let same = "x".repeat(100_000);
    let keys = |key: &dyn Fn(usize) -> String| -> Vec<Vec<u8>> {
        (0..128).map(|n| key(n).into_bytes()).collect()
    };
    let alike = keys(&|n| format!("{same}{n:03}"));
    let different = keys(&|n| format!("{n:03}{same}"));
    let time = |keys: &[Vec<u8>]| {
        let start = Instant::now();
        let found = repeated(7, black_box(keys).iter().map(Vec::as_slice));
        assert_eq!(black_box(found), None);
        start.elapsed()
    };
    let (mut least_alike, mut least_different) = (Duration::MAX, Duration::MAX);
    for _ in 0..20 {
        least_alike = least_alike.min(time(&alike));
        least_different = least_different.min(time(&different));
    }
    assert!(
        least_alike < 6 * least_different,
        "{least_alike:?}, {least_different:?}"
    );
}
