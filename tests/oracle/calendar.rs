//! The Gregorian calendar as one would write it on paper: a thousand years, day by day.
//!
//! Shares no line with the crate, and no idea: there is no formula here for a date.

#![forbid(unsafe_code)]
#![allow(dead_code)] // Each suite that includes this uses its own part of it.

use std::sync::OnceLock;

pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// The first year that is written down: 1 January was a Monday.
const FIRST_YEAR: i64 = 1601;
/// The first that is not.
const END_YEAR: i64 = 2601;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Hour,
    Day,
    /// The weekday that begins one: 1 Monday to 7 Sunday.
    Week(u32),
    /// The day that begins one, or the month's last if that comes before.
    Month(u32),
    Year,
}

#[derive(Clone, Copy, Debug)]
pub struct Date {
    pub year: i64,
    pub month: u32,
    pub day: u32,
    /// 1 Monday to 7 Sunday.
    pub weekday: u32,
    /// Whether it is the last day of its month.
    pub last: bool,
}

impl Date {
    /// Returns whether this day begins a window.
    fn begins(&self, unit: Unit) -> bool {
        match unit {
            Unit::Hour | Unit::Day => true,
            Unit::Week(weekday) => self.weekday == weekday,
            Unit::Month(anchor) => self.day == anchor || self.last && self.day < anchor,
            Unit::Year => self.month == 1 && self.day == 1,
        }
    }
}

fn length(year: i64, month: u32) -> u32 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

struct Pages {
    dates: Vec<Date>,
    /// The index of 1 January 1970.
    epoch: i64,
}

fn pages() -> &'static Pages {
    static PAGES: OnceLock<Pages> = OnceLock::new();
    PAGES.get_or_init(|| {
        let mut dates = Vec::new();
        let mut epoch = 0;
        let mut weekday = 1;
        for year in FIRST_YEAR..END_YEAR {
            for month in 1..=12 {
                let days = length(year, month);
                for day in 1..=days {
                    if (year, month, day) == (1970, 1, 1) {
                        assert_eq!(weekday, 4, "1 January 1970 was a Thursday");
                        epoch = i64::try_from(dates.len()).unwrap();
                    }
                    let last = day == days;
                    dates.push(Date {
                        year,
                        month,
                        day,
                        weekday,
                        last,
                    });
                    weekday = weekday % 7 + 1;
                }
            }
        }
        Pages { dates, epoch }
    })
}

/// Returns the listed days, in days since 1970.
pub fn days() -> std::ops::Range<i64> {
    let Pages { dates, epoch } = pages();
    -epoch..i64::try_from(dates.len()).unwrap() - epoch
}

pub fn date(day: i64) -> Date {
    let Pages { dates, epoch } = pages();
    dates[usize::try_from(day + epoch).unwrap()]
}

/// Returns the window that contains a millisecond since 1970, `offset` minutes east of UTC.
pub fn window(unit: Unit, offset: i64, instant: i64) -> (i64, i64) {
    let local = instant + offset * MINUTE;
    let today = local.div_euclid(DAY);
    let (start, end) = if unit == Unit::Hour {
        let mut start = today * DAY;
        while start + HOUR <= local {
            start += HOUR;
        }
        (start, start + HOUR)
    } else {
        let mut first = today;
        while !date(first).begins(unit) {
            first -= 1;
        }
        let mut next = today + 1;
        while !date(next).begins(unit) {
            next += 1;
        }
        (first * DAY, next * DAY)
    };
    (start - offset * MINUTE, end - offset * MINUTE)
}

/// Returns all windows of a unit that begin and end among the listed days, in UTC, in days.
pub fn windows(unit: Unit) -> Vec<(i64, i64)> {
    let begins: Vec<i64> = days().filter(|&day| date(day).begins(unit)).collect();
    let pairs = begins.windows(2);
    pairs.map(|pair| (pair[0] * DAY, pair[1] * DAY)).collect()
}
