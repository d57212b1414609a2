//! The limits of recent calls, so that the same rate and burst are not parsed again.
//!
//! A limit depends on nothing but its text, and an entry contains all of that text, so an entry never
//! becomes wrong.

use std::sync::Mutex;

use redis_rl_limits::grammar;
use redis_rl_limits::grammar::bucket::Error;
use redis_rl_limits::kinds::bucket::Limit;

/// Number of entries, a power of two.
const ENTRIES: usize = 16;

static KNOWN: Mutex<[Option<Entry>; ENTRIES]> = Mutex::new([None; ENTRIES]);

#[derive(Clone, Copy)]
struct Entry {
    rate: Text,
    burst: Text,
    limit: Limit,
}

/// A text of 1 to 16 bytes: its first and last bytes, which overlap or meet, and their number.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Text {
    first: u64,
    last: u64,
    len: usize,
}

impl Text {
    /// Returns the text, or `None` if it has another length.
    #[inline(always)]
    fn of(text: &[u8]) -> Option<Self> {
        let len = text.len();
        let (first, last) = match text {
            [a] => ((*a).into(), 0),
            [a, b] => ((*a).into(), (*b).into()),
            [a, b, c] => (u64::from(*a) << 8 | u64::from(*b), (*c).into()),
            _ if len < 8 => {
                let word = |part: &[u8; 4]| u64::from(u32::from_le_bytes(*part));
                (word(text.first_chunk()?), word(text.last_chunk()?))
            }
            _ if len <= 16 => {
                let word = |part: &[u8; 8]| u64::from_le_bytes(*part);
                (word(text.first_chunk()?), word(text.last_chunk()?))
            }
            _ => return None,
        };
        Some(Self { first, last, len })
    }

    /// Returns a number that differs for most texts.
    #[inline(always)]
    fn mixed(self) -> u64 {
        self.first.rotate_left(23) ^ self.last
    }
}

/// Returns the limit of this rate and burst.
///
/// # Errors
/// Either is not accepted, or the bucket would take too long to fill.
#[inline(always)]
pub fn limit<'a>(rate: &'a [u8], burst: &'a [u8]) -> Result<Limit, Error<'a>> {
    let (Some(rate_text), Some(burst_text)) = (Text::of(rate), Text::of(burst)) else {
        return parse(rate, burst);
    };
    // The lock is free, unless this thread crashed in this function and runs on.
    let Ok(mut known) = KNOWN.try_lock() else {
        return parse(rate, burst);
    };
    match known.get_mut(index(rate_text, burst_text)) {
        Some(Some(entry)) if entry.rate == rate_text && entry.burst == burst_text => {
            Ok(entry.limit)
        }
        Some(entry) => {
            let limit = parse(rate, burst)?;
            *entry = Some(Entry {
                rate: rate_text,
                burst: burst_text,
                limit,
            });
            Ok(limit)
        }
        None => parse(rate, burst),
    }
}

/// Returns the index of the entry: the top bits of a product, which depend on all of its factor's.
#[inline(always)]
fn index(rate: Text, burst: Text) -> usize {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    const OTHER_BITS: u32 = u64::BITS - ENTRIES.trailing_zeros();
    let mixed = rate.mixed().wrapping_mul(GOLDEN) ^ burst.mixed();
    (mixed.wrapping_mul(GOLDEN) >> OTHER_BITS) as usize
}

#[inline(never)]
fn parse<'a>(rate: &'a [u8], burst: &'a [u8]) -> Result<Limit, Error<'a>> {
    grammar::bucket::limit(rate, burst)
}
