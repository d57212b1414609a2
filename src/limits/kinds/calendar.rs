//! Calendar windows: the hour, day, week, month or year that contains an instant, in UTC plus an
//! offset. The Gregorian calendar also applies to times before its introduction.
//!
//! An instant is in milliseconds since 1970, negative before; a day is in days since 1970.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "no instant is beyond 2^60, so a few of them add up to less than an i64 holds"
)]

use crate::bounds::{MILLIS_PER_DAY, MILLIS_PER_HOUR, MILLIS_PER_MINUTE};

/// The largest offset in minutes, east or west: 23:59.
pub const MAX_OFFSET: i64 = 24 * 60 - 1;

const HOUR: i64 = MILLIS_PER_HOUR as i64;
const DAY: i64 = MILLIS_PER_DAY as i64;
const MINUTE: i64 = MILLIS_PER_MINUTE as i64;
/// Later than any clock: nanoseconds in 64 bits end in the year 2554, this in the year 36 million.
const LAST_INSTANT: i64 = 1 << 60;

/// Days in the 400 years after which the calendar repeats.
const DAYS_PER_ERA: i64 = 400 * 365 + 97;
const DAYS_PER_YEAR: i64 = 365;
const DAYS_PER_4_YEARS: i64 = 4 * DAYS_PER_YEAR + 1;
const DAYS_PER_CENTURY: i64 = 25 * DAYS_PER_4_YEARS - 1;
/// Days from 1 March of the year 0, where an era begins, to 1970.
const DAYS_TO_1970: i64 = 719_468;
/// Days from Monday to the weekday of 1 January 1970, a Thursday.
const WEEKDAY_OF_1970: i64 = 3;

/// The length of a calendar window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// Seven days that begin on a weekday: 1 (Monday) to 7 (Sunday).
    Week(u8),
    /// A month that begins on a day from 1 to 31, clamped to the month's last day.
    Month(u8),
    /// A year.
    Year,
}

/// A calendar unit with an offset from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    unit: Unit,
    offset: i64,
}

impl Calendar {
    /// Creates a calendar. `offset` is in minutes, positive to the east. Returns `None` if the
    /// offset, the weekday or the day of the month is out of bounds.
    pub fn new(unit: Unit, offset: i64) -> Option<Self> {
        let unit_exists = match unit {
            Unit::Week(weekday) => (1..=7).contains(&weekday),
            Unit::Month(day) => (1..=31).contains(&day),
            Unit::Hour | Unit::Day | Unit::Year => true,
        };
        let offset_exists = (-MAX_OFFSET..=MAX_OFFSET).contains(&offset);
        (unit_exists && offset_exists).then_some(Self { unit, offset })
    }

    /// Returns the window that contains `instant`: its start, and its end, which is the next one's
    /// start.
    pub fn window(&self, instant: i64) -> (i64, i64) {
        let offset = self.offset * MINUTE;
        let local = instant.clamp(-LAST_INSTANT, LAST_INSTANT) + offset;
        let (start, end) = match self.unit {
            Unit::Hour => {
                let start = local - local.rem_euclid(HOUR);
                (start, start + HOUR)
            }
            _ => {
                let (first, next) = self.days(local.div_euclid(DAY));
                (first * DAY, next * DAY)
            }
        };
        (start - offset, end - offset)
    }

    /// Returns the first day of the window that contains `day`, and the first day of the next one.
    fn days(&self, day: i64) -> (i64, i64) {
        match self.unit {
            Unit::Hour | Unit::Day => (day, day + 1),
            Unit::Week(begins_on) => {
                let since_monday = (day + WEEKDAY_OF_1970).rem_euclid(7);
                let first = day - (since_monday - (i64::from(begins_on) - 1)).rem_euclid(7);
                (first, first + 7)
            }
            Unit::Month(anchor) => {
                let month = Month::of(day);
                let first = month.anchored(anchor);
                if day < first {
                    (month.before().anchored(anchor), first)
                } else {
                    (first, month.after().anchored(anchor))
                }
            }
            Unit::Year => {
                let year = Month::of(day).year;
                let january = |year| Month { year, month: 1 }.first_day();
                (january(year), january(year + 1))
            }
        }
    }
}

/// A month of a year.
#[derive(Clone, Copy)]
struct Month {
    year: i64,
    /// 1 for January to 12.
    month: i64,
}

impl Month {
    /// Returns the month that contains a day.
    ///
    /// Years begin in March, so that a leap day is the last day of its year.
    fn of(day: i64) -> Self {
        let day = day + DAYS_TO_1970;
        let era = day.div_euclid(DAYS_PER_ERA);
        let day_of_era = day.rem_euclid(DAYS_PER_ERA);
        // Without `min`, the last day of a leap century or leap year would count as the first of
        // the next.
        let century = (day_of_era / DAYS_PER_CENTURY).min(3);
        let day_of_century = day_of_era - century * DAYS_PER_CENTURY;
        let four_years = day_of_century / DAYS_PER_4_YEARS;
        let day_of_four_years = day_of_century % DAYS_PER_4_YEARS;
        let year_of_four = (day_of_four_years / DAYS_PER_YEAR).min(3);
        let day_of_year = day_of_four_years - year_of_four * DAYS_PER_YEAR;

        let since_march = (5 * day_of_year + 2) / 153;
        let year = 400 * era + 100 * century + 4 * four_years + year_of_four;
        if since_march < 10 {
            let month = since_march + 3;
            Self { year, month }
        } else {
            let (year, month) = (year + 1, since_march - 9);
            Self { year, month }
        }
    }

    /// Returns the next month. Month 13 is the following January, whose days are also counted from
    /// the previous March.
    fn after(self) -> Self {
        Self {
            month: self.month + 1,
            ..self
        }
    }

    fn before(self) -> Self {
        match self.month {
            1 => Self {
                year: self.year - 1,
                month: 12,
            },
            _ => Self {
                month: self.month - 1,
                ..self
            },
        }
    }

    fn first_day(self) -> i64 {
        let (year, since_march) = match self.month {
            1 | 2 => (self.year - 1, self.month + 9),
            _ => (self.year, self.month - 3),
        };
        let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        year * DAYS_PER_YEAR + leap_days + days_before(since_march) - DAYS_TO_1970
    }

    /// Returns the day with number `anchor`, or the month's last day if the month is shorter.
    fn anchored(self, anchor: u8) -> i64 {
        let first = self.first_day();
        let last = self.after().first_day() - 1;
        (first + i64::from(anchor) - 1).min(last)
    }
}

/// Returns the days from 1 March to the first day of the month that comes `since_march` months
/// later. From March on, every five months have 31, 30, 31, 30 and 31 days: 153.
fn days_before(since_march: i64) -> i64 {
    (153 * since_march + 2) / 5
}
