//! Generators: limits, states, costs and clocks, small and huge alike.

use std::fmt;
use std::ops::RangeInclusive;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use redis_rl_limits::grammar::bucket;
use redis_rl_limits::kinds::bucket::Limit;
use redis_rl_limits::kinds::decision::Mode;

use crate::oracle::{self, State, DAY, MAX_FILL, MAX_RATE, MAX_TOKENS, MILLI, SECOND, UNIT};

/// A time of day for a server: late 2026.
pub const TODAY: u64 = 1_795_000_000 * SECOND;

/// Returns the configuration: `cases` unless the environment sets another number. Failures are
/// stored next to the tests.
pub fn config(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/properties/regressions.txt"
        )))),
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    config
}

/// The same limit twice: the crate's, and the oracle's.
#[derive(Clone)]
pub struct Pair {
    pub rate: String,
    pub real: Limit,
    pub exact: oracle::Limit,
}

impl Pair {
    pub fn parse(rate: &str, burst: u64) -> Self {
        Self::accepted(rate, burst).unwrap_or_else(|| panic!("{rate} {burst} is refused"))
    }

    /// `None` if the oracle refuses it; the crate must then too.
    pub fn accepted(rate: &str, burst: u64) -> Option<Self> {
        let text = burst.to_string();
        let real = bucket::limit(rate.as_bytes(), text.as_bytes());
        let exact = oracle::Limit::parse(rate.as_bytes(), text.as_bytes());
        assert_eq!(real.is_ok(), exact.is_ok(), "{rate} {burst}");
        let rate = rate.to_owned();
        Some(Self {
            rate,
            real: real.ok()?,
            exact: exact.ok()?,
        })
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rate {} burst {}", self.rate, self.exact.burst)
    }
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

/// Generates rates from one in a hundred years to 10^12 a second, with bursts that fill in time.
pub fn limits() -> impl Strategy<Value = Pair> {
    let units = prop_oneof![
        Just(("", SECOND)),
        Just(("/ms", MILLI)),
        Just(("/s", SECOND)),
        Just(("/m", 60 * SECOND)),
        Just(("/h", 3_600 * SECOND)),
        Just(("/d", DAY)),
    ];
    let amount = (any_size(1..=10_u64.pow(19) - 1), 0..=17_u32);
    let period = (units, prop_oneof![Just(1), any_size(1..=10_000)]);
    let limits = (amount, period, any_size(1..=MAX_TOKENS));
    limits.prop_filter_map("too slow", |((digits, decimals), period, burst)| {
        let ((unit, nanos), count) = period;
        let count = if unit.is_empty() { 1 } else { count };
        limit(digits, decimals, unit, count, nanos, burst)
    })
}

/// Returns the accepted limit nearest to `digits / 10^decimals` tokens per `count` units. It may
/// fail if the rate is rounded to one that is just too slow for the burst.
fn limit(
    digits: u64,
    decimals: u32,
    unit: &str,
    count: u64,
    nanos: u64,
    burst: u64,
) -> Option<Pair> {
    let scale = 10_u128.pow(decimals);
    // In this period, in nanoseconds, there are `digits` tokens.
    let period = scale * u128::from(count * nanos);
    let most = u128::from(MAX_RATE / SECOND) * period;
    let least = period.div_ceil(u128::from(MAX_FILL));
    let digits = u128::from(digits).max(least).min(most);
    let burst = u128::from(burst).min(digits * u128::from(MAX_FILL) / period);
    let (whole, fraction) = (digits / scale, digits % scale);
    let mut rate = whole.to_string();
    if decimals > 0 {
        rate += &format!(".{fraction:0width$}", width = decimals as usize);
    }
    rate += &match (unit, count) {
        ("", _) => String::new(),
        (unit, 1) => unit.to_owned(),
        (unit, count) => format!("/{count}{}", &unit[1..]),
    };
    Pair::accepted(&rate, u64::try_from(burst).expect("clamped"))
}

pub fn costs() -> impl Strategy<Value = u64> {
    prop_oneof![3 => any_size(1..=MAX_TOKENS), 2 => 1..=10_u64]
}

pub fn modes() -> impl Strategy<Value = Mode> {
    prop_oneof![
        3 => Just(Mode::Whole),
        2 => Just(Mode::AtMost),
        2 => any_size(0..=1_000_000_000_000).prop_map(Mode::MaxWait),
        1 => Just(Mode::Force),
    ]
}

pub fn same_mode(mode: Mode) -> oracle::Mode {
    match mode {
        Mode::Whole => oracle::Mode::Whole,
        Mode::AtMost => oracle::Mode::AtMost,
        Mode::MaxWait(ms) => oracle::Mode::MaxWait(ms),
        Mode::Force => oracle::Mode::Force,
    }
}

/// Generates no bucket, or one with any level and age: also from the future, in debt, and beyond
/// its burst.
pub fn states(now: u64) -> impl Strategy<Value = Option<State>> {
    let level = (any_size(0..=MAX_TOKENS * UNIT), any::<bool>());
    let age = prop_oneof![
        6 => any_size(0..=now).prop_map(move |age| now - age),
        2 => any_size(0..=u64::MAX - now).prop_map(move |ahead| now + ahead),
    ];
    let there = (age, level).prop_map(|(updated_at, (units, owes))| {
        let units = i64::try_from(units).expect("below 2^62");
        let tokens = if owes { -units } else { units };
        Some(State { updated_at, tokens })
    });
    prop_oneof![1 => Just(None), 15 => there]
}

/// Generates a time, and a bucket at that time.
pub fn moments() -> impl Strategy<Value = (u64, Option<State>)> {
    prop_oneof![3 => Just(TODAY), 1 => any_size(0..=u64::MAX)]
        .prop_flat_map(|now| (Just(now), states(now)))
}
