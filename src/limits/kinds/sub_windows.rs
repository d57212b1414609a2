//! The stored state of a sliding window: the usage of each of its sub-windows.
//!
//! Time is divided into sub-windows of one sixteenth of the length. Sub-window `k` of length `W`
//! contains the milliseconds `t` with `⌊16·t/W⌋ = k`. An interval that ends now overlaps at most 17
//! of them, and all of their usage counts. So no interval has more than the limit, and a unit is
//! freed at most one sub-window later than with an exact log.

use std::num::NonZeroU64;

use crate::bounds::{floor_millis, MAX_USED, MAX_YEARS_MS, NANOS_PER_MILLI};
use crate::kinds::decision::State;
use crate::kinds::tagged::{read_words, write_words, SLIDING_TAG};
use crate::kinds::usage::at_tolerance;

/// Sub-windows in a window.
const PARTS: u64 = 16;
/// Sub-windows that an interval of the window's length can overlap.
const COUNTERS: usize = PARTS as usize + 1;

/// The beginning of every sub-window that ends after the last instant of a 64-bit clock is computed
/// in 64 bits, without saturation.
const _: () = assert!(
    (u64::MAX / NANOS_PER_MILLI) as u128 * PARTS as u128
        + (COUNTERS as u128 + 1) * MAX_YEARS_MS as u128
        <= u64::MAX as u128
);

/// The stored state of a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sliding {
    /// Milliseconds, from 1 to 100 years.
    length: NonZeroU64,
    /// The sub-window of the first counter; each further counter belongs to the one before.
    newest: u64,
    /// The usage of each; at most [`MAX_USED`] in all.
    counters: [u64; COUNTERS],
}

impl State for Sliding {
    const NAME: &'static str = "a sliding window";
    const SIZE: usize = 153;
    type Bytes = [u8; 153];

    #[inline(always)]
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [length, newest, counters @ ..] = read_words::<{ COUNTERS + 2 }>(SLIDING_TAG, bytes)?;
        let sliding = Self {
            length: NonZeroU64::new(length)?,
            newest,
            counters,
        };
        let fits = length <= MAX_YEARS_MS && sliding.used() <= MAX_USED;
        fits.then_some(sliding)
    }

    /// Returns the tag and the words, little-endian.
    #[inline(always)]
    fn to_bytes(self) -> [u8; 153] {
        let mut words = [0; COUNTERS + 2];
        let fields = [self.length.get(), self.newest]
            .into_iter()
            .chain(self.counters);
        for (word, field) in words.iter_mut().zip(fields) {
            *word = field;
        }
        write_words(SLIDING_TAG, words)
    }
}

impl Sliding {
    /// Returns the window's length in milliseconds.
    pub fn window_ms(&self) -> u64 {
        self.length.get()
    }

    /// Returns the amount that counts at `now`, in nanoseconds since 1970.
    pub fn used_at(&self, now: u64) -> u64 {
        // After the clock stepped back by more than a window, all of it counts as used now.
        self.at(floor_millis(now)).unwrap_or(*self).used()
    }

    pub(crate) fn length(&self) -> NonZeroU64 {
        self.length
    }

    /// Returns the usage of all sub-windows.
    pub(crate) fn used(&self) -> u64 {
        self.counters.iter().fold(0, |n, c| n.saturating_add(*c))
    }

    /// Charges `tokens` to the newest sub-window.
    #[inline(always)]
    pub(crate) fn charge(&mut self, tokens: u64) {
        if let Some(newest) = self.counters.first_mut() {
            *newest = newest.saturating_add(tokens);
        }
    }

    /// Creates a state with all of `used` in the sub-window of now.
    pub(crate) fn used_now(length: NonZeroU64, now: u64, used: u64) -> Self {
        let mut counters = [0; COUNTERS];
        if let Some(newest) = counters.first_mut() {
            *newest = used;
        }
        Self {
            length,
            newest: sub_window(now, length),
            counters,
        }
    }

    /// Returns the state advanced to `now`, with expired sub-windows cleared.
    ///
    /// A sub-window that begins later than now was stored before the clock stepped back. It remains
    /// the newest if it may have been in force then, that is, if it begins at most one length
    /// later. Otherwise returns `None`.
    #[inline(always)]
    pub(crate) fn at(self, now: u64) -> Option<Self> {
        let newest = sub_window(now, self.length);
        if self.newest > newest {
            let ahead = begin(self.newest, self.length).saturating_sub(now);
            return (ahead <= self.length.get()).then_some(self);
        }
        let passed = newest.saturating_sub(self.newest);
        if passed == 0 {
            return Some(self);
        }
        let mut counters = [0; COUNTERS];
        let passed = usize::try_from(passed).unwrap_or(COUNTERS);
        let places = counters.iter_mut().skip(passed);
        for (place, counter) in places.zip(self.counters) {
            *place = counter;
        }
        Some(Self {
            newest,
            counters,
            ..self
        })
    }

    /// Returns the time at which the sub-window at `place` no longer counts, in milliseconds since
    /// 1970.
    fn free_at(&self, place: usize) -> u64 {
        // That is the start of the sub-window 17 later.
        let later = COUNTERS.saturating_sub(place) as u64;
        begin(self.newest.saturating_add(later), self.length)
    }

    /// Returns the time at which `wanted` units no longer count, in milliseconds since 1970.
    pub(crate) fn freed_at(&self, wanted: u64) -> u64 {
        let mut freed = 0_u64;
        for (place, counter) in self.counters.iter().enumerate().rev() {
            freed = freed.saturating_add(*counter);
            if freed >= wanted {
                return self.free_at(place);
            }
        }
        self.free_at(0)
    }

    /// Returns the time at which nothing counts any more, in milliseconds since 1970.
    pub(crate) fn unused_at(&self) -> u64 {
        match self.counters.iter().position(|&counter| counter > 0) {
            Some(place) => self.free_at(place),
            None => 0,
        }
    }

    /// Returns whether nothing of it counts at `now`, in nanoseconds since 1970.
    pub(crate) fn has_ended(self, now: u64) -> bool {
        self.at(floor_millis(now))
            .is_some_and(|seen| seen.used() == 0)
    }

    /// Refunds `tokens` from the counter of `taken_at` and the one after it, or from the oldest on.
    /// Returns the number refunded.
    pub(crate) fn give(&mut self, tokens: u64, taken_at: Option<u64>, now: u64) -> u64 {
        // The older one first.
        let places = match taken_at {
            None => 0..COUNTERS,
            Some(at) => match self.place(at.min(now), now) {
                place if place < COUNTERS => place.saturating_sub(1)..place.saturating_add(1),
                // What was taken then is free already. The next counter is somebody else's.
                _ => return 0,
            },
        };
        let mut left = tokens;
        let counters = self.counters.iter_mut().enumerate().rev();
        for (_, counter) in counters.filter(|(place, _)| places.contains(place)) {
            left = left.saturating_sub(withdraw(counter, left));
        }
        tokens.saturating_sub(left)
    }

    /// Returns the place of the counter that a take at this time was charged to, at least
    /// [`COUNTERS`] if it has left the window.
    ///
    /// If the clock stepped back before the newest sub-window, what is taken now is charged to it.
    fn place(&self, at: u64, now: u64) -> usize {
        let stepped_back = self.newest > sub_window(now, self.length);
        if stepped_back && now.saturating_sub(at) <= at_tolerance(self.length.get()) {
            return 0;
        }
        let place = self.newest.saturating_sub(sub_window(at, self.length));
        usize::try_from(place).unwrap_or(COUNTERS)
    }

    /// Takes at most `tokens` out of the counter of the instant `at`. Returns how many there were.
    pub(crate) fn give_at(&mut self, tokens: u64, at: u64) -> u64 {
        let counter = self
            .newest
            .checked_sub(sub_window(at, self.length))
            .and_then(|place| usize::try_from(place).ok())
            .and_then(|place| self.counters.get_mut(place));
        counter.map_or(0, |counter| withdraw(counter, tokens))
    }

    /// Returns the first millisecond of the newest sub-window.
    pub(crate) fn newest_begins_at(&self) -> u64 {
        begin(self.newest, self.length)
    }
}

/// Subtracts up to `most` from a counter. Returns the number subtracted.
fn withdraw(counter: &mut u64, most: u64) -> u64 {
    let given = most.min(*counter);
    *counter = counter.saturating_sub(given);
    given
}

/// Returns the sub-window of an instant, `⌊16·t/W⌋`.
#[inline(always)]
fn sub_window(instant: u64, length: NonZeroU64) -> u64 {
    instant.saturating_mul(PARTS) / length
}

/// Returns the first millisecond of a sub-window, `⌈k·W/16⌉`.
#[inline(always)]
fn begin(sub_window: u64, length: NonZeroU64) -> u64 {
    sub_window.saturating_mul(length.get()).div_ceil(PARTS)
}
