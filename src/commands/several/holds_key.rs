//! A holds key: the hash that stores a record under the id of each hold.
//!
//! A call reads its own record, decides, and writes. In between the key is closed, since a call on
//! several keys has one open at a time.

use std::collections::BTreeSet;

use crate::commands::error::Error;
use crate::commands::hold_error::Fault;
use redis_rl_limits::bounds::{saturating_i64, NANOS_PER_MILLI};
use redis_rl_limits::kinds::hold::{self, free_places, Found, Limited, Marker, Record, Walk};

use crate::server::{Argument, Call, Feature, Hash, KeyName, Name, Refusal};
use crate::stats::HOLDS;

/// The field by which a hash is known to be ours, as the server keeps it.
pub static MARKER: Name = Name::new(hold::MARKER);

/// Whether the server has the commands that replicate the records.
pub static AVAILABLE: Feature = Feature::new(c"the HOLD of RL.ALL");

/// The state of a holds key, as read by a call.
pub struct HoldsKey<'a> {
    /// The key.
    pub name: KeyName<'a>,
    id: &'a Argument<'a>,
    /// The time of the call, in Unix milliseconds.
    pub now_ms: i64,
    marker: Marker,
    /// Number of records, the call's own included.
    pub records: u64,
    /// The record of the id as it is stored, forgotten or not.
    stored: Option<Vec<u8>>,
    /// The greatest time at which a record is forgotten, if a walk found it out.
    last: Option<i64>,
}

impl<'a> HoldsKey<'a> {
    /// Reads the record of an id.
    ///
    /// # Errors
    /// The key holds something else.
    pub fn read(
        call: &mut Call<'a>,
        name: KeyName<'a>,
        id: &'a Argument<'a>,
    ) -> Result<Self, Error<'a>> {
        let now_ms = millis(call);
        let hash = call
            .open_hash(name.argument)
            .map_err(|refusal| refused(refusal, name.bytes))?;
        let fields = hash.len() as u64;
        let (marker, stored) = hash.get_both([&hash.name(&MARKER), id], |[marker, stored]| {
            (marker.and_then(Marker::parse), stored.map(<[u8]>::to_vec))
        });
        if marker.is_none() && fields > 0 {
            return Err(Fault::ForeignHash(name.bytes).into());
        }
        Ok(Self {
            name,
            id,
            now_ms,
            marker: marker.unwrap_or(Marker::new(now_ms)),
            // Without the marker.
            records: fields.saturating_sub(1),
            stored,
            last: None,
        })
    }

    /// Returns the record of the id; `None` if the id is unknown.
    ///
    /// # Errors
    /// The record does not parse.
    pub fn record(&self) -> Result<Option<Record<'_>>, Error<'a>> {
        let Some(stored) = &self.stored else {
            return Ok(None);
        };
        let record = Record::parse(stored).ok_or(Fault::Damaged(self.id.bytes()))?;
        Ok((!record.is_forgotten(self.now_ms)).then_some(record))
    }

    /// Returns whether there is a place for the record of the id.
    pub fn has_place(&self) -> bool {
        self.stored.is_some() || free_places(self.records) > 0
    }

    /// Returns the number of records once the id has one.
    pub fn records_with_own(&self) -> u64 {
        self.records
            .saturating_add(u64::from(self.stored.is_none()))
    }

    /// Milliseconds until the next walk is allowed.
    pub fn wait_for_walk(&self) -> i64 {
        self.marker.wait_for_walk(self.now_ms, self.records)
    }

    /// Walks the records if a walk is due, or has to make room for a new id. Changes nothing yet.
    ///
    /// # Errors
    /// The key holds something else now.
    pub fn walk(
        &self,
        call: &mut Call<'a>,
        is_new: bool,
        limits: impl Iterator<Item = Limited<'a>>,
    ) -> Result<Option<Walk<'a>>, Error<'a>> {
        let makes_room = is_new && !self.has_place();
        let mut walk = if makes_room {
            let remembered = self.records.saturating_sub(self.marker.open);
            if remembered == 0 && self.wait_for_walk() > 0 {
                return Ok(None);
            }
            Walk::making_room(self.now_ms, self.id.bytes(), limits.collect())
        } else if self.marker.should_walk(self.now_ms, self.records) {
            Walk::new(self.now_ms, self.id.bytes(), limits.collect())
        } else {
            return Ok(None);
        };
        let hash = self.open(call)?;
        hash.each(|id, record| {
            if id != hold::MARKER {
                walk.see(id, record);
            }
        });
        HOLDS.walks.add(1);
        Ok(Some(walk))
    }

    /// Writes what a walk found: refunded and deleted records.
    ///
    /// # Errors
    /// The key holds something else now.
    pub fn apply(
        &mut self,
        call: &mut Call<'a>,
        mut walk: Walk<'_>,
        refunds: Vec<(Found, Vec<u8>)>,
    ) -> Result<(), Error<'a>> {
        let dropped = walk.drops();
        HOLDS.returned.add(refunds.len() as u64);
        HOLDS.dropped.add(dropped.len() as u64);

        self.records = walk.open.saturating_add(walk.kept);
        let mut last = walk.last;
        self.marker = Marker {
            walked_at: self.now_ms,
            due: walk.due,
            open: walk.open,
        };
        if let Some(stored) = &self.stored {
            self.records = self.records.saturating_add(1);
            last = last.max(note(&mut self.marker, stored).unwrap_or(last));
        }
        self.last = Some(last);

        let mut hash = self.open(call)?;
        if self.records == 0 {
            hash.clear();
            return Ok(());
        }
        let mut deleted = BTreeSet::new();
        deleted.extend(walk.forgotten.iter().chain(&dropped));
        for id in &deleted {
            hash.remove(id);
        }
        for (found, record) in refunds {
            if !deleted.contains(&found.id) {
                hash.set_found(&found.id, &record);
            }
        }
        hash.set(&hash.name(&MARKER), &self.marker.to_bytes());
        // A record that does not parse may be anything; the key is then left to its expiry.
        if last > self.now_ms && hash.expires_at() != Some(last) {
            hash.expire_at(last);
        }
        Ok(())
    }

    /// Writes the record of the id, open or not.
    ///
    /// # Errors
    /// The key holds something else now.
    pub fn write(mut self, call: &mut Call<'a>, record: &[u8]) -> Result<(), Error<'a>> {
        if self.stored.as_deref() == Some(record) {
            return Ok(());
        }
        let is_open = |record: &[u8]| matches!(Record::parse(record), Some(Record::Open(_)));
        let was_open = self.stored.as_deref().is_some_and(is_open);
        self.marker.open = self.marker.open.saturating_sub(u64::from(was_open));
        let Some(forget_at) = note(&mut self.marker, record) else {
            return Ok(());
        };

        let (marker, id, last) = (self.marker, self.id, self.last);
        let mut hash = self.open(call)?;
        let is_new = hash.len() == 0;
        hash.set_both([(&hash.name(&MARKER), &marker.to_bytes()), (id, record)]);
        let expires_at = hash.expires_at();
        let expiry = match (last, expires_at) {
            // Everything else was settled or closed earlier, and is forgotten earlier.
            _ if is_new || marker.open == 0 => Some(forget_at),
            (Some(last), _) => Some(last.max(forget_at)),
            (None, Some(at)) => Some(at.max(forget_at)),
            // Made persistent by hand, until the next walk.
            (None, None) => None,
        };
        if let Some(at) = expiry.filter(|_| expiry != expires_at) {
            hash.expire_at(at);
        }
        Ok(())
    }

    fn open<'k>(&self, call: &'k mut Call<'a>) -> Result<Hash<'k>, Error<'a>>
    where
        'a: 'k,
    {
        let name = self.name;
        call.open_hash(name.argument)
            .map_err(|refusal| refused(refusal, name.bytes))
    }
}

/// Counts a record in the marker. Returns the time from which the id is unknown; `None` if the record
/// does not parse.
fn note(marker: &mut Marker, record: &[u8]) -> Option<i64> {
    let (due, forget_at, open) = match Record::parse(record)? {
        Record::Open(open) => (open.due(), open.forget_at, 1),
        other => (other.forget_at(), other.forget_at(), 0),
    };
    marker.note_due(due);
    marker.open = marker.open.saturating_add(open);
    Some(forget_at)
}

/// Checks that a hash is ours. Returns its marker, `None` if there is no key.
///
/// # Errors
/// It is another hash.
pub fn read_marker<'a>(hash: &Hash<'_>, name: &'a [u8]) -> Result<Option<Marker>, Error<'a>> {
    if hash.len() == 0 {
        return Ok(None);
    }
    let marker = hash.get(&hash.name(&MARKER), Marker::parse).flatten();
    marker.map(Some).ok_or(Fault::ForeignHash(name).into())
}

/// Returns the time of a call in Unix milliseconds.
pub fn millis(call: &Call<'_>) -> i64 {
    saturating_i64(call.now() / NANOS_PER_MILLI)
}

/// Converts a refusal to the error of a command on holds.
#[cold]
pub fn refused(refusal: Refusal, key: &[u8]) -> Error<'_> {
    match refusal {
        Refusal::WrongType | Refusal::OtherLength => Error::WrongType(key),
        Refusal::OutOfMemory => Fault::NoMemory(key).into(),
        Refusal::ReadFailed => Error::ReadFailed(key),
        Refusal::WriteFailed => Error::WriteFailed(key),
    }
}
