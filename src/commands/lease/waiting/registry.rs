//! The state of all waiting callers. The lock is never held while the server runs code of others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redis_rl_limits::kinds::decision::Reply;
use redis_rl_limits::kinds::lease::End;
use redis_rl_limits::waiting::queue::Ticket;
use redis_rl_limits::waiting::queues::{QueueId, Queues};

use super::terms::Terms;
use crate::stats::LEASES;

/// The default of `rl.max-waiters`.
pub const DEFAULT_MOST: i64 = 1_000;

/// `rl.max-waiters`.
static MOST: AtomicI64 = AtomicI64::new(0);

/// Whether there is anything in the registry that a command must know of.
static IS_BUSY: AtomicBool = AtomicBool::new(false);

static REGISTRY: Mutex<Option<Registry>> = Mutex::new(None);

/// A token of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The database.
    pub db: i32,
    /// The key's name.
    pub key: Arc<[u8]>,
    /// The token.
    pub token: Arc<[u8]>,
}

/// The answer to a caller whose wait has ended.
#[derive(Debug)]
pub enum Answer {
    /// Its token holds a slot.
    Slot(Reply),
    /// It is denied.
    Denied(Reply),
    /// The error's text.
    Error(Box<str>),
}

/// A slot that was granted to waiters who have not all been told yet.
#[derive(Debug)]
struct Promise {
    /// Waiters whose answer was not handed over yet.
    open: usize,
    /// Whether any caller received a reply, since the grant, that the token holds the slot.
    is_told: bool,
    end: End,
}

/// Events to send to subscribers once the key is closed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Events {
    /// Tokens that got a slot or keep it.
    pub acquired: u64,
    /// Waiters that were denied.
    pub denied: u64,
}

/// All waiting callers, and those whose answer was not handed over yet.
#[derive(Debug, Default)]
pub struct Registry {
    /// The callers that wait.
    pub queues: Queues<Terms>,
    answers: BTreeMap<u64, (Answer, Option<Slot>)>,
    /// Those with an answer that were not unblocked yet.
    pub ready: BTreeSet<u64>,
    promises: BTreeMap<Slot, Promise>,
    /// Slots of callers that were gone before their answer was handed over.
    pub abandoned: Vec<(Slot, End)>,
    /// Events not sent yet.
    pub events: Events,
    /// Number of keys to check in the next runs, after databases were emptied or swapped.
    pub sweep: usize,
    /// The time of the next round of checks, by the monotonic clock.
    pub next_check_ms: u64,
}

/// Returns what `f` makes of the registry.
pub fn with<T>(f: impl FnOnce(&mut Registry) -> T) -> T {
    let mut guard = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    let registry = guard.get_or_insert_with(Registry::default);
    let result = f(registry);
    LEASES.waiting.set(registry.queues.len() as u64);
    IS_BUSY.store(registry.is_busy(), Ordering::Relaxed);
    if registry.is_empty() {
        registry.shrink();
    }
    result
}

/// Returns whether a command must look into the registry.
#[inline(always)]
pub fn is_busy() -> bool {
    IS_BUSY.load(Ordering::Relaxed)
}

/// Returns `rl.max-waiters`.
pub fn most() -> i64 {
    MOST.load(Ordering::Relaxed)
}

/// Sets `rl.max-waiters`.
pub fn keep_most(most: i64) {
    MOST.store(most, Ordering::Relaxed);
}

/// Forgets everything: nobody waits when the module is unloaded.
pub fn unload() {
    with(|registry| *registry = Registry::default());
}

/// Returns the number of callers that wait for a key.
pub fn queue_length(db: i32, key: &[u8]) -> usize {
    if !is_busy() {
        return 0;
    }
    with(|registry| {
        let id = registry.queues.find(db, key)?;
        Some(registry.queues.place(id)?.queue.len())
    })
    .unwrap_or(0)
}

/// Notes that a caller was told that a token holds its slot, which is then not taken back.
pub fn confirm(db: i32, key: &[u8], token: &[u8]) {
    with(|registry| {
        if registry.promises.is_empty() && registry.abandoned.is_empty() {
            return;
        }
        let slot = Slot {
            db,
            key: key.into(),
            token: token.into(),
        };
        registry.keep(&slot);
        if let Some(promise) = registry.promises.get_mut(&slot) {
            promise.is_told = true;
        }
    });
}

impl Registry {
    fn is_busy(&self) -> bool {
        !self.queues.is_empty()
            || !self.promises.is_empty()
            || !self.abandoned.is_empty()
            || self.has_events()
    }

    fn has_events(&self) -> bool {
        self.events.acquired > 0 || self.events.denied > 0
    }

    /// Returns whether the timer has nothing to do.
    pub fn is_idle(&self) -> bool {
        self.queues.is_empty() && self.ready.is_empty() && self.abandoned.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.is_idle() && self.answers.is_empty() && !self.is_busy()
    }

    /// Returns the memory of a crowd that has gone. Numbers are never given out again.
    fn shrink(&mut self) {
        self.abandoned = Vec::new();
    }

    /// Ends the wait of a caller with an answer, which the timer will let the server ask for.
    pub fn decide(&mut self, ticket: Ticket, answer: Answer, slot: Option<Slot>) {
        if self.queues.leave(ticket).is_none() {
            return;
        }
        let counter = match answer {
            Answer::Slot(_) => &LEASES.waits_granted,
            Answer::Denied(_) => &LEASES.waits_timed_out,
            Answer::Error(_) => &LEASES.waits_left,
        };
        counter.add(1);
        self.answers.insert(ticket.0, (answer, slot));
        self.ready.insert(ticket.0);
    }

    /// Promises a slot that was just granted, and ends at `end`, to this number of waiters. Waiters of
    /// the token whose answer is still open had an earlier slot, which was released meanwhile. Replies
    /// about that slot do not count for this one.
    pub fn promise(&mut self, slot: Slot, waiters: usize, end: End) {
        self.keep(&slot);
        let open = self.promises.get(&slot).map_or(0, |promise| promise.open);
        let promise = Promise {
            open: open.saturating_add(waiters),
            is_told: false,
            end,
        };
        self.promises.insert(slot, promise);
    }

    /// Keeps the timer from taking a slot back.
    fn keep(&mut self, slot: &Slot) {
        self.abandoned.retain(|(lost, _)| lost != slot);
    }

    /// Keeps the timer from unblocking a caller that the server has unblocked.
    pub fn forget_ready(&mut self, number: u64) {
        self.ready.remove(&number);
    }

    /// Returns the answer of a caller that is being told.
    pub fn hand_over(&mut self, number: u64) -> Option<Answer> {
        let (answer, slot) = self.answers.remove(&number)?;
        if let Some(slot) = slot {
            self.close(slot, |promise| promise.is_told = true);
        }
        Some(answer)
    }

    /// Forgets a caller that is gone: one that waits, or one that was not told its answer.
    pub fn forget(&mut self, number: u64) {
        self.forget_ready(number);
        if self.queues.leave(Ticket(number)).is_some() {
            LEASES.waits_left.add(1);
        }
        if let Some((_, Some(slot))) = self.answers.remove(&number) {
            self.close(slot, |_| ());
        }
    }

    /// Ends one waiter's part in a promise. The last one decides whether the slot is taken back.
    fn close(&mut self, slot: Slot, note: impl FnOnce(&mut Promise)) {
        let Some(promise) = self.promises.get_mut(&slot) else {
            return;
        };
        note(promise);
        promise.open = promise.open.saturating_sub(1);
        if promise.open > 0 {
            return;
        }
        let (is_told, end) = (promise.is_told, promise.end);
        self.promises.remove(&slot);
        if !is_told {
            self.abandoned.push((slot, end));
        }
    }

    /// Returns the waiters of a token with their terms, earliest first.
    pub fn callers(&self, id: QueueId, token: &[u8]) -> Vec<(Ticket, Terms)> {
        let Some(place) = self.queues.place(id) else {
            return Vec::new();
        };
        let mut callers = Vec::new();
        for ticket in place.queue.of(token) {
            callers.extend(
                place
                    .queue
                    .waiter(ticket)
                    .map(|waiter| (ticket, waiter.call)),
            );
        }
        callers
    }
}
