//! The hints of errors about rates, windows and numbers.

use redis_rl_limits::grammar::bucket;
use redis_rl_limits::grammar::window::Quota;

fn of_rate(rate: &str) -> String {
    let refused = bucket::limit(rate.as_bytes(), b"1").map(|_| ());
    refused.expect_err("a refusal").to_string()
}

fn of_window(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
    let refused = Quota::parse(&words).map(|_| ());
    refused.expect_err("a refusal").to_string()
}

#[test]
fn invalid_rates_get_the_right_hint() {
    for (rate, advice) in [
        ("", "it is empty"),
        ("-1", "it must be above 0"),
        ("x", "it has no number"),
        ("x1", "it must begin with a digit"),
        ("1x", "a period comes after a slash, such as 10/s or 100/15m"),
        ("10month", "a period comes after a slash, such as 10/s or 100/15m"),
        ("10 per 15m", "a period comes after a slash, such as 10/s or 100/15m"),
        ("10 5m", "a period comes after a slash, such as 10/s or 100/15m"),
        ("10m", "a period comes after a slash: write 10/m"),
        ("10rps", "a period comes after a slash: write 10/s"),
        ("10 / s", "a period comes after a slash: write 10/s"),
        ("10rpm", "a period comes after a slash: write 10/m"),
        ("10qph", "a period comes after a slash: write 10/h"),
        ("10/", "the period is missing: s, m, h, d or w, or such as 15m"),
        ("10/5", "the period needs a unit: write 10/5s"),
        ("10/1.5", "the period needs a unit: write 10/1.5s"),
        ("10/1,5m", "a fraction has a point: 1.5h"),
        ("10/0s", "the period is 0"),
        ("10/1.0005s", "a period must be a whole number of milliseconds"),
        ("10,5/s", "write a decimal with a point: 10.5/s"),
        ("1,000/h", "write a number without separators: 1000/h"),
        ("1_000/h", "write a number without separators: 1000/h"),
        ("1_0/h", "write a number without separators: 10/h"),
        ("1 000/h", "write a number without separators: 1000/h"),
        ("1'000/h", "write a number without separators: 1000/h"),
        ("1.000.000/h", "write a number without separators: 1000000/h"),
        ("1,000,000", "write a number without separators: 1000000"),
        ("1,000rpm", "write a number without separators: 1000"),
        ("0,500/s", "write a decimal with a point: 0.500/s"),
        ("10,000.5/s", "write a decimal with a point: 10000.5/s"),
        ("10.000,5/s", "write a decimal with a point: 10000.5/s"),
        ("1,2,3/s", "a period comes after a slash, such as 10/s or 100/15m"),
        ("1.2.3/s", "a period comes after a slash, such as 10/s or 100/15m"),
        ("10k/s", "multiples such as k and M are not accepted: write all digits"),
        ("10K", "multiples such as k and M are not accepted: write all digits"),
        ("1M/h", "multiples such as k and M are not accepted: write all digits"),
        ("1GB/d", "multiples such as k and M are not accepted: write all digits"),
        ("1MiB/s", "multiples such as k and M are not accepted: write all digits"),
        ("10/P1DT2H", "ISO 8601 durations are not accepted: write 1d2h"),
        ("10/P1M", "unknown unit; use ms, s, m, h, d or w"),
        ("10/30m1h", "each unit comes once, from the largest to the smallest, and only the last number may have a fraction: 1h30m"),
        ("10/PT30S", "ISO 8601 durations are not accepted: write 30s"),
        ("10/99999999999999999999s", "a number has at most 19 digits, at least one after a decimal point, and an exponent from -30 to 30"),
        ("0", "it must be above 0; a burst of 0 denies everything"),
        ("0/d", "it must be above 0; a burst of 0 denies everything"),
        ("1e13", "it is above 10^12 tokens a second"),
        ("1e-25", "a token would take over 100 years"),
        ("1e31", "a number has at most 19 digits, at least one after a decimal point, and an exponent from -30 to 30"),
        ("1.", "a number has at most 19 digits, at least one after a decimal point, and an exponent from -30 to 30"),
        ("10/M", "m (minute) and ms must be lower case"),
        ("10/MS", "m (minute) and ms must be lower case"),
        ("10/month", "a month has no fixed length: write 30d, or use RL.WTAKE with MONTH"),
        ("10/mo", "a month has no fixed length: write 30d, or use RL.WTAKE with MONTH"),
        ("10/y", "a year has no fixed length: write 365d, or use RL.WTAKE with YEAR"),
        ("10/years", "a year has no fixed length: write 365d, or use RL.WTAKE with YEAR"),
        ("10/us", "the shortest period is 1ms"),
        ("10/ns", "the shortest period is 1ms"),
        ("10/fortnight", "unknown unit; use ms, s, m, h, d or w"),
        ("10/secnd", "unknown unit; use ms, s, m, h, d or w: did you mean second?"),
        ("10/hous", "unknown unit; use ms, s, m, h, d or w: did you mean hour?"),
        ("10/weekk", "unknown unit; use ms, s, m, h, d or w: did you mean week?"),
        ("10/1 h", "count and unit are written together, without a space: 15m"),
        ("10per hour", "a period comes after a slash: write 10/h"),
        ("10/xy", "unknown unit; use ms, s, m, h, d or w"),
        ("10/abcdefghijklmnop", "unknown unit; use ms, s, m, h, d or w"),
        ("11111111111111111111", "it is above 10^12 tokens a second"),
    ] {
        let expected = format!(
            "rate must be N or N/PERIOD, such as 10, 0.5 or 100/m; got '{}': {advice}",
            rate.replace('\'', "\\'")
        );
        assert_eq!(of_rate(rate), expected);
    }
}

#[test]
fn invalid_windows_get_the_right_hint() {
    for (window, advice) in [
        ("", "it is missing"),
        ("15", "a duration needs a unit: write 15s"),
        ("1.0005s", "a duration must be a whole number of milliseconds"),
        ("1,5h", "a fraction has a point: 1.5h"),
        ("30m1h", "each unit comes once, from the largest to the smallest, and only the last number may have a fraction: 1h30m"),
        ("1h1h", "each unit comes once, from the largest to the smallest, and only the last number may have a fraction: 1h30m"),
        ("P7D", "ISO 8601 durations are not accepted: write 7d"),
        ("P1M", "it is not a known window"),
        ("PT1M30S", "ISO 8601 durations are not accepted: write 1m30s"),
        ("0s", "it must be above 0"),
        ("36526d", "it is over 100 years"),
        ("1e29h", "it is over 100 years"),
        ("1e31s", "a number has at most 19 digits, at least one after a decimal point, and an exponent from -30 to 30"),
        ("m", "a duration needs a count: write 1m"),
        ("h", "HOUR for the calendar hour, 1h for an hour from the first take"),
        ("1x", "unknown unit; use ms, s, m, h, d or w"),
        ("1M", "m (minute) and ms must be lower case"),
        ("1month", "a month has no fixed length: write 30d, or use RL.WTAKE with MONTH"),
        ("1 h", "count and unit are written together, without a space: 15m"),
        ("-1s", "it must be above 0"),
        ("DAYS", "DAY for the calendar day, 1d for 24 hours from the first take"),
        ("weeks", "WEEK for the calendar week, 7d for seven days from the first take"),
        ("MONHT", "did you mean MONTH?"),
        ("SLIDIN", "did you mean SLIDING?"),
        ("DAILY", "did you mean DAY?"),
        ("abc", "it is not a known window"),
        ("1.h", "a number has at most 19 digits, at least one after a decimal point, and an exponent from -30 to 30"),
    ] {
        let expected = format!(
            "window must be a duration such as 15m, SLIDING and a duration, HOUR, DAY, WEEK, \
             MONTH, YEAR, or UNTIL and a time; got '{window}': {advice}"
        );
        assert_eq!(of_window(&["5", window]), expected);
    }
    let after_sliding = of_window(&["5", "SLIDING", "month"]);
    assert!(after_sliding.ends_with("'month': a duration follows SLIDING, such as 24h"));
}

#[test]
fn swapped_limit_and_window_are_explained() {
    for words in [&["1m", "5"][..], &["DAY", "5"], &["sliding", "1m", "5"]] {
        let error = of_window(words);
        assert!(
            error.ends_with("the limit comes first, then the window"),
            "{error}"
        );
    }
    // The key comes first: what follows is not a limit.
    for words in [&["1m", "user:42"][..], &["1m"], &["x", "5"]] {
        let error = of_window(words);
        assert!(
            error.starts_with("limit must be a whole number from 0"),
            "{error}"
        );
    }
}

#[test]
fn swapped_rate_and_burst_are_explained() {
    let burst = |text: &'static str| bucket::limit(b"10", text.as_bytes()).expect_err(text);
    assert_eq!(
        burst("100/m").to_string(),
        "burst must be a whole number; got '100/m': the rate comes first, then the burst, which has no \
         period"
    );
    let too_slow = |burst: &[u8]| {
        bucket::limit(b"1e-10", burst)
            .expect_err("too slow")
            .to_string()
    };
    assert!(too_slow(b"1").ends_with("a bucket that takes over 100 years to fill"));
    assert!(too_slow(b"0").ends_with("a bucket that takes over 100 years to repay one token"));
    assert_eq!(
        burst("x").to_string(),
        "burst must be a whole number from 0 to 10^11; got 'x'"
    );
}

#[test]
fn errors_show_at_most_64_printable_bytes_of_the_input() {
    let shown = |text: &str| {
        let error = of_rate(text);
        let (_, rest) = error.split_once("got '").expect("the input");
        rest.split_once("': ").expect("the advice").0.to_owned()
    };
    assert_eq!(shown(&"x".repeat(64)), "x".repeat(64));
    assert_eq!(shown(&"x".repeat(65)), "x".repeat(64) + "...");
    assert_eq!(shown("x\0\n'\u{e9}"), "x\\x00\\n\\'\\xc3\\xa9");
}
