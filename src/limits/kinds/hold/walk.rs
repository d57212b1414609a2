//! A walk over all records of a holds key: which overdue holds are refunded, and which records are
//! deleted. It reads records in any order and keeps a bounded number of them.

use std::collections::BinaryHeap;

use super::record::{Kind, Limited, Open, Record};
use crate::bounds::{MAX_HOLDS, MAX_WALKED};

/// A record with its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// The sort key of the records: the deadline, or the time at which the id is forgotten.
    at_ms: i64,
    /// The id.
    pub id: Vec<u8>,
    /// The stored form.
    pub record: Vec<u8>,
}

/// The walk.
#[derive(Debug)]
pub struct Walk<'a> {
    now_ms: i64,
    /// The id of the call, whose record is left alone.
    own: &'a [u8],
    /// The limits of the call.
    limits: Vec<Limited<'a>>,
    /// Ids that were forgotten.
    pub forgotten: Vec<Vec<u8>>,
    overdue: Earliest,
    /// Records that may be dropped, if the walk has to make room.
    droppable: Option<Droppable>,
    /// Records that are neither settled nor closed.
    pub open: u64,
    /// Records that are settled or closed.
    pub kept: u64,
    /// The time from which something may be due after the walk, in Unix milliseconds.
    pub due: i64,
    /// The greatest time at which a record is forgotten, in Unix milliseconds.
    pub last: i64,
}

impl<'a> Walk<'a> {
    /// Creates a walk at `now_ms` by a call that names `limits` and the id `own`.
    pub fn new(now_ms: i64, own: &'a [u8], limits: Vec<Limited<'a>>) -> Self {
        Self {
            now_ms,
            own,
            limits,
            forgotten: Vec::new(),
            overdue: Earliest::default(),
            droppable: None,
            open: 0,
            kept: 0,
            due: i64::MAX,
            last: i64::MIN,
        }
    }

    /// Creates a walk for a new id in a full table: it also collects records to drop.
    pub fn making_room(now_ms: i64, own: &'a [u8], limits: Vec<Limited<'a>>) -> Self {
        Self {
            droppable: Some(Droppable::default()),
            ..Self::new(now_ms, own, limits)
        }
    }

    /// Reads one record.
    pub fn see(&mut self, id: &[u8], bytes: &[u8]) {
        if id == self.own {
            return;
        }
        let Some(record) = Record::parse(bytes) else {
            // Not ours to touch. Counted among those that only a client's command removes.
            self.open = self.open.saturating_add(1);
            return;
        };
        if record.is_forgotten(self.now_ms) {
            self.forgotten.push(id.to_vec());
            return;
        }
        match record {
            Record::Open(open) => self.see_open(id, bytes, &open),
            Record::Settled(at) | Record::Closed(at) => {
                self.kept = self.kept.saturating_add(1);
                self.note(at, at);
                if let Some(droppable) = &mut self.droppable {
                    droppable.remembered.push(at, id, bytes);
                }
            }
        }
    }

    fn see_open(&mut self, id: &[u8], bytes: &[u8], open: &Open<'_>) {
        self.open = self.open.saturating_add(1);
        let is_overdue = open.is_overdue(self.now_ms);
        if let Some(droppable) = self.droppable.as_mut().filter(|_| is_overdue) {
            droppable.overdue.push(open.deadline, id, bytes);
        }
        let is_held = |limit: &Limited<'_>| {
            let charge = open.charge_to(*limit);
            charge.is_some_and(|charge| charge.held() > 0)
        };
        if is_overdue && open.else_free && self.limits.iter().any(is_held) {
            // A hold beyond this walk's bound is still due.
            if let Some(left_out) = self.overdue.push(open.deadline, id, bytes) {
                self.note_stored(&left_out.record);
            }
        } else {
            self.note(open.due(), open.forget_at);
        }
    }

    fn note(&mut self, due: i64, forget_at: i64) {
        self.due = self.due.min(due);
        self.last = self.last.max(forget_at);
    }

    fn note_stored(&mut self, record: &[u8]) {
        if let Some(Record::Open(open)) = Record::parse(record) {
            self.note(open.due(), open.forget_at);
        }
    }

    /// Returns the overdue holds to refund, oldest deadline first, each with the record to store
    /// afterwards.
    pub fn refunds(&mut self) -> Vec<(Found, Vec<u8>)> {
        let overdue = std::mem::take(&mut self.overdue);
        let mut refunds = Vec::new();
        for found in overdue.heap.into_sorted_vec() {
            let Some(Record::Open(open)) = Record::parse(&found.record) else {
                continue;
            };
            let is_named = |limit: &Limited<'_>| self.limits.contains(limit);
            let after = open.refunded(self.now_ms, is_named);
            self.note_stored(&after);
            refunds.push((found, after));
        }
        refunds
    }

    /// Returns the ids of the records to drop if the table is still full without the forgotten
    /// ones: the settled and closed ones nearest to their end, or else the overdue holds with the
    /// oldest deadlines.
    pub fn drops(&mut self) -> Vec<Vec<u8>> {
        let droppable = self.droppable.take().unwrap_or_default();
        let is_full = self.open.saturating_add(self.kept) >= MAX_HOLDS;
        if !is_full {
            return Vec::new();
        }
        let (dropped, count) = match self.kept {
            0 => (droppable.overdue, &mut self.open),
            _ => (droppable.remembered, &mut self.kept),
        };
        let sorted = dropped.heap.into_sorted_vec();
        *count = count.saturating_sub(sorted.len() as u64);
        sorted.into_iter().map(|found| found.id).collect()
    }
}

/// The records that a walk may drop to make room.
#[derive(Debug, Default)]
struct Droppable {
    remembered: Earliest,
    overdue: Earliest,
}

/// At most [`MAX_WALKED`] records with the lowest times.
#[derive(Debug, Default)]
struct Earliest {
    heap: BinaryHeap<Found>,
}

impl Earliest {
    /// Adds a record. Returns the one that has no place, if one has none.
    fn push(&mut self, at_ms: i64, id: &[u8], record: &[u8]) -> Option<Found> {
        let found = Found {
            at_ms,
            id: id.to_vec(),
            record: record.to_vec(),
        };
        if self.heap.len() < MAX_WALKED {
            self.heap.push(found);
            return None;
        }
        let mut latest = self.heap.peek_mut()?;
        Some(match at_ms < latest.at_ms {
            true => std::mem::replace(&mut *latest, found),
            false => found,
        })
    }
}

impl Limited<'_> {
    /// Returns the name of a bucket's key.
    pub fn bucket(name: &[u8]) -> Limited<'_> {
        let kind = Kind::Bucket;
        Limited { kind, name }
    }

    /// Returns the name of a window's key.
    pub fn window(name: &[u8]) -> Limited<'_> {
        let kind = Kind::Window;
        Limited { kind, name }
    }
}
