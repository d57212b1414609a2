//! Hashes of keys.

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Multiplies and folds.
#[inline(always)]
pub fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word).wrapping_mul(ODD.into());
    (product >> 64) as u64 ^ product as u64
}

/// Returns a seeded hash of the whole key, eight bytes at a time. Anyone who knows the seed can
/// construct colliding keys, so it must be unpredictable to whoever chooses the keys.
pub fn hash(seed: u64, key: &[u8]) -> u64 {
    let mut hash = mix(seed, key.len() as u64);
    let mut rest = key;
    while let Some((word, behind)) = rest.split_first_chunk() {
        hash = mix(hash, u64::from_le_bytes(*word));
        rest = behind;
    }
    match key.last_chunk() {
        // The last eight bytes: the rest, and some bytes that were mixed in already.
        Some(word) => mix(hash, u64::from_le_bytes(*word)),
        None => rest.iter().fold(hash, |hash, &byte| mix(hash, byte.into())),
    }
}

/// Combines both ends of a key and its length, in which most keys differ, in a few instructions.
#[inline(always)]
pub fn mark(key: &[u8]) -> u64 {
    match (key.first_chunk(), key.last_chunk()) {
        (Some(first), Some(last)) => {
            let first = u64::from_le_bytes(*first).rotate_left(7);
            first ^ u64::from_le_bytes(*last) ^ (key.len() as u64).rotate_left(48)
        }
        _ => hash(0, key),
    }
}
