//! Identifies the kind of limit that a string holds.
//!
//! A bucket is identified by its length and the bound on its level. Windows begin with a tag that
//! no text begins with, in any encoding that contains ASCII: UTF-8 has no byte from 0xF8 on.

use crate::kinds::bucket::Bucket;
use crate::kinds::decision::State;
use crate::kinds::sliding::Sliding;
use crate::kinds::window::Window;

/// Returns the name of a string in errors: the kind of limit that it holds, or another name if it
/// holds none.
///
/// Called after a command has found that a string is not of its own kind.
#[cold]
pub fn name(bytes: &[u8]) -> &'static str {
    fn holds<S: State>(bytes: &[u8]) -> Option<&'static str> {
        S::from_bytes(bytes).map(|_| S::NAME)
    }
    holds::<Bucket>(bytes)
        .or_else(|| holds::<Window>(bytes))
        .or_else(|| holds::<Sliding>(bytes))
        .unwrap_or("another string")
}
