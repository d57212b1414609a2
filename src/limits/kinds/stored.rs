//! Identifies the kind of limit that a string holds.
//!
//! A bucket is identified by its length and the bound on its level. Windows begin with a tag that
//! no text begins with, in any encoding that contains ASCII: UTF-8 has no byte from 0xF8 on.

use crate::kinds::bucket::Bucket;
use crate::kinds::decision::State;
use crate::kinds::sliding::Sliding;
use crate::kinds::window::Window;

/// A limit that a string holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A token bucket.
    Bucket(Bucket),
    /// A fixed window.
    Window(Window),
    /// A sliding window.
    Sliding(Sliding),
}

impl Stored {
    /// Returns whether a string of `len` bytes can hold a limit.
    pub fn is_size(len: usize) -> bool {
        [Bucket::SIZE, Window::SIZE, Sliding::SIZE].contains(&len)
    }

    /// Reads the stored form of any kind; `None` if the bytes are something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Bucket::from_bytes(bytes)
            .map(Self::Bucket)
            .or_else(|| Window::from_bytes(bytes).map(Self::Window))
            .or_else(|| Sliding::from_bytes(bytes).map(Self::Sliding))
    }

    /// Returns whether it is a window that counts as nothing at `now`, in nanoseconds since 1970.
    pub fn has_ended(self, now: u64) -> bool {
        match self {
            Self::Bucket(_) => false,
            Self::Window(window) => window.has_ended(now),
            Self::Sliding(sliding) => sliding.has_ended(now),
        }
    }
}

/// Returns the name of a string in errors: the kind of limit that it holds, or another name if it
/// holds none.
///
/// Called after a command has found that a string is not of its own kind.
#[cold]
pub fn name(bytes: &[u8]) -> &'static str {
    match Stored::from_bytes(bytes) {
        Some(Stored::Bucket(_)) => Bucket::NAME,
        Some(Stored::Window(_)) => Window::NAME,
        Some(Stored::Sliding(_)) => Sliding::NAME,
        None => "another string",
    }
}
