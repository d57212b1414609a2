//! The field that identifies a holds key, and from which a call decides whether to walk the records.

use crate::bounds::{HOLDS_MARKER, MAX_HOLDS, WALK_INTERVAL_MS};
use crate::kinds::tagged::{read_words, write_words, HOLDS_TAG};

/// Name of the field.
pub const MARKER: &[u8] = HOLDS_MARKER;

/// The content of the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The time of the last walk, in Unix milliseconds.
    pub walked_at: i64,
    /// The time from which a walk may have something to do, in Unix milliseconds.
    pub due: i64,
    /// Records that are neither settled nor closed. May be too high after an edit by hand; the
    /// next walk corrects it.
    pub open: u64,
}

impl Marker {
    /// Creates the marker of a key that is created at `now_ms`.
    pub fn new(now_ms: i64) -> Self {
        Self {
            walked_at: now_ms,
            due: i64::MAX,
            open: 0,
        }
    }

    /// Parses the stored form; `None` if the bytes are anything else.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [walked_at, due, open] = read_words(HOLDS_TAG, bytes)?;
        Some(Self {
            walked_at: walked_at.cast_signed(),
            due: due.cast_signed(),
            open,
        })
    }

    /// Returns the stored form: the tag and three words, little-endian.
    pub fn to_bytes(self) -> [u8; 25] {
        let (walked_at, due) = (self.walked_at.cast_unsigned(), self.due.cast_unsigned());
        write_words(HOLDS_TAG, [walked_at, due, self.open])
    }

    /// Milliseconds from `now_ms` until `records` records may be walked, 0 if they may be now.
    ///
    /// A walk of `n` records is allowed once in `n` milliseconds, so that walks take at most a
    /// fixed share of the server's time.
    pub fn wait_for_walk(&self, now_ms: i64, records: u64) -> i64 {
        let interval = i64::try_from(records).unwrap_or(i64::MAX);
        let next = self
            .walked_at
            .saturating_add(interval.max(WALK_INTERVAL_MS));
        // Also if the clock has stepped back behind the last walk.
        match now_ms < self.walked_at {
            true => 0,
            false => next.saturating_sub(now_ms).max(0),
        }
    }

    /// Returns whether a call at `now_ms` should walk `records` records: something may be due, and
    /// a walk is allowed.
    pub fn should_walk(&self, now_ms: i64, records: u64) -> bool {
        now_ms >= self.due && self.wait_for_walk(now_ms, records) == 0
    }

    /// Adds a record that a walk may have something to do for from `due` on.
    pub fn note_due(&mut self, due: i64) {
        self.due = self.due.min(due);
    }
}

/// Places left for new records.
pub fn free_places(records: u64) -> u64 {
    MAX_HOLDS.saturating_sub(records)
}
