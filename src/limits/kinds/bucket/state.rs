//! The stored state of a bucket.

use super::units::{MAX_LEVEL, MAX_OWED};
use crate::bounds::{floor_millis, saturating_i64, UNIT_BITS};
use crate::kinds::decision::State;

/// Sixteen printable characters are never taken for a bucket: the last byte of a level is neither a
/// space or a later character of ASCII, nor a byte that continues one of UTF-8 (0x80 to 0xBF).
const _: () =
    assert!(MAX_LEVEL < (b' ' as i64) << 56 && MAX_OWED <= i64::MAX - ((0xC0 - 0x80) << 56));

/// The stored state of a bucket: its level and the time of that level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Nanoseconds since 1970.
    pub(super) updated_at: u64,
    /// Level at that instant in units of 2^-24 tokens, at most [`MAX_LEVEL`]; negative when the bucket
    /// owes, at most [`MAX_OWED`].
    pub(super) tokens: i64,
}

impl State for Bucket {
    const NAME: &'static str = "a rate-limit bucket";
    const SIZE: usize = 16;
    type Bytes = [u8; 16];

    /// Parses the stored form. The bounds on the level also distinguish buckets from text.
    #[inline(always)]
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (updated_at, tokens) = bytes.split_first_chunk::<8>()?;
        let updated_at = u64::from_le_bytes(*updated_at);
        let tokens = i64::from_le_bytes(tokens.try_into().ok()?);
        (-MAX_OWED..=MAX_LEVEL)
            .contains(&tokens)
            .then_some(Self { updated_at, tokens })
    }

    /// Returns both words, little-endian.
    #[inline(always)]
    fn to_bytes(self) -> [u8; 16] {
        let words = u128::from(self.updated_at) | u128::from(self.tokens as u64) << 64;
        words.to_le_bytes()
    }
}

impl Bucket {
    /// Returns the level as it is stored in whole tokens, rounded down: negative if it owes.
    pub fn tokens(&self) -> i64 {
        self.tokens >> UNIT_BITS
    }

    /// Returns the time of that level, in milliseconds since 1970.
    pub fn updated_ms(&self) -> i64 {
        saturating_i64(floor_millis(self.updated_at))
    }
}
