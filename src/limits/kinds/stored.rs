//! Identifies the kind of limit that a string holds.
//!
//! A bucket is identified by its length and the bound on its level. Windows begin with a tag that
//! no text begins with, in any encoding that contains ASCII: UTF-8 has no byte from 0xF8 on.

use crate::kinds::bucket::Bucket;
use crate::kinds::decision::State;
use crate::kinds::sliding::Sliding;
use crate::kinds::window::Window;

/// Defines [`Stored`] from the states that a string may hold.
macro_rules! kinds {
    ($(#[doc = $doc:literal] $kind:ident,)*) => {
        /// A limit that a string holds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Stored {
            $(#[doc = $doc] $kind($kind),)*
        }

        $(
            impl From<$kind> for Stored {
                fn from(state: $kind) -> Self {
                    Self::$kind(state)
                }
            }
        )*

        impl Stored {
            /// Returns whether a string of `len` bytes can hold a limit.
            pub fn is_size(len: usize) -> bool {
                [$($kind::SIZE),*].contains(&len)
            }

            /// Reads the stored form of any kind; `None` if the bytes are something else.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                None$(.or_else(|| $kind::from_bytes(bytes).map(Self::$kind)))*
            }

            fn name(self) -> &'static str {
                match self {
                    $(Self::$kind(_) => $kind::NAME,)*
                }
            }
        }
    };
}

kinds! {
    /// A token bucket.
    Bucket,
    /// A fixed window.
    Window,
    /// A sliding window.
    Sliding,
}

impl Stored {
    /// Returns whether it is a window that still counts at `now`, in nanoseconds since 1970.
    pub fn lasts(self, now: u64) -> bool {
        !matches!(self, Self::Bucket(_)) && !self.has_ended(now)
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
    Stored::from_bytes(bytes).map_or("another string", Stored::name)
}
