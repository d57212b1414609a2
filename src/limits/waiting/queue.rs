//! The callers that wait for a slot of one key, in the order in which they are served.
//!
//! A caller's *room* is the number of held slots below which it can get one. The queue has one list
//! for each room, in order of arrival. A slot goes to the earliest waiter that could have it now, so
//! a waiter whose room is too small is passed over and keeps its place. Nothing here knows a server
//! or a clock: [`Queues`](super::queues::Queues) adds the other keys and the timeouts.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::iter::Peekable;
use std::sync::Arc;

pub use crate::bounds::{MAX_GRANTS, MAX_ROOMS};

/// Identifies a waiter. A later waiter has a greater ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A caller that waits.
#[derive(Clone, Debug)]
pub struct Waiter<W> {
    /// The token for the slot.
    pub token: Arc<[u8]>,
    /// It can get a slot while fewer slots than this are held.
    pub room: u64,
    /// The time at which it stops waiting, in milliseconds of any clock that never steps back.
    pub until: u64,
    /// The data needed to answer the caller.
    pub call: W,
}

/// The waiters of one key.
#[derive(Debug)]
pub struct Queue<W> {
    waiters: BTreeMap<Ticket, Waiter<W>>,
    /// One list per room, with the first waiter of each token in that room.
    lines: BTreeMap<u64, BTreeSet<Ticket>>,
    /// The waiters of each token, with their rooms.
    tokens: BTreeMap<Arc<[u8]>, BTreeSet<(u64, Ticket)>>,
}

/// A waiter whose turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Its token gets a slot.
    Grant(Ticket),
    /// Its token already holds one, which was not granted by its queue.
    Held(Ticket),
}

/// The waiters that could have a slot now, in order: at most one for each token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The waiters, at most as many as were asked for.
    pub turns: Vec<Turn>,
    /// Number of slots held after these turns.
    pub live: u64,
    /// Whether more waiters could have a slot than were asked for.
    pub is_cut: bool,
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self {
            waiters: BTreeMap::new(),
            lines: BTreeMap::new(),
            tokens: BTreeMap::new(),
        }
    }
}

impl<W> Queue<W> {
    /// Returns the number of waiters.
    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Returns whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Returns whether a waiter of this room can join: there are at most [`MAX_ROOMS`] rooms.
    pub fn has_place(&self, room: u64) -> bool {
        self.lines.len() < MAX_ROOMS || self.lines.contains_key(&room)
    }

    /// Returns the number of waiters with this token.
    pub fn len_of(&self, token: &[u8]) -> usize {
        self.tokens.get(token).map_or(0, BTreeSet::len)
    }

    /// Returns the largest room of all waiters, or 0 without any.
    pub fn largest_room(&self) -> u64 {
        self.lines.last_key_value().map_or(0, |(&room, _)| room)
    }

    /// Returns a waiter.
    pub fn waiter(&self, ticket: Ticket) -> Option<&Waiter<W>> {
        self.waiters.get(&ticket)
    }

    /// Returns the earliest waiter, whatever its room is.
    pub fn first(&self) -> Option<Ticket> {
        self.waiters.keys().next().copied()
    }

    /// Adds a waiter, which comes last among those of its room. `ticket` must be greater than all
    /// earlier ones, and the queue must [have a place](Self::has_place) for it.
    pub(crate) fn join(&mut self, ticket: Ticket, waiter: Waiter<W>) {
        let room = waiter.room;
        let others = self.tokens.entry(Arc::clone(&waiter.token)).or_default();
        if first_in(others, room).is_none() {
            self.lines.entry(room).or_default().insert(ticket);
        }
        others.insert((room, ticket));
        self.waiters.insert(ticket, waiter);
    }

    /// Removes and returns a waiter.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> Option<Waiter<W>> {
        let waiter = self.waiters.remove(&ticket)?;
        let room = waiter.room;
        if let Entry::Occupied(mut others) = self.tokens.entry(Arc::clone(&waiter.token)) {
            let set = others.get_mut();
            set.remove(&(room, ticket));
            if let Entry::Occupied(mut line) = self.lines.entry(room) {
                if line.get_mut().remove(&ticket) {
                    line.get_mut().extend(first_in(set, room));
                }
                if line.get().is_empty() {
                    line.remove();
                }
            }
            if set.is_empty() {
                others.remove();
            }
        }
        Some(waiter)
    }

    /// Returns the waiters of a token, earliest first.
    pub fn of(&self, token: &[u8]) -> Vec<Ticket> {
        let others = self.tokens.get(token).into_iter().flatten();
        let tickets: BinaryHeap<_> = others.map(|&(_, ticket)| ticket).collect();
        // A sort that cannot panic.
        tickets.into_sorted_vec()
    }

    /// Returns the waiters that get a slot, one after the other, if `live` slots are held: at most
    /// `most` of them. `holds` returns whether a token holds one of these slots.
    pub fn plan(&self, live: u64, most: usize, mut holds: impl FnMut(&[u8]) -> bool) -> Plan {
        let mut plan = Plan {
            live,
            ..Plan::default()
        };
        if self.largest_room() <= live {
            return plan;
        }
        let mut lines: Vec<_> = self
            .lines
            .range(live.saturating_add(1)..)
            .map(|(&room, line)| (room, line.iter().peekable()))
            .collect();
        let mut served = BTreeSet::new();
        while let Some(ticket) = earliest(&mut lines, plan.live) {
            let Some(waiter) = self.waiters.get(&ticket) else {
                continue;
            };
            if served.contains(&waiter.token) {
                continue;
            }
            if plan.turns.len() >= most {
                plan.is_cut = true;
                break;
            }
            if holds(&waiter.token) {
                plan.turns.push(Turn::Held(ticket));
            } else {
                plan.turns.push(Turn::Grant(ticket));
                plan.live = plan.live.saturating_add(1);
            }
            served.insert(&waiter.token);
        }
        plan
    }
}

impl Plan {
    /// Returns whether a caller with this room that comes after these waiters gets a slot too.
    pub fn has_room_for(&self, room: u64) -> bool {
        !self.is_cut && self.live < room
    }

    /// Returns whether no waiter could have a slot.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty() && !self.is_cut
    }
}

impl Turn {
    /// Returns the waiter.
    pub fn ticket(self) -> Ticket {
        match self {
            Self::Grant(ticket) | Self::Held(ticket) => ticket,
        }
    }
}

/// Returns the earliest of a token's waiters in a room.
fn first_in(others: &BTreeSet<(u64, Ticket)>, room: u64) -> Option<Ticket> {
    let in_room = (room, Ticket(u64::MIN))..=(room, Ticket(u64::MAX));
    others.range(in_room).next().map(|&(_, ticket)| ticket)
}

/// Takes the earliest of the waiters that could have a slot if `live` are held.
fn earliest<'a>(
    lines: &mut [(u64, Peekable<impl Iterator<Item = &'a Ticket>>)],
    live: u64,
) -> Option<Ticket> {
    let with_room = lines.iter_mut().filter(|(room, _)| *room > live);
    let heads = with_room.filter_map(|(_, line)| {
        let head = line.peek().copied().copied()?;
        Some((head, line))
    });
    let (head, line) = heads.min_by_key(|&(head, _)| head)?;
    line.next();
    Some(head)
}
