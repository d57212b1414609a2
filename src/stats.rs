//! Counters since the module was loaded, for `INFO rl` and `RL.TOP`.

#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis_rl_limits::kinds::decision::Reply;
use redis_rl_limits::sketch::top::Top;

/// A number that only increases.
pub struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `n`.
    #[inline(always)]
    pub fn add(&self, n: u64) {
        // Two steps are cheaper than an atomic addition, and commands run on one thread.
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    /// Sets the number, for one that also falls.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of buckets or windows.
pub struct Takes {
    /// Calls that took tokens.
    allowed: Counter,
    /// Calls that were denied.
    denied: Counter,
    /// Peeks.
    pub peeks: Counter,
    /// Tokens taken, from all limits of a call.
    taken: Counter,
    /// Tokens taken by FORCE although there were too few.
    pub forced: Counter,
    /// Tokens reserved by MAXWAIT.
    reserved: Counter,
    /// Tokens refunded.
    pub given: Counter,
    /// Limits created.
    pub created: Counter,
}

impl Takes {
    const fn new() -> Self {
        Self {
            allowed: Counter::new(),
            denied: Counter::new(),
            peeks: Counter::new(),
            taken: Counter::new(),
            forced: Counter::new(),
            reserved: Counter::new(),
            given: Counter::new(),
            created: Counter::new(),
        }
    }

    /// Counts a call.
    #[inline(always)]
    pub fn count_call(&self, is_denied: bool) {
        match is_denied {
            true => self.denied.add(1),
            false => self.allowed.add(1),
        }
    }

    /// Counts the tokens taken from a limit.
    #[inline(always)]
    pub fn count_taken(&self, reply: &Reply) {
        let taken = reply.taken.unsigned_abs();
        self.taken.add(taken);
        if reply.wait_ms > 0 {
            self.reserved.add(taken);
        }
    }
}

/// The counters of buckets.
pub static BUCKETS: Takes = Takes::new();
/// The counters of windows, fixed and sliding.
pub static WINDOWS: Takes = Takes::new();

/// The type of the counters of leases.
pub struct LeaseCounts {
    /// Slots acquired.
    pub acquired: Counter,
    /// Calls that were denied.
    pub denied: Counter,
    /// Leases extended.
    pub renewed: Counter,
    /// Leases released.
    pub released: Counter,
    /// Expired leases removed.
    pub trimmed: Counter,
    /// Callers that wait now.
    pub waiting: Counter,
    /// Calls that had to wait.
    pub waits: Counter,
    /// Of these, calls that ended with a slot.
    pub waits_granted: Counter,
    /// Calls that ended with a denial.
    pub waits_timed_out: Counter,
    /// Calls that ended in any other way.
    pub waits_left: Counter,
}

/// The counters of leases.
pub static LEASES: LeaseCounts = LeaseCounts {
    acquired: Counter::new(),
    denied: Counter::new(),
    renewed: Counter::new(),
    released: Counter::new(),
    trimmed: Counter::new(),
    waiting: Counter::new(),
    waits: Counter::new(),
    waits_granted: Counter::new(),
    waits_timed_out: Counter::new(),
    waits_left: Counter::new(),
};

/// The type of the counters of holds.
pub struct HoldCounts {
    /// Reservations.
    pub made: Counter,
    /// Calls that repeated one.
    pub repeated: Counter,
    /// Settlements of open holds.
    pub settled: Counter,
    /// Settlements of overdue holds.
    pub settled_late: Counter,
    /// Settlements of unknown or closed ids.
    pub unknown: Counter,
    /// Overdue holds that were refunded.
    pub returned: Counter,
    /// Records deleted to make room.
    pub dropped: Counter,
    /// Walks over the records of a key.
    pub walks: Counter,
}

/// The counters of holds.
pub static HOLDS: HoldCounts = HoldCounts {
    made: Counter::new(),
    repeated: Counter::new(),
    settled: Counter::new(),
    settled_late: Counter::new(),
    unknown: Counter::new(),
    returned: Counter::new(),
    dropped: Counter::new(),
    walks: Counter::new(),
};

/// Calls that were answered with an error.
pub struct ErrorCounts {
    /// The call was wrong.
    pub call: Counter,
    /// The key holds something else.
    pub key: Counter,
    /// There was no memory.
    pub memory: Counter,
    /// A limit would owe too much.
    pub debt: Counter,
}

/// The counters of errors.
pub static ERRORS: ErrorCounts = ErrorCounts {
    call: Counter::new(),
    key: Counter::new(),
    memory: Counter::new(),
    debt: Counter::new(),
};

/// Returns every counter with its name in `INFO`, without the module's prefix.
pub fn fields() -> impl Iterator<Item = (&'static CStr, u64)> {
    [
        (c"takes_allowed", &BUCKETS.allowed),
        (c"takes_denied", &BUCKETS.denied),
        (c"peeks", &BUCKETS.peeks),
        (c"tokens_taken", &BUCKETS.taken),
        (c"tokens_forced", &BUCKETS.forced),
        (c"tokens_reserved", &BUCKETS.reserved),
        (c"tokens_given", &BUCKETS.given),
        (c"buckets_created", &BUCKETS.created),
        (c"window_takes_allowed", &WINDOWS.allowed),
        (c"window_takes_denied", &WINDOWS.denied),
        (c"window_peeks", &WINDOWS.peeks),
        (c"window_tokens_taken", &WINDOWS.taken),
        (c"window_tokens_forced", &WINDOWS.forced),
        (c"window_tokens_given", &WINDOWS.given),
        (c"window_created", &WINDOWS.created),
        (c"lease_acquired", &LEASES.acquired),
        (c"lease_denied", &LEASES.denied),
        (c"lease_renewed", &LEASES.renewed),
        (c"lease_released", &LEASES.released),
        (c"lease_trimmed", &LEASES.trimmed),
        (c"lease_waiting", &LEASES.waiting),
        (c"lease_waits", &LEASES.waits),
        (c"lease_waits_granted", &LEASES.waits_granted),
        (c"lease_waits_timed_out", &LEASES.waits_timed_out),
        (c"lease_waits_left", &LEASES.waits_left),
        (c"holds_made", &HOLDS.made),
        (c"holds_repeated", &HOLDS.repeated),
        (c"holds_settled", &HOLDS.settled),
        (c"holds_settled_late", &HOLDS.settled_late),
        (c"holds_unknown", &HOLDS.unknown),
        (c"holds_returned", &HOLDS.returned),
        (c"holds_dropped", &HOLDS.dropped),
        (c"holds_walks", &HOLDS.walks),
        (c"errors_call", &ERRORS.call),
        (c"errors_key", &ERRORS.key),
        (c"errors_memory", &ERRORS.memory),
        (c"errors_debt", &ERRORS.debt),
    ]
    .into_iter()
    .map(|(name, counter)| (name, counter.get()))
}

static TOP: Mutex<Option<Top>> = Mutex::new(None);

/// Counts a denial of `key` at `now`, in nanoseconds since 1970, in the sketch of RL.TOP.
#[inline(never)]
pub fn denied(key: &[u8], now: u64) {
    with_top(|top| top.denied(key, now));
}

/// Calls `f` with the sketch of the top denied keys, if it is kept.
#[inline(always)]
pub fn with_top<T>(f: impl FnOnce(&mut Top) -> T) -> Option<T> {
    top().as_mut().map(f)
}

/// Returns the capacity of the sketch.
pub fn top_keys() -> i64 {
    i64::try_from(of_top(Top::capacity)).unwrap_or(i64::MAX)
}

/// Returns the bytes of memory that the sketch has allocated. The server's `used_memory` does not
/// include them.
pub fn top_bytes() -> u64 {
    of_top(Top::bytes) as u64
}

/// Returns a number of the sketch, or 0 without one. Redis also calls this while writing a crash
/// report; the crashed thread may hold the lock, so never wait.
fn of_top(number: impl FnOnce(&Top) -> usize) -> usize {
    let top = TOP.try_lock().ok();
    let kept = top.as_ref().and_then(|top| top.as_ref());
    kept.map_or(0, number)
}

/// Sets the capacity of the sketch; keeps the top denied keys that fit.
pub fn keep_top_keys(keys: i64) {
    // The library's address differs from run to run.
    let seed = std::ptr::from_ref(&TOP) as usize as u64;
    let keys = usize::try_from(keys).ok().filter(|&keys| keys > 0);
    let mut top = top();
    *top = keys.map(|keys| match top.take() {
        Some(kept) => kept.resized(keys),
        None => Top::new(keys, seed),
    });
}

fn top() -> MutexGuard<'static, Option<Top>> {
    TOP.lock().unwrap_or_else(PoisonError::into_inner)
}
