//! Which keys are known to expire when the limit of a call says they do.
//!
//! A key expires when its bucket is full, under the limit of the call that wrote it. Under another
//! limit it may have to live longer, and to know that it does the server must be asked, which
//! costs a fourteenth of a denied call. So it is remembered which keys were written, or found to
//! be right, under which limit: a table of hashes, in which a newer one takes the place of an
//! older. What is not there is asked for.

use std::sync::atomic::{AtomicU32, Ordering};

/// 512 kB, of which the system gives what is used: enough for some ten thousand keys at a time.
const SLOTS: usize = 1 << 17;

static KNOWN: [AtomicU32; SLOTS] = [const { AtomicU32::new(0) }; SLOTS];

/// Whether the hash was remembered, and not forgotten since.
#[inline(always)]
pub fn is_known(hash: u64) -> bool {
    slot(hash).is_some_and(|slot| slot.load(Ordering::Relaxed) == tag(hash))
}

/// Remembers it.
#[inline(always)]
pub fn remember(hash: u64) {
    if let Some(slot) = slot(hash) {
        slot.store(tag(hash), Ordering::Relaxed);
    }
}

fn slot(hash: u64) -> Option<&'static AtomicU32> {
    KNOWN.get(hash as usize % SLOTS)
}

/// Never 0, which is what an empty slot holds.
fn tag(hash: u64) -> u32 {
    ((hash >> 32) as u32).max(1)
}
