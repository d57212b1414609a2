//! The top denied keys (heavy hitters): a Space-Saving sketch (Metwally, Agrawal and El Abbadi,
//! "Efficient computation of frequent and top-k elements in data streams", 2005).
//!
//! It keeps a fixed number of keys. A new key replaces the one with the fewest denials and starts
//! from that count, which bounds the error of its own. So no key with more than N / entries of N
//! denials is missed.

use std::collections::BinaryHeap;

use crate::keys::hash::hash;

/// The largest capacity.
pub const MAX_KEYS: usize = 4096;
/// Bytes kept of a longer key for display. The whole key counts for identity.
const SHOWN: usize = 256;

/// The index of no entry.
const NONE: u16 = u16::MAX;
const _: () = assert!(MAX_KEYS < NONE as usize, "every entry needs an index");

/// The sketch.
///
/// The entries are unordered, because they are counted far more often than displayed. The entries
/// with the fewest denials are searched once for all that share that count, so that a new key finds
/// its place in a few steps, unless most keys are denied again and again in between.
pub struct Top {
    capacity: usize,
    entries: Vec<Entry>,
    /// The first entry of each chain of entries whose hashes end alike.
    chains: Vec<u16>,
    fewest: Fewest,
    seed: u64,
}

/// A key and its denials.
#[derive(Debug)]
pub struct Entry {
    /// The key, cut if it is very long.
    pub key: Vec<u8>,
    /// Denials, at most `error` too many.
    pub denials: u64,
    /// The largest possible overcount of `denials`.
    pub error: u64,
    /// The time of the last denial, in nanoseconds since 1970.
    pub last: u64,
    hash: u64,
    len: usize,
    next: u16,
}

/// The entries that had the fewest denials at the last search.
struct Fewest {
    entries: Vec<u16>,
    /// Their number of denials at that time. Entries that have more by now are skipped.
    denials: u64,
    /// Number of these entries examined since.
    seen: usize,
    /// The fewest denials of any other entry. As counts only grow, none has fewer now.
    others: u64,
}

impl Top {
    /// Creates a sketch of `capacity` keys, at most [`MAX_KEYS`]; 0 turns it off.
    ///
    /// The `seed` must be unpredictable to whoever chooses the keys.
    pub fn new(capacity: usize, seed: u64) -> Self {
        let capacity = capacity.min(MAX_KEYS);
        Self {
            capacity,
            entries: Vec::with_capacity(capacity),
            // Twice the number of entries, so that most chains are short.
            chains: vec![NONE; capacity.saturating_mul(2).next_power_of_two()],
            fewest: Fewest::none(capacity),
            seed,
        }
    }

    /// Returns a sketch of `capacity` keys with the top denied keys of this one that fit.
    pub fn resized(&self, capacity: usize) -> Self {
        let mut top = Self::new(capacity, self.seed);
        for entry in self.entries().take(top.capacity) {
            let copy = Entry {
                key: entry.key.clone(),
                ..*entry
            };
            // `None` would mean an invalid index.
            let pushed = top.push(copy);
            debug_assert!(pushed.is_some(), "an index is wrong");
        }
        top
    }

    /// Returns the capacity.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the bytes of memory that it has allocated.
    pub fn bytes(&self) -> usize {
        let indexes = self
            .chains
            .capacity()
            .saturating_add(self.fewest.entries.capacity());
        let fixed = self.entries.capacity().saturating_mul(size_of::<Entry>());
        let keys = self.entries.iter().map(|entry| entry.key.capacity());
        keys.fold(fixed, usize::saturating_add)
            .saturating_add(indexes.saturating_mul(size_of::<u16>()))
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.chains.fill(NONE);
        self.fewest.clear();
    }

    /// Returns the entries, most denials first, and those with equal counts by their last denial.
    ///
    /// A heap sorts them because it cannot panic; the sort of a slice can, if the order is
    /// inconsistent.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        let ids = (0..).zip(&self.entries);
        let heap: BinaryHeap<_> = ids
            .map(|(id, entry)| (entry.denials, entry.last, id))
            .collect();
        let sorted = heap.into_sorted_vec().into_iter().rev();
        sorted.filter_map(|(.., id): (_, _, usize)| self.entries.get(id))
    }

    /// Counts a denial of `key` at `now`, in nanoseconds since 1970.
    pub fn denied(&mut self, key: &[u8], now: u64) {
        if self.capacity > 0 {
            let counted = self.count(key, now);
            debug_assert!(counted.is_some(), "an index is wrong");
        }
    }

    /// Counts a denial. `None` would mean an invalid index, so the `?`s here and below never
    /// return.
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

    fn find(&mut self, key: &[u8], hash: u64) -> Option<&mut Entry> {
        let mut id = *self.chains.get(chain(&self.chains, hash))?;
        // The chain ends at NONE, which is beyond every entry.
        while let Some(entry) = self.entries.get(usize::from(id)) {
            if entry.hash == hash && entry.len == key.len() && entry.key == shown(key) {
                return self.entries.get_mut(usize::from(id));
            }
            id = entry.next;
        }
        None
    }

    /// Adds a key on its first denial.
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

    /// Appends an entry.
    fn push(&mut self, entry: Entry) -> Option<()> {
        let id = u16::try_from(self.entries.len()).ok()?;
        let at = chain(&self.chains, entry.hash);
        let first = self.chains.get_mut(at)?;
        let next = std::mem::replace(first, id);
        self.entries.push(Entry { next, ..entry });
        Some(())
    }

    /// Removes an entry from its chain.
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

    /// Returns an entry with the fewest denials, which will get one more.
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

    /// Searches them, first among the previous ones, which often still have the fewest.
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

/// Returns the chain of a hash; the number of chains is a power of two.
fn chain(chains: &[u16], hash: u64) -> usize {
    hash as usize & chains.len().wrapping_sub(1)
}
