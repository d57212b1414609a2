//! The stored form of windows: a tag followed by words.
//!
//! No text begins with a tag, in any encoding that contains ASCII: UTF-8 has no byte from 0xF8 on.

/// The first byte of a fixed window.
pub(crate) const WINDOW_TAG: u8 = 0xF8;
/// The first byte of the marker of a holds key.
pub(crate) const HOLDS_TAG: u8 = 0xF4;
/// The first byte of a sliding window.
pub(crate) const SLIDING_TAG: u8 = 0xF9;

/// Parses `N` words after a tag; `None` if the bytes are something else.
#[inline(always)]
pub(crate) fn read_words<const N: usize>(tag: u8, bytes: &[u8]) -> Option<[u64; N]> {
    let (&first, rest) = bytes.split_first()?;
    let (words, []) = rest.as_chunks::<8>() else {
        return None;
    };
    let words: &[[u8; 8]; N] = words.try_into().ok()?;
    (first == tag).then(|| words.map(u64::from_le_bytes))
}

/// Returns `words` after a tag, little-endian: `SIZE` bytes.
#[inline(always)]
pub(crate) fn write_words<const SIZE: usize, const N: usize>(
    tag: u8,
    words: [u64; N],
) -> [u8; SIZE] {
    let mut bytes = [tag; SIZE];
    if let Some((_, rest)) = bytes.split_first_mut() {
        let (places, _) = rest.as_chunks_mut::<8>();
        for (place, word) in places.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
    }
    bytes
}
