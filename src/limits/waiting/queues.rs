//! The queues of all keys, with the timeouts of their waiters and the times at which a key is worth
//! another check.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::queue::{Queue, Ticket, Waiter};
use crate::bounds::{MAX_SAME_TOKEN, MAX_WAITED_NAME};

/// Identifies the queue of a key. A queue that was empty is forgotten; its key's next one has
/// another identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(u64);

/// A key with waiters.
#[derive(Debug)]
pub struct Place<W> {
    /// The database.
    pub db: i32,
    /// The key's name.
    pub key: Arc<[u8]>,
    /// Its waiters.
    pub queue: Queue<W>,
    /// The time at which the next waiter could be served, as set by [`Queues::set_due`].
    due: Option<i64>,
}

/// The queues of all keys.
#[derive(Debug)]
pub struct Queues<W> {
    places: BTreeMap<QueueId, Place<W>>,
    names: BTreeMap<i32, BTreeMap<Arc<[u8]>, QueueId>>,
    tickets: BTreeMap<Ticket, QueueId>,
    timeouts: BTreeSet<(u64, Ticket)>,
    dues: BTreeSet<(i64, QueueId)>,
    /// The last queue that [`Queues::turn`] returned.
    checked: Option<QueueId>,
    last: u64,
}

/// Why a caller cannot wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The key has as many waiters as the call's QUEUE allows.
    Queue,
    /// The server has as many waiters as allowed.
    Server,
    /// Its room would be one too many.
    Rooms,
    /// [`MAX_SAME_TOKEN`] callers wait with its token.
    Token,
    /// The key's name is longer than [`MAX_WAITED_NAME`].
    Name,
}

/// The maximum numbers of waiters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// For this key, as the caller named it.
    pub queue: Option<u64>,
    /// In all.
    pub server: usize,
}

impl<W> Default for Queues<W> {
    fn default() -> Self {
        Self {
            places: BTreeMap::new(),
            names: BTreeMap::new(),
            tickets: BTreeMap::new(),
            timeouts: BTreeSet::new(),
            dues: BTreeSet::new(),
            checked: None,
            last: 0,
        }
    }
}

impl<W> Queues<W> {
    /// Returns the number of waiters of all keys.
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Returns whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// Returns the queue of a key that has waiters.
    pub fn find(&self, db: i32, key: &[u8]) -> Option<QueueId> {
        self.names.get(&db)?.get(key).copied()
    }

    /// Returns a queue with its key.
    pub fn place(&self, id: QueueId) -> Option<&Place<W>> {
        self.places.get(&id)
    }

    /// Returns the queue that a waiter is in.
    pub fn queue_of(&self, ticket: Ticket) -> Option<QueueId> {
        self.tickets.get(&ticket).copied()
    }

    /// Returns a waiter.
    pub fn waiter(&self, ticket: Ticket) -> Option<&Waiter<W>> {
        self.place(self.queue_of(ticket)?)?.queue.waiter(ticket)
    }

    /// Returns whether a caller with this token and this room can wait for a key.
    ///
    /// # Errors
    /// Too many callers wait already, there are too many rooms, or the key's name is too long.
    pub fn check(
        &self,
        db: i32,
        key: &[u8],
        token: &[u8],
        room: u64,
        bounds: Bounds,
    ) -> Result<(), Full> {
        if key.len() > MAX_WAITED_NAME {
            return Err(Full::Name);
        }
        let queue = self.find(db, key).and_then(|id| self.place(id));
        let waiting = queue.map_or(0, |place| place.queue.len());
        if bounds.queue.is_some_and(|most| waiting as u64 >= most) {
            return Err(Full::Queue);
        }
        if self.len() >= bounds.server {
            return Err(Full::Server);
        }
        if queue.is_some_and(|place| place.queue.len_of(token) >= MAX_SAME_TOKEN) {
            return Err(Full::Token);
        }
        match queue.is_none_or(|place| place.queue.has_place(room)) {
            true => Ok(()),
            false => Err(Full::Rooms),
        }
    }

    /// Adds a waiter, for which [`check`](Self::check) found a place.
    pub fn join(&mut self, db: i32, key: &[u8], waiter: Waiter<W>) -> Ticket {
        self.last = self.last.saturating_add(1);
        let ticket = Ticket(self.last);
        let id = match self.find(db, key) {
            Some(id) => id,
            None => self.open(db, key, QueueId(self.last)),
        };
        self.tickets.insert(ticket, id);
        self.timeouts.insert((waiter.until, ticket));
        if let Some(place) = self.places.get_mut(&id) {
            place.queue.join(ticket, waiter);
        }
        ticket
    }

    fn open(&mut self, db: i32, key: &[u8], id: QueueId) -> QueueId {
        let key: Arc<[u8]> = key.into();
        let names = self.names.entry(db).or_default();
        names.insert(Arc::clone(&key), id);
        let place = Place {
            db,
            key,
            queue: Queue::default(),
            due: None,
        };
        self.places.insert(id, place);
        id
    }

    /// Removes and returns a waiter. A queue ends with its last one.
    pub fn leave(&mut self, ticket: Ticket) -> Option<Waiter<W>> {
        let id = self.tickets.remove(&ticket)?;
        let place = self.places.get_mut(&id)?;
        let waiter = place.queue.leave(ticket)?;
        self.timeouts.remove(&(waiter.until, ticket));
        if place.queue.is_empty() {
            self.close(id);
        }
        Some(waiter)
    }

    fn close(&mut self, id: QueueId) {
        self.set_due(id, None);
        let Some(place) = self.places.remove(&id) else {
            return;
        };
        if let Some(names) = self.names.get_mut(&place.db) {
            names.remove(&place.key);
            if names.is_empty() {
                self.names.remove(&place.db);
            }
        }
    }

    /// Returns when the first waiter stops waiting, with the waiter.
    pub fn first_timeout(&self) -> Option<(u64, Ticket)> {
        self.timeouts.first().copied()
    }

    /// Sets the time at which the next in line of a queue could be served; `None` if never.
    pub fn set_due(&mut self, id: QueueId, due: Option<i64>) {
        let Some(place) = self.places.get_mut(&id) else {
            return;
        };
        if let Some(before) = std::mem::replace(&mut place.due, due) {
            self.dues.remove(&(before, id));
        }
        self.dues.extend(due.map(|due| (due, id)));
    }

    /// Returns the earliest time at which the next in line of a queue could be served, with the
    /// queue.
    pub fn first_due(&self) -> Option<(i64, QueueId)> {
        self.dues.first().copied()
    }

    /// Returns the next queue in turn to be checked. Each is returned once before any is again,
    /// whatever comes and goes meanwhile.
    pub fn turn(&mut self) -> Option<QueueId> {
        let after = self.checked.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.places.range((after, Bound::Unbounded)).next();
        let next = next.or_else(|| self.places.first_key_value());
        self.checked = next.map(|(&id, _)| id);
        self.checked
    }

    /// Returns the number of keys that have waiters.
    pub fn keys(&self) -> usize {
        self.places.len()
    }
}
