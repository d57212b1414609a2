//! Finds a key that a call names twice.

use crate::bounds::MAX_LIMITS;
use crate::keys::hash::{hash, mark};

/// Up to this number keys are compared in pairs, by their marks first, which is the cheapest way
/// for few keys.
const FEW: usize = 8;

/// Twice the maximum number of keys, so that a free slot is near.
const SLOTS: usize = 2 * MAX_LIMITS as usize;

/// The table is small enough for the stack.
const _: () = assert!(size_of::<Distinct<'_>>() <= 64 * 1024);

/// Returns a key of a call, of at most [`MAX_LIMITS`], that is given twice. The `seed` must be
/// unpredictable to whoever chooses the keys.
#[inline(always)]
pub fn repeated<'a>(
    seed: u64,
    keys: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
) -> Option<&'a [u8]> {
    if keys.len() > FEW {
        let mut seen = Distinct::new(seed);
        return keys.into_iter().find(|key| !seen.insert(key));
    }
    let mut marks = [0; FEW];
    for (n, key) in keys.clone().enumerate() {
        let mark = mark(key);
        let (before, rest) = marks.split_at_mut_checked(n).unwrap_or_default();
        if before.contains(&mark) && keys.clone().take(n).any(|other| other == key) {
            return Some(key);
        }
        if let Some(slot) = rest.first_mut() {
            *slot = mark;
        }
    }
    None
}

/// The keys of a call seen so far: a hash table on the stack. Its time is linear in the bytes of
/// the keys, even if they are alike.
struct Distinct<'a> {
    seed: u64,
    slots: [Option<Seen<'a>>; SLOTS],
}

#[derive(Clone, Copy)]
struct Seen<'a> {
    hash: u64,
    key: &'a [u8],
}

impl<'a> Distinct<'a> {
    /// Creates an empty table. The `seed` must be unpredictable to whoever chooses the keys.
    fn new(seed: u64) -> Self {
        Self {
            seed,
            slots: [None; SLOTS],
        }
    }

    /// Sees one more of at most [`MAX_LIMITS`] keys; `false` if it was seen before.
    fn insert(&mut self, key: &'a [u8]) -> bool {
        let hash = hash(self.seed, key);
        let first = hash as usize % SLOTS;
        let (before, from) = self.slots.split_at_mut_checked(first).unwrap_or_default();
        for slot in from.iter_mut().chain(before) {
            match slot {
                Some(seen) if seen.hash == hash && seen.key == key => {
                    return false;
                }
                Some(_) => {}
                None => {
                    *slot = Some(Seen { hash, key });
                    return true;
                }
            }
        }
        // More keys than a call can have: any of them may be a repeated one.
        false
    }
}
