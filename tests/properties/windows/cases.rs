//! Generators: limits, windows, strings and clocks, small and huge alike.

use std::ops::RangeInclusive;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::calendar::Unit;
use crate::oracle::{Named, Stored, LAST_DAY, MAX_LENGTH, MAX_TOKENS, MAX_USED, MILLI};

/// A time of day for a server: late 2026.
pub const TODAY: u64 = 1_795_000_000_123_456_789;
/// The end of histories, in 2254, so that the longest windows end before the clock does.
pub const LAST_CALL: u64 = LAST_DAY - 3 * MAX_LENGTH * MILLI;

/// Returns the configuration: `cases` unless the environment sets another number. Failures are
/// stored next to the tests.
pub fn config(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/properties/windows/regressions.txt"
        )))),
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    config
}

/// Generates numbers; every order of magnitude is equally likely, and so are both ends.
pub fn any_size(range: RangeInclusive<u64>) -> impl Strategy<Value = u64> {
    let (low, high) = range.into_inner();
    let sized = (0..=u64::BITS - high.leading_zeros(), any::<u64>()).prop_map(move |(bits, n)| {
        let mask = 1u64.checked_shl(bits).map_or(u64::MAX, |bit| bit - 1);
        (n & mask).clamp(low, high)
    });
    prop_oneof![14 => sized, 1 => Just(low), 1 => Just(high)]
}

pub fn limits() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 1..=30_u64, 1 => Just(0), 2 => any_size(0..=MAX_TOKENS)]
}

/// Generates lengths in milliseconds: multiples of sixteen, others, and lengths below sixteen.
pub fn lengths() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => 1..=40_u64,
        2 => any_size(1..=100_000),
        2 => prop::sample::select(vec![16, 1_000, 60_000, 3_600_000, 86_400_000]),
        1 => any_size(1..=MAX_LENGTH),
    ]
}

pub fn units() -> impl Strategy<Value = Unit> {
    prop_oneof![
        Just(Unit::Hour),
        Just(Unit::Day),
        (1..=7_u32).prop_map(Unit::Week),
        prop_oneof![1..=31_u32, 28..=31_u32].prop_map(Unit::Month),
        Just(Unit::Year),
    ]
}

/// Minutes to the east.
pub fn offsets() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(0),
        -1439..=1439_i64,
        prop::sample::select(vec![-1439, 1439, 120, -360, 330]),
    ]
}

pub fn calendars() -> impl Strategy<Value = Named> {
    (units(), offsets()).prop_map(|(unit, offset)| Named::Calendar(unit, offset))
}

pub fn slidings() -> impl Strategy<Value = Named> {
    lengths().prop_map(Named::Sliding)
}

/// Windows that a call may name at any time.
pub fn fixed() -> impl Strategy<Value = Named> {
    prop_oneof![2 => lengths().prop_map(Named::For), 2 => calendars()]
}

/// Windows as well that have ended, that end at once, or that are too far ahead.
pub fn any_named(now: u64) -> impl Strategy<Value = Named> {
    let now = now / MILLI;
    let until = prop_oneof![
        4 => any_size(1..=MAX_LENGTH).prop_map(move |ms| now + ms),
        1 => any_size(0..=now),
        1 => any_size(0..=i64::MAX as u64),
        1 => prop::sample::select(vec![now, now + 1, now + MAX_LENGTH, now + MAX_LENGTH + 1]),
    ];
    prop_oneof![
        3 => fixed(),
        3 => slidings(),
        2 => until.prop_map(Named::Until),
    ]
}

pub fn instants() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(TODAY), 1 => any_size(0..=LAST_DAY), 1 => 0..=LAST_DAY]
}

fn used() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..=30_u64, 1 => any_size(0..=MAX_USED as u64 + 1)]
}

/// Generates times near another, before or after it.
fn near(now: u64, most: u64) -> impl Strategy<Value = u64> {
    (any_size(0..=most), any::<bool>()).prop_map(move |(distance, before)| match before {
        true => now.saturating_sub(distance),
        false => now.saturating_add(distance),
    })
}

/// Generates contents of a key at `now`: a window that has ended, is in force, or is in the future;
/// or bytes that are nearly a window.
pub fn strings(now: u64) -> impl Strategy<Value = Vec<u8>> {
    let ms = now / MILLI;
    let fixed = (near(ms, MAX_LENGTH), lengths(), used()).prop_map(|(start, length, used)| {
        let (start, end) = (start as i64, (start + length) as i64);
        Stored::Fixed { start, end, used }.bytes()
    });
    let counters = prop::collection::vec(prop_oneof![Just(0), used()], 17);
    let newest = prop_oneof![near(0, 40), near(0, 1 << 40), any::<u64>()];
    let ages = (any::<bool>(), newest);
    let sliding = (lengths(), ages, counters).prop_map(move |(length, (before, age), counters)| {
        let current = u128::from(ms) * 16 / u128::from(length);
        let current = u64::try_from(current).unwrap();
        let newest = match before {
            true => current.saturating_sub(age),
            false => current.saturating_add(age),
        };
        let mut bytes = vec![0xF9];
        bytes.extend([length, newest].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(counters.iter().flat_map(|word| word.to_le_bytes()));
        bytes
    });
    let tag = prop_oneof![Just(0xF8), Just(0xF9), any::<u8>()];
    let size = prop_oneof![Just(24_usize), Just(152), Just(16), 0..=200_usize];
    let noise = (tag, size, words()).prop_map(|(tag, size, words)| {
        let rest = words.iter().flat_map(|word| word.to_le_bytes()).cycle();
        std::iter::once(tag).chain(rest.take(size)).collect()
    });
    prop_oneof![6 => fixed, 6 => sliding, 4 => noise]
}

/// Generates 64-bit words as an attacker would choose them.
pub fn words() -> impl Strategy<Value = Vec<u64>> {
    let edges = [
        0,
        1,
        u64::MAX,
        u64::MAX - 1,
        1 << 63,
        (1 << 63) - 1,
        MAX_TOKENS,
        MAX_USED as u64,
        MAX_LENGTH,
        MAX_LENGTH + 1,
    ];
    let word = prop_oneof![
        any_size(0..=u64::MAX),
        any::<u64>(),
        prop::sample::select(edges.to_vec())
    ];
    prop::collection::vec(word, 1..=19)
}
