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

/// Declares counters, each with its name in `INFO`, so that none can be left out there.
macro_rules! counters {
    ($about:literal, $counts:ident: $of:ident { $(#[doc = $doc:literal] $counter:ident = $name:literal,)* }) => {
        #[doc = $about]
        pub struct $of {
            $(#[doc = $doc] pub $counter: Counter,)*
        }

        #[doc = $about]
        pub static $counts: $of = $of {
            $($counter: Counter::new(),)*
        };

        impl $of {
            fn fields(&'static self) -> impl Iterator<Item = Field> {
                [$(($name, &self.$counter)),*].into_iter()
            }
        }
    };
}

counters! {
    "The counters of leases.",
    LEASES: LeaseCounts {
        /// Slots acquired.
        acquired = c"lease_acquired",
        /// Calls that were denied.
        denied = c"lease_denied",
        /// Leases extended.
        renewed = c"lease_renewed",
        /// Leases released.
        released = c"lease_released",
        /// Expired leases removed.
        trimmed = c"lease_trimmed",
        /// Callers that wait now.
        waiting = c"lease_waiting",
        /// Calls that had to wait.
        waits = c"lease_waits",
        /// Of these, calls that ended with a slot.
        waits_granted = c"lease_waits_granted",
        /// Calls that ended with a denial.
        waits_timed_out = c"lease_waits_timed_out",
        /// Calls that ended in any other way.
        waits_left = c"lease_waits_left",
    }
}

counters! {
    "The counters of holds.",
    HOLDS: HoldCounts {
        /// Reservations.
        made = c"holds_made",
        /// Calls that repeated one.
        repeated = c"holds_repeated",
        /// Settlements of open holds.
        settled = c"holds_settled",
        /// Settlements of overdue holds.
        settled_late = c"holds_settled_late",
        /// Settlements of unknown or closed ids.
        unknown = c"holds_unknown",
        /// Overdue holds that were refunded.
        returned = c"holds_returned",
        /// Records deleted to make room.
        dropped = c"holds_dropped",
        /// Walks over the records of a key.
        walks = c"holds_walks",
    }
}

counters! {
    "The counters of calls that were answered with an error.",
    ERRORS: ErrorCounts {
        /// The call was wrong.
        call = c"errors_call",
        /// The key holds something else.
        key = c"errors_key",
        /// There was no memory.
        memory = c"errors_memory",
        /// A limit would owe too much.
        debt = c"errors_debt",
    }
}

/// Returns the counters of buckets or windows with their names, in the order of the fields. The
/// pattern has every field, so that a new one does not compile until it is listed here.
fn fields_of(takes: &'static Takes, names: [&'static CStr; 8]) -> impl Iterator<Item = Field> {
    let Takes {
        allowed,
        denied,
        peeks,
        taken,
        forced,
        reserved,
        given,
        created,
    } = takes;
    let counters = [
        allowed, denied, peeks, taken, forced, reserved, given, created,
    ];
    names.into_iter().zip(counters)
}

/// A counter with its name in `INFO`, without the module's prefix.
type Field = (&'static CStr, &'static Counter);

/// Returns every counter with its name in `INFO`, without the module's prefix.
pub fn fields() -> impl Iterator<Item = (&'static CStr, u64)> {
    let buckets = [
        c"takes_allowed",
        c"takes_denied",
        c"peeks",
        c"tokens_taken",
        c"tokens_forced",
        c"tokens_reserved",
        c"tokens_given",
        c"buckets_created",
    ];
    let windows = [
        c"window_takes_allowed",
        c"window_takes_denied",
        c"window_peeks",
        c"window_tokens_taken",
        c"window_tokens_forced",
        NO_NAME,
        c"window_tokens_given",
        c"window_created",
    ];
    fields_of(&BUCKETS, buckets)
        .chain(fields_of(&WINDOWS, windows).filter(|(name, _)| *name != NO_NAME))
        .chain(LEASES.fields())
        .chain(HOLDS.fields())
        .chain(ERRORS.fields())
        .map(|(name, counter)| (name, counter.get()))
}

/// The name of a counter that `INFO` does not have: windows have no MAXWAIT, so they reserve nothing.
const NO_NAME: &CStr = c"";

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
