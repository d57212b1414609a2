//! The keys denied most: a Space-Saving sketch (Metwally, Agrawal and El Abbadi, "Efficient
//! computation of frequent and top-k elements in data streams", 2005).
//!
//! It keeps a fixed number of keys. A key that is not among them takes the place of the one with
//! the fewest denials and starts from that one's count, which bounds by how much it is counted too
//! high. So no key with more than N / entries of N denials is missed.

use std::collections::BinaryHeap;

use crate::hash::hash;

/// The most keys that can be kept.
pub const MAX_KEYS: usize = 4096;
/// Of a longer key, so many bytes are kept to show; all of it counts for telling keys apart.
const SHOWN: usize = 256;

/// An index that is none.
const NONE: u16 = u16::MAX;
const _: () = assert!(MAX_KEYS < NONE as usize, "every entry needs an index");

/// The sketch.
///
/// The entries are in no order: they are counted far oftener than they are shown. Which of them
/// have the fewest denials is looked for once for all that have as few, so that a new key finds its
/// place in a few steps, unless most keys are denied again and again in between.
pub struct Top {
    capacity: usize,
    entries: Vec<Entry>,
    /// First entry of each chain of those whose hashes end alike.
    chains: Vec<u16>,
    fewest: Fewest,
    seed: u64,
}

/// A key and how often it was denied.
#[derive(Debug)]
pub struct Entry {
    /// The key's first bytes: all of it, but for very long ones.
    pub key: Vec<u8>,
    /// Denials, `error` too many at most.
    pub denials: u64,
    /// See `denials`.
    pub error: u64,
    /// When the last one was, in nanoseconds since 1970.
    pub last: u64,
    hash: u64,
    len: usize,
    next: u16,
}

/// The entries with the fewest denials, when they were last looked for.
struct Fewest {
    entries: Vec<u16>,
    /// How many denials they had. One that has more by now is passed over.
    denials: u64,
    /// How many of them have been looked at since.
    seen: usize,
    /// The fewest denials that any other entry had. As counts only grow, none has fewer now.
    others: u64,
}

impl Top {
    /// One that keeps so many keys, [`MAX_KEYS`] at most; none turns it off.
    ///
    /// The `seed` is any number that who chooses the keys cannot know.
    pub fn new(capacity: usize, seed: u64) -> Self {
        let capacity = capacity.min(MAX_KEYS);
        Self {
            capacity,
            entries: Vec::with_capacity(capacity),
            // Twice as many as entries, so that most are short.
            chains: vec![NONE; capacity.saturating_mul(2).next_power_of_two()],
            fewest: Fewest::none(capacity),
            seed,
        }
    }

    /// One that keeps so many keys, and of those kept here the ones denied most that fit.
    pub fn resized(&self, capacity: usize) -> Self {
        let mut top = Self::new(capacity, self.seed);
        for entry in self.entries().take(top.capacity) {
            let copy = Entry {
                key: entry.key.clone(),
                ..*entry
            };
            // `None` would mean an index that leads nowhere.
            let pushed = top.push(copy);
            debug_assert!(pushed.is_some(), "an index is wrong");
        }
        top
    }

    /// How many keys it keeps.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets what was counted.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.chains.fill(NONE);
        self.fewest.clear();
    }

    /// The keys that it has, most denials first, and of as many the ones denied last.
    ///
    /// A heap sorts them, as it cannot panic; what slices are sorted by can, if the order is none.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        let ids = (0..).zip(&self.entries);
        let heap: BinaryHeap<_> = ids
            .map(|(id, entry)| (entry.denials, entry.last, id))
            .collect();
        let sorted = heap.into_sorted_vec().into_iter().rev();
        sorted.filter_map(|(.., id): (_, _, usize)| self.entries.get(id))
    }

    /// Counts a denial of `key` at `now`, in nanoseconds since 1970.
    #[inline(always)]
    pub fn denied(&mut self, key: &[u8], now: u64) {
        if self.capacity > 0 {
            let counted = self.count(key, now);
            debug_assert!(counted.is_some(), "an index is wrong");
        }
    }

    /// `None` would mean an index that leads nowhere, so the `?`s here and below are never taken.
    #[inline(always)]
    fn count(&mut self, key: &[u8], now: u64) -> Option<()> {
        let hash = hash(self.seed, key);
        if let Some(entry) = self.find(key, hash) {
            entry.denials = entry.denials.saturating_add(1);
            entry.last = now;
            return Some(());
        }
        if self.entries.len() < self.capacity {
            return self.push_new(key, hash, now);
        }
        let id = self.fewest.take(&self.entries)?;
        self.unlink(id)?;
        let at = chain(&self.chains, hash);
        let first = self.chains.get_mut(at)?;
        let entry = self.entries.get_mut(usize::from(id))?;
        entry.key.clear();
        entry.key.extend_from_slice(shown(key));
        entry.error = entry.denials;
        entry.denials = entry.denials.saturating_add(1);
        entry.last = now;
        (entry.hash, entry.len) = (hash, key.len());
        entry.next = std::mem::replace(first, id);
        Some(())
    }

    #[inline(always)]
    fn find(&mut self, key: &[u8], hash: u64) -> Option<&mut Entry> {
        let mut id = *self.chains.get(chain(&self.chains, hash))?;
        // Ends at NONE, which is beyond every entry.
        while let Some(entry) = self.entries.get(usize::from(id)) {
            if entry.hash == hash && entry.len == key.len() && entry.key == shown(key) {
                return self.entries.get_mut(usize::from(id));
            }
            id = entry.next;
        }
        None
    }

    /// Adds a key that was denied for the first time.
    #[cold]
    fn push_new(&mut self, key: &[u8], hash: u64, now: u64) -> Option<()> {
        self.push(Entry {
            key: shown(key).to_vec(),
            denials: 1,
            error: 0,
            last: now,
            hash,
            len: key.len(),
            next: NONE,
        })
    }

    /// Adds one more entry.
    fn push(&mut self, entry: Entry) -> Option<()> {
        let id = u16::try_from(self.entries.len()).ok()?;
        let at = chain(&self.chains, entry.hash);
        let first = self.chains.get_mut(at)?;
        let next = std::mem::replace(first, id);
        self.entries.push(Entry { next, ..entry });
        Some(())
    }

    /// Takes an entry out of its chain.
    #[inline(always)]
    fn unlink(&mut self, id: u16) -> Option<()> {
        let Entry { hash, next, .. } = *self.entries.get(usize::from(id))?;
        let at = chain(&self.chains, hash);
        let first = self.chains.get_mut(at)?;
        if *first == id {
            *first = next;
            return Some(());
        }
        let mut before = *first;
        loop {
            let entry = self.entries.get_mut(usize::from(before))?;
            if entry.next == id {
                entry.next = next;
                return Some(());
            }
            before = entry.next;
        }
    }
}

impl Fewest {
    fn none(capacity: usize) -> Self {
        Self {
            entries: Vec::with_capacity(capacity),
            denials: 0,
            seen: 0,
            others: 0,
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        (self.denials, self.seen, self.others) = (0, 0, 0);
    }

    /// An entry with the fewest denials, which is to have one more.
    #[inline(always)]
    fn take(&mut self, entries: &[Entry]) -> Option<u16> {
        loop {
            while let Some(&id) = self.entries.get(self.seen) {
                self.seen = self.seen.saturating_add(1);
                if entries.get(usize::from(id))?.denials == self.denials {
                    return Some(id);
                }
            }
            self.look(entries)?;
        }
    }

    /// Looks for them: first among those of before, which often still are the ones.
    #[cold]
    fn look(&mut self, entries: &[Entry]) -> Option<()> {
        self.seen = 0;
        let of_before = self.entries.iter().map(|&id| entries.get(usize::from(id)));
        let fewest = of_before.flatten().map(|entry| entry.denials).min();
        if let Some(denials) = fewest.filter(|&denials| denials <= self.others) {
            self.denials = denials;
            return Some(());
        }
        self.denials = entries.iter().map(|entry| entry.denials).min()?;
        self.others = u64::MAX;
        self.entries.clear();
        for (id, entry) in (0..).zip(entries) {
            if entry.denials == self.denials {
                self.entries.push(id);
            } else {
                self.others = self.others.min(entry.denials);
            }
        }
        Some(())
    }
}

fn shown(key: &[u8]) -> &[u8] {
    key.get(..SHOWN).unwrap_or(key)
}

/// Which chain a hash belongs to; there are a power of two.
fn chain(chains: &[u16], hash: u64) -> usize {
    hash as usize & chains.len().wrapping_sub(1)
}
