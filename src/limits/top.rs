//! The keys denied most: a Space-Saving sketch (Metwally, Agrawal and El Abbadi, "Efficient
//! computation of frequent and top-k elements in data streams", 2005).
//!
//! It keeps a fixed number of keys. A key that is not among them takes the place of the one with
//! the fewest denials and starts from that one's count, which bounds by how much it is counted too
//! high. So no key with more than N / entries of N denials is missed.

use crate::hash::hash;

/// The most keys that can be kept.
pub const MAX_KEYS: usize = 4096;
/// Of a longer key, so many bytes are kept to show; all of it counts for telling keys apart.
const SHOWN: usize = 256;

/// An index that is none.
const NONE: u16 = u16::MAX;
const _: () = assert!(MAX_KEYS < NONE as usize, "every entry needs an index");

/// The sketch: entries in the order of their counts, in runs of equal count.
///
/// A denial moves its entry to the head of its run and from there into the next, which takes the
/// same few steps however many entries there are.
pub struct Top {
    capacity: usize,
    entries: Vec<Entry>,
    /// Entries, most denials first.
    order: Vec<u16>,
    runs: Vec<Run>,
    free_runs: Vec<u16>,
    /// First entry of each chain of those whose hashes end alike.
    chains: Vec<u16>,
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
    place: u16,
    run: u16,
    next: u16,
}

/// Neighbours in the order that have the same count.
#[derive(Clone, Copy)]
struct Run {
    first: u16,
    len: u16,
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
            order: Vec::with_capacity(capacity),
            runs: Vec::with_capacity(capacity),
            free_runs: Vec::with_capacity(capacity),
            chains: vec![NONE; capacity.next_power_of_two()],
            seed,
        }
    }

    /// One that keeps so many keys, and of those kept here the ones denied most that fit.
    pub fn resized(&self, capacity: usize) -> Self {
        let mut top = Self::new(capacity, self.seed);
        for entry in self.entries().take(top.capacity) {
            // `None` would mean an index that leads nowhere.
            let appended = top.append(entry);
            debug_assert!(appended.is_some(), "an index is wrong");
        }
        top
    }

    /// Adds an entry with no more denials than the last one has.
    fn append(&mut self, entry: &Entry) -> Option<()> {
        let id = u16::try_from(self.entries.len()).ok()?;
        let last = self.order.last().copied();
        let last = last.and_then(|id| self.entries.get(usize::from(id)));
        let run = match last.filter(|last| last.denials == entry.denials) {
            Some(last) => {
                let run = last.run;
                let joined = self.runs.get_mut(usize::from(run))?;
                joined.len = joined.len.saturating_add(1);
                run
            }
            None => self.new_run(id)?,
        };
        let at = chain(&self.chains, entry.hash);
        let next = std::mem::replace(self.chains.get_mut(at)?, id);
        self.order.push(id);
        self.entries.push(Entry {
            key: entry.key.clone(),
            place: id,
            run,
            next,
            ..*entry
        });
        Some(())
    }

    /// How many keys it keeps.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets what was counted.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
        self.runs.clear();
        self.free_runs.clear();
        self.chains.fill(NONE);
    }

    /// The keys that it has, most denials first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.order
            .iter()
            .filter_map(|&id| self.entries.get(usize::from(id)))
    }

    /// Counts a denial of `key` at `now`, in nanoseconds since 1970.
    pub fn denied(&mut self, key: &[u8], now: u64) {
        if self.capacity > 0 {
            let counted = self.count(key, now);
            debug_assert!(counted.is_some(), "an index is wrong");
        }
    }

    /// `None` would mean an index that leads nowhere, so the `?`s here and below are never taken.
    fn count(&mut self, key: &[u8], now: u64) -> Option<()> {
        let hash = hash(self.seed, key);
        let id = match self.find(key, hash) {
            Some(id) => id,
            None => {
                let id = self.vacate()?;
                let entry = self.entries.get_mut(usize::from(id))?;
                entry.key.clear();
                entry.key.extend_from_slice(shown(key));
                (entry.hash, entry.len) = (hash, key.len());
                let at = chain(&self.chains, hash);
                entry.next = std::mem::replace(self.chains.get_mut(at)?, id);
                id
            }
        };
        self.entries.get_mut(usize::from(id))?.last = now;
        self.promote(id)
    }

    fn find(&self, key: &[u8], hash: u64) -> Option<u16> {
        let mut id = *self.chains.get(chain(&self.chains, hash))?;
        // Ends at NONE, which is beyond every entry.
        while let Some(entry) = self.entries.get(usize::from(id)) {
            if entry.hash == hash && entry.len == key.len() && entry.key == shown(key) {
                return Some(id);
            }
            id = entry.next;
        }
        None
    }

    /// An entry for a new key, at the end of the order and in no chain: one more, or the one with
    /// the fewest denials, which the new key inherits.
    fn vacate(&mut self) -> Option<u16> {
        if self.entries.len() < self.capacity {
            let id = u16::try_from(self.entries.len()).ok()?;
            let run = self.new_run(id)?;
            self.entries.push(Entry {
                place: id,
                run,
                ..Entry::NONE
            });
            self.order.push(id);
            return Some(id);
        }
        let id = *self.order.last()?;
        let entry = self.entries.get_mut(usize::from(id))?;
        entry.error = entry.denials;
        let (hash, next) = (entry.hash, entry.next);
        let at = chain(&self.chains, hash);
        let first = self.chains.get_mut(at)?;
        if *first == id {
            *first = next;
            return Some(id);
        }
        let mut before = *first;
        loop {
            let entry = self.entries.get_mut(usize::from(before))?;
            if entry.next == id {
                entry.next = next;
                return Some(id);
            }
            before = entry.next;
        }
    }

    /// Counts one more denial of an entry, and keeps the order.
    fn promote(&mut self, id: u16) -> Option<()> {
        let entry = self.entries.get_mut(usize::from(id))?;
        entry.denials = entry.denials.saturating_add(1);
        let (denials, place, run) = (entry.denials, entry.place, entry.run);

        let left = self.runs.get_mut(usize::from(run))?;
        let head = left.first;
        left.first = left.first.saturating_add(1);
        left.len = left.len.saturating_sub(1);
        let emptied = left.len == 0;

        let displaced = std::mem::replace(self.order.get_mut(usize::from(head))?, id);
        *self.order.get_mut(usize::from(place))? = displaced;
        self.entries.get_mut(usize::from(displaced))?.place = place;

        let above = usize::from(head).checked_sub(1);
        let above = above.and_then(|place| self.order.get(place));
        let above = above.and_then(|&id| self.entries.get(usize::from(id)));
        let joined = match above.filter(|above| above.denials == denials) {
            Some(above) => {
                let joined = above.run;
                let run = self.runs.get_mut(usize::from(joined))?;
                run.len = run.len.saturating_add(1);
                joined
            }
            None => self.new_run(head)?,
        };
        if emptied {
            self.free_runs.push(run);
        }
        let entry = self.entries.get_mut(usize::from(id))?;
        (entry.place, entry.run) = (head, joined);
        Some(())
    }

    /// A run of one, at that place of the order.
    fn new_run(&mut self, first: u16) -> Option<u16> {
        let run = Run { first, len: 1 };
        if let Some(free) = self.free_runs.pop() {
            *self.runs.get_mut(usize::from(free))? = run;
            return Some(free);
        }
        let new = u16::try_from(self.runs.len()).ok();
        self.runs.push(run);
        new
    }
}

impl Entry {
    const NONE: Self = Self {
        key: Vec::new(),
        denials: 0,
        error: 0,
        last: 0,
        hash: 0,
        len: 0,
        place: 0,
        run: 0,
        next: NONE,
    };
}

fn shown(key: &[u8]) -> &[u8] {
    key.get(..SHOWN).unwrap_or(key)
}

/// Which chain a hash belongs to; there are a power of two.
fn chain(chains: &[u16], hash: u64) -> usize {
    hash as usize & chains.len().wrapping_sub(1)
}
