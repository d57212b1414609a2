//! What has happened since the module was loaded: for `INFO rl` and `RL.TOP`.

#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis_rl_limits::bucket::Reply;
use redis_rl_limits::error::Error;
use redis_rl_limits::top::Top;

/// A number that only grows.
pub struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts `n`, which may be negative by mistake but then counts nothing.
    pub fn add(&self, n: i64) {
        // Two steps rather than an atomic one, which costs more: commands run on one thread.
        let sum = self.get().wrapping_add(u64::try_from(n).unwrap_or(0));
        self.0.store(sum, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident: $field:literal,)*) => {
        $($(#[$doc])* pub static $name: Counter = Counter::new();)*

        /// Every counter, by the name that `INFO` shows behind the module's.
        pub fn fields() -> impl Iterator<Item = (&'static CStr, u64)> {
            [$(($field, $name.get())),*].into_iter()
        }
    };
}

counters! {
    /// Calls that took tokens.
    TAKES_ALLOWED: c"takes_allowed",
    /// Calls that wanted to.
    TAKES_DENIED: c"takes_denied",
    /// Calls that looked.
    PEEKS: c"peeks",
    /// Tokens taken, from all buckets of a call.
    TOKENS_TAKEN: c"tokens_taken",
    /// Of these, by calls that made the bucket owe because they insisted.
    TOKENS_FORCED: c"tokens_forced",
    /// Of these, by calls that have to wait for them.
    TOKENS_RESERVED: c"tokens_reserved",
    /// Tokens given back.
    TOKENS_GIVEN: c"tokens_given",
    /// Buckets that were not there.
    BUCKETS_CREATED: c"buckets_created",
    /// Calls that were wrong.
    ERRORS_CALL: c"errors_call",
    /// Calls on keys that hold something else.
    ERRORS_KEY: c"errors_key",
    /// Calls that found no memory.
    ERRORS_MEMORY: c"errors_memory",
    /// Calls that would have made a bucket owe too much.
    ERRORS_DEBT: c"errors_debt",
}

/// What a call counts as that took so many tokens.
pub fn takes(taken: i64) -> &'static Counter {
    if taken > 0 {
        &TAKES_ALLOWED
    } else {
        &TAKES_DENIED
    }
}

/// Counts a call's error.
pub fn failed(error: &Error<'_>) {
    let kind = match error {
        Error::WrongType | Error::NotABucket => &ERRORS_KEY,
        Error::OutOfMemory | Error::WriteFailed => &ERRORS_MEMORY,
        Error::Debt => &ERRORS_DEBT,
        _ => &ERRORS_CALL,
    };
    kind.add(1);
}

/// Counts tokens that were taken from a bucket.
pub fn taken(reply: &Reply) {
    TOKENS_TAKEN.add(reply.taken);
    if reply.wait_ms > 0 {
        TOKENS_RESERVED.add(reply.taken);
    }
}

static TOP: Mutex<Option<Top>> = Mutex::new(None);

/// Lets `f` at the keys denied most, if they are kept.
pub fn with_top<T>(f: impl FnOnce(&mut Top) -> T) -> Option<T> {
    top().as_mut().map(f)
}

/// How many keys denied most are kept. The report of a crash asks too, so this must not wait for
/// whom the crash came upon.
pub fn top_keys() -> i64 {
    let top = TOP.try_lock().ok();
    let kept = top.as_ref().and_then(|top| Some(top.as_ref()?.capacity()));
    kept.map_or(0, |keys| keys.try_into().unwrap_or(i64::MAX))
}

/// Keeps so many from now on, and forgets those kept so far.
pub fn keep_top_keys(keys: i64) {
    // Where the library was loaded differs from run to run.
    let seed = std::ptr::from_ref(&TOP) as usize as u64;
    let keys = usize::try_from(keys).ok().filter(|&keys| keys > 0);
    *top() = keys.map(|keys| Top::new(keys, seed));
}

fn top() -> MutexGuard<'static, Option<Top>> {
    TOP.lock().unwrap_or_else(PoisonError::into_inner)
}
