//! `limit window…` in all forms, and the errors.

use crate::calendar::Unit;
use crate::named::{prefix, quota, Pair};
use crate::oracle::{Named, MAX_LENGTH};

#[test]
fn windows_are_parsed_in_every_form() {
    let day = |offset| Named::Calendar(Unit::Day, offset);
    for (text, named) in [
        ("10 15m", Named::For(900_000)),
        ("10 24h", Named::For(86_400_000)),
        ("10 1DAY", Named::For(86_400_000)),
        ("10 2weeks", Named::For(14 * 86_400_000)),
        ("10 1m0s", Named::For(60_000)),
        ("10 1h30m", Named::For(5_400_000)),
        ("10 1h0m0s", Named::For(3_600_000)),
        ("10 1.5h", Named::For(5_400_000)),
        ("10 SLIDING 1m30.5s", Named::Sliding(90_500)),
        ("1e1 1ms", Named::For(1)),
        ("10 36525d", Named::For(MAX_LENGTH)),
        ("10 SLIDING 1m", Named::Sliding(60_000)),
        ("10 sliding 1m", Named::Sliding(60_000)),
        ("10 HOUR", Named::Calendar(Unit::Hour, 0)),
        ("10 day", day(0)),
        ("10 Day OFFSET +02:00", day(120)),
        ("10 DAY offset -06:00", day(-360)),
        ("10 DAY OFFSET +23:59", day(1439)),
        ("10 DAY OFFSET -23:59", day(-1439)),
        ("10 DAY OFFSET -00:00", day(0)),
        ("10 WEEK", Named::Calendar(Unit::Week(1), 0)),
        ("10 WEEK ANCHOR 7", Named::Calendar(Unit::Week(7), 0)),
        ("10 MONTH", Named::Calendar(Unit::Month(1), 0)),
        (
            "10 MONTH ANCHOR 31 OFFSET +05:30",
            Named::Calendar(Unit::Month(31), 330),
        ),
        (
            "10 month offset +05:30 anchor 31",
            Named::Calendar(Unit::Month(31), 330),
        ),
        ("10 YEAR OFFSET +01:00", Named::Calendar(Unit::Year, 60)),
        ("10 UNTIL 1795000000000", Named::Until(1_795_000_000_000)),
        ("10 until 1795000000000", Named::Until(1_795_000_000_000)),
    ] {
        assert_eq!(quota(text), Ok(Pair::new(10, named).quota), "{text}");
    }
}

#[test]
fn options_after_a_window_are_returned() {
    for (text, left) in [
        ("10 1m COST 2", 2),
        ("10 SLIDING 1m ATMOST", 1),
        ("10 DAY OFFSET +02:00 KEEP 3 ATMOST", 3),
        ("10 MONTH COST 2 OFFSET +02:00", 4),
        ("10 UNTIL 5 FORCE", 1),
        ("10 1m OFFSET +02:00", 2),
        ("10 SLIDING 1d ANCHOR 1", 2),
    ] {
        assert_eq!(prefix(text).map(|(_, rest)| rest), Ok(left), "{text}");
    }
}

const WINDOWS: &str = "window must be a duration such as 15m, SLIDING and a duration, HOUR, \
                       DAY, WEEK, MONTH, YEAR, or UNTIL and a time; got ";

#[test]
fn invalid_windows_are_rejected_with_a_hint() {
    for (text, advice) in [
        ("10", "'': it is missing"),
        ("10 15", "'15': a duration needs a unit: write 15s"),
        ("10 SLIDING m", "'m': a duration needs a count: write 1m"),
        (
            "10 PT30S",
            "'PT30S': ISO 8601 durations are not accepted: write 30s",
        ),
        (
            "10 PT1H30M",
            "'PT1H30M': ISO 8601 durations are not accepted: write 1h30m",
        ),
        ("10 s", "'s': a duration needs a count: write 1s"),
        ("10 0m", "'0m': it must be above 0"),
        ("10 36526d", "'36526d': it is over 100 years"),
        (
            "10 1.0005s",
            "'1.0005s': a duration must be a whole number of milliseconds",
        ),
        ("10 15M", "'15M': m (minute) and ms must be lower case"),
        (
            "10 1month",
            "'1month': a month has no fixed length: write 30d, or use RL.WTAKE with MONTH",
        ),
        (
            "10 DAYS",
            "'DAYS': DAY for the calendar day, 1d for 24 hours from the first take",
        ),
        ("10 MONTHS", "'MONTHS': did you mean MONTH?"),
        ("10 slide", "'slide': it is not a known window"),
        ("10 -5m", "'-5m': it must be above 0"),
        (
            "10 SLIDING DAY",
            "'DAY': a duration follows SLIDING, such as 24h",
        ),
    ] {
        assert_eq!(quota(text), Err(format!("{WINDOWS}{advice}")), "{text}");
    }
}

#[test]
fn other_invalid_arguments_are_rejected() {
    for (text, error) in [
        ("", "limit must be a whole number from 0 to 10^11; got ''"),
        (
            "x 1m",
            "limit must be a whole number from 0 to 10^11; got 'x'",
        ),
        (
            "-1 1m",
            "limit must be a whole number from 0 to 10^11; got '-1'",
        ),
        (
            "100000000001 1m",
            "limit must be a whole number from 0 to 10^11; got '100000000001'",
        ),
        ("10 SLIDING", "syntax error: option 'SLIDING' needs a value"),
        ("10 UNTIL", "syntax error: option 'UNTIL' needs a value"),
        (
            "10 DAY OFFSET",
            "syntax error: option 'OFFSET' needs a value",
        ),
        (
            "10 WEEK ANCHOR",
            "syntax error: option 'ANCHOR' needs a value",
        ),
        (
            "10 DAY OFFSET +02:00 OFFSET +02:00",
            "syntax error: option 'OFFSET' is given twice",
        ),
        (
            "10 WEEK ANCHOR 1 OFFSET +02:00 anchor 1",
            "syntax error: option 'anchor' is given twice",
        ),
        (
            "10 DAY ANCHOR 1",
            "ANCHOR goes with WEEK and MONTH, not with 'DAY'",
        ),
        (
            "10 WEEK ANCHOR 8",
            "ANCHOR of a WEEK must be a whole number from 1 to 7, Monday to Sunday; got '8'",
        ),
        (
            "10 MONTH ANCHOR 32",
            "ANCHOR of a MONTH must be a whole number from 1 to 31; got '32'",
        ),
        (
            "10 MONTH ANCHOR 0",
            "ANCHOR of a MONTH must be a whole number from 1 to 31; got '0'",
        ),
        (
            "10 UNTIL soon",
            "UNTIL must be a whole number from 0 to 9223372036854775807, in milliseconds \
             since 1970; got 'soon'",
        ),
    ] {
        assert_eq!(quota(text), Err(error.to_owned()), "{text}");
    }
}

#[test]
fn an_offset_has_a_sign_and_two_digits_each() {
    for offset in [
        "2",
        "+2",
        "+2:00",
        "02:00",
        "+0200",
        "+02",
        "+24:00",
        "+01:60",
        "+02:0",
        "+02:000",
        "UTC",
        "+-1:00",
        "+1e:00",
        "Europe/Vienna",
        "",
    ] {
        let words: [&[u8]; 4] = [b"10", b"DAY", b"OFFSET", offset.as_bytes()];
        let error = redis_rl_limits::grammar::window::Quota::parse(&words).expect_err(offset);
        let hint = match offset {
            "UTC" | "+1e:00" | "Europe/Vienna" => {
                ": names of zones are not accepted; for one with daylight saving, compute its next \
                 midnight and write UNTIL instead"
            }
            _ => "",
        };
        let expected = format!(
            "OFFSET must be from -23:59 to +23:59, with a sign and two digits each, such as \
             +02:00; got '{offset}'{hint}"
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn until_in_another_unit_gets_its_hint() {
    use redis_rl_limits::kinds::error::Error;
    let now = 1_795_000_000_000;
    let told = |end| Error::Until { end, now }.to_string();
    let must = "UNTIL must be later than now and at most 100 years ahead, in milliseconds since \
                1970; got ";
    for (end, advice) in [
        (1_795_000_060, "1795000060: that looks like seconds"),
        (
            1_795_000_060_000_000,
            "1795000060000000: that looks like microseconds",
        ),
        (
            1_795_000_060_000_000_000,
            "1795000060000000000: that looks like nanoseconds",
        ),
        (1_795_000_000, "1795000000: now is 1795000000000"),
        (1_794_999_999_999, "1794999999999: now is 1795000000000"),
        (5_000_000_000_000, "5000000000000: that is too far ahead"),
    ] {
        assert_eq!(told(end), format!("{must}{advice}"));
    }
}

#[test]
fn options_of_a_refund_and_a_take() {
    use redis_rl_limits::grammar::options::{OptionName, Options};
    const TAKE: &[OptionName] = &[
        OptionName::Cost,
        OptionName::Keep,
        OptionName::AtMost,
        OptionName::Force,
    ];
    const GIVE: &[OptionName] = &[OptionName::Cost, OptionName::At];
    let parse = |text: &'static str, accepted| {
        let words: Vec<&[u8]> = text.split_whitespace().map(str::as_bytes).collect();
        Options::parse(&words, accepted).map_err(|error| error.to_string())
    };
    let give = parse("AT 1795000000000 COST 3", GIVE).expect("options");
    assert_eq!((give.cost(), give.taken_at()), (3, Some(1_795_000_000_000)));
    assert_eq!(parse("", GIVE).expect("options").taken_at(), None);
    for (text, accepted, error) in [
        (
            "AT 5",
            TAKE,
            "syntax error: unknown option 'AT'; accepted: COST n, KEEP n, ATMOST, FORCE",
        ),
        ("AT", GIVE, "syntax error: option 'AT' needs a value"),
        (
            "AT 1795000000000 AT 1795000000000",
            GIVE,
            "syntax error: option 'AT' is given twice",
        ),
        (
            "AT now",
            GIVE,
            "AT must be a whole number from 10^11 to 10^14, in milliseconds since 1970; \
             got 'now'",
        ),
        (
            "OFFSET +02:00",
            TAKE,
            "syntax error: 'OFFSET' comes directly after HOUR, DAY, WEEK, MONTH or YEAR",
        ),
    ] {
        assert_eq!(parse(text, accepted), Err(error.to_owned()), "{text}");
    }
}

#[test]
fn excess_force_error_names_the_bound() {
    let error = redis_rl_limits::kinds::error::Error::Used.to_string();
    assert_eq!(error, "COST would raise the window's usage above 2*10^11");
}

#[test]
fn stored_window_of_length_zero_is_not_a_window() {
    use redis_rl_limits::kinds::decision::State as _;
    use redis_rl_limits::kinds::window::Window;
    let bytes = |start: i64, end: i64| {
        let words = [start, end, 1].map(i64::to_le_bytes).concat();
        [vec![0xF8], words].concat()
    };
    assert!(Window::from_bytes(&bytes(5, 6)).is_some());
    assert!(Window::from_bytes(&bytes(5, 5)).is_none());
    assert!(Window::from_bytes(&bytes(6, 5)).is_none());
}
