//! W2: the windows of the calendar tile time, and begin and end where a calendar on paper says.

use proptest::prelude::*;
use redis_rl_limits::kinds::calendar::{Calendar, Unit, MAX_OFFSET};

use crate::calendar::{self, DAY, HOUR, MINUTE};
use crate::cases::{config, offsets, units};

/// Converts the oracle's unit to the crate's.
fn same(unit: calendar::Unit) -> Unit {
    let day = |n: u32| u8::try_from(n).unwrap();
    match unit {
        calendar::Unit::Hour => Unit::Hour,
        calendar::Unit::Day => Unit::Day,
        calendar::Unit::Week(weekday) => Unit::Week(day(weekday)),
        calendar::Unit::Month(anchor) => Unit::Month(day(anchor)),
        calendar::Unit::Year => Unit::Year,
    }
}

fn real(unit: calendar::Unit, offset: i64) -> Calendar {
    Calendar::new(same(unit), offset).expect("a calendar")
}

/// Checks every window of a thousand years, from its first and last millisecond and from the first
/// of each of its days.
fn every_window(unit: calendar::Unit, offset: i64) {
    let real = real(unit, offset);
    for (start, end) in calendar::windows(unit) {
        let window = (start - offset * MINUTE, end - offset * MINUTE);
        assert_eq!(real.window(window.1 - 1), window, "{unit:?} {offset}");
        let mut instant = window.0;
        while instant < window.1 {
            assert_eq!(real.window(instant), window, "{unit:?} {offset}");
            instant += DAY;
        }
    }
}

const OFFSETS: [i64; 6] = [0, 120, 330, -360, MAX_OFFSET, -MAX_OFFSET];

#[test]
fn every_day_week_and_year_from_1601_to_2600() {
    for offset in OFFSETS {
        every_window(calendar::Unit::Day, offset);
        every_window(calendar::Unit::Year, offset);
        for weekday in 1..=7 {
            every_window(calendar::Unit::Week(weekday), offset);
        }
    }
}

#[test]
fn every_month_from_1601_to_2600_with_every_anchor() {
    for anchor in 1..=31 {
        for offset in OFFSETS {
            every_window(calendar::Unit::Month(anchor), offset);
        }
    }
}

/// All others equal one of these, shifted by some hours.
#[test]
fn every_offset_in_the_month_around_a_leap_day() {
    let (first, last) = (1_582_588_800_000, 1_583_193_600_000);
    for offset in -MAX_OFFSET..=MAX_OFFSET {
        for unit in [
            calendar::Unit::Hour,
            calendar::Unit::Day,
            calendar::Unit::Week(1),
            calendar::Unit::Month(29),
        ] {
            let mut instant = first;
            while instant < last {
                let expected = calendar::window(unit, offset, instant);
                assert_eq!(
                    real(unit, offset).window(instant),
                    expected,
                    "{unit:?} {offset}"
                );
                instant += 7 * HOUR + 13 * MINUTE + 7;
            }
        }
    }
}

#[test]
fn a_month_from_the_31st_on_begins_on_the_last_day_of_shorter_months() {
    let month = Calendar::new(Unit::Month(31), 0).expect("a calendar");
    let day = |day: i64| day * DAY;
    // 2024, a leap year, from 31 January on: 29 February, 31 March, 30 April.
    let (january, february, march, april) = (day(19_753), day(19_782), day(19_813), day(19_843));
    assert_eq!(month.window(january), (january, february));
    assert_eq!(month.window(february - 1), (january, february));
    assert_eq!(month.window(february), (february, march));
    assert_eq!(month.window(march), (march, april));
}

#[test]
fn calendar_rejects_values_out_of_bounds() {
    for unit in [
        Unit::Week(0),
        Unit::Week(8),
        Unit::Month(0),
        Unit::Month(32),
    ] {
        assert_eq!(Calendar::new(unit, 0), None);
    }
    assert_eq!(MAX_OFFSET, 23 * 60 + 59);
    for offset in [-MAX_OFFSET - 1, MAX_OFFSET + 1, i64::MIN, i64::MAX] {
        assert_eq!(Calendar::new(Unit::Day, offset), None);
    }
}

/// Generates times from the first to the last listed millisecond, minus a year.
fn instants() -> impl Strategy<Value = i64> {
    let days = calendar::days();
    (days.start + 400) * DAY..(days.end - 400) * DAY
}

proptest! {
    #![proptest_config(config(20_000))]

    #[test]
    fn calendar_windows_match_the_listed_days(
        unit in units(),
        offset in offsets(),
        instant in instants(),
    ) {
        let (start, end) = real(unit, offset).window(instant);
        prop_assert_eq!((start, end), calendar::window(unit, offset, instant));
        prop_assert!(start <= instant && instant < end);
        prop_assert_eq!(real(unit, offset).window(end).0, end);
        prop_assert_eq!(real(unit, offset).window(start - 1).1, start);
    }

    /// The calendar repeats after 400 years, also outside the listed days.
    #[test]
    fn every_instant_of_a_million_years_is_in_one_window(
        unit in units(),
        offset in offsets(),
        instant in -30_000_000_000_000_000..30_000_000_000_000_000_i64,
    ) {
        const ERA: i64 = 146_097 * DAY;
        let (start, end) = real(unit, offset).window(instant);
        prop_assert!(start <= instant && instant < end);
        let eras = instant.div_euclid(ERA);
        let moved = |instant| instant - eras * ERA;
        let expected = (moved(start), moved(end));
        prop_assert_eq!(calendar::window(unit, offset, moved(instant)), expected);
    }

    #[test]
    fn no_instant_panics_or_overflows(unit in units(), offset in offsets(), instant: i64) {
        let (start, end) = real(unit, offset).window(instant);
        prop_assert!(start < end);
    }
}
