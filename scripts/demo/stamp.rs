//! The time as RFC 3339 writes it.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;

/// Now, in UTC to the second.
pub fn now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    of(now.unwrap_or_default().as_secs())
}

/// So many seconds after 1970.
fn of(seconds: u64) -> String {
    let (year, month, day) = date(seconds / DAY);
    let (hour, minute, second) = (seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00")
}

/// Year, month and day, so many days after 1970-01-01.
///
/// Counts in years that begin in March, so that the leap day is a year's last: then month `m` of
/// the year begins on day (153 m + 2) / 5.
fn date(days: u64) -> (u64, u64, u64) {
    // Days since the first of March of the year 0; 400 years have 146 097.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, turned) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (400 * era + year + turned, month, day)
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn every_day_of_four_centuries_matches_another_library() {
        for day in 0..=146_097 {
            let seconds = day * super::DAY + day % super::DAY;
            let told = jiff::Timestamp::from_second(seconds.cast_signed());
            let told = told.expect("a time").strftime("%Y-%m-%dT%H:%M:%S+00:00");
            assert_eq!(of(seconds), told.to_string());
        }
    }
}
