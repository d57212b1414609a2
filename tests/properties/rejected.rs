//! Texts that the grammar must reject, and the parameter that each error names; and the values of
//! rates in every notation.

use redis_rl_limits::grammar::bucket;
use redis_rl_limits::grammar::options::{OptionName, Options};
use redis_rl_limits::grammar::parameter::Parameter;
use redis_rl_limits::grammar::window::Quota;

use crate::wrong::{NO_COUNTS, NO_NUMBERS, NO_RATES, ZEROS};

const DAY_MS: u128 = 86_400_000;

fn words(text: &str) -> Vec<&[u8]> {
    text.split_whitespace().map(str::as_bytes).collect()
}

fn options_error(text: &'static str, accepted: &'static [OptionName]) -> String {
    let words = words(text);
    Options::parse(&words, accepted)
        .expect_err(text)
        .to_string()
}

fn window_error(words: &[&[u8]]) -> String {
    let rest = match Quota::parse(words) {
        Ok((_, rest)) => rest,
        Err(error) => return error.to_string(),
    };
    let error = Options::parse(rest, &[OptionName::Cost]).expect_err("an error");
    error.to_string()
}

#[test]
fn invalid_rates_are_rejected() {
    for rate in NO_NUMBERS.iter().chain(&NO_RATES).chain(&ZEROS) {
        let error = bucket::limit(rate, b"5").expect_err("a rate");
        assert!(matches!(error, bucket::Error::Rate(_)), "{error}");
    }
    for unit in [
        "M", "MS", "Ms", "mS", "month", "months", "mss", "ss", "hs", "ds", "ws", "y", "us", "ns",
    ] {
        let rate = format!("1/{unit}");
        let error = bucket::limit(rate.as_bytes(), b"5").expect_err(unit);
        assert!(matches!(error, bucket::Error::Rate(_)), "{error}");
    }
}

#[test]
fn invalid_integers_are_rejected() {
    for parameter in [
        Parameter::BURST,
        Parameter::LIMIT,
        Parameter::COST,
        Parameter::KEEP,
        Parameter::MAX_WAIT,
        Parameter::AT,
        Parameter::UNTIL,
        Parameter::SLOTS,
        Parameter::COUNT,
    ] {
        for text in NO_NUMBERS {
            parameter.integer(text).expect_err("a number");
        }
    }
    for parameter in [
        Parameter::BURST,
        Parameter::LIMIT,
        Parameter::COST,
        Parameter::KEEP,
    ] {
        for text in NO_COUNTS {
            parameter.integer(text).expect_err("a number");
        }
    }
}

#[test]
fn unknown_repeated_and_conflicting_options_are_rejected() {
    const TAKE: &[OptionName] = &[
        OptionName::Cost,
        OptionName::Keep,
        OptionName::AtMost,
        OptionName::MaxWait,
        OptionName::Force,
    ];
    for (options, mention) in [
        ("COST", "COST"),
        ("1", "'1'"),
        ("FOO", "'FOO'"),
        ("COST 1 FOO", "'FOO'"),
        ("COST 1 COST", "COST"),
        ("COST 1 cost 1", "twice"),
        ("MAXWAIT", "MAXWAIT"),
        ("COST 1 MAXWAIT", "MAXWAIT"),
        ("ATMOST ATMOST", "twice"),
        ("FORCE force", "twice"),
        ("MAXWAIT 1 MAXWAIT 2", "twice"),
        ("ATMOST FORCE", "'FORCE'"),
        ("FORCE COST 1 ATMOST", "'ATMOST'"),
        ("MAXWAIT 1 ATMOST", "'ATMOST'"),
        ("FORCE MAXWAIT 1", "'MAXWAIT'"),
        ("KEEP", "KEEP"),
        ("KEEP 1 keep 1", "twice"),
        ("KEEP 1 FORCE", "KEEP"),
        ("FORCE KEEP 1", "KEEP"),
        ("MAXWAIT 1 KEEP 1", "KEEP"),
    ] {
        let error = options_error(options, TAKE);
        assert!(error.starts_with("syntax error: "), "{error}");
        assert!(error.contains(mention), "{options}: {error}");
    }
    for option in [
        "ATMOST",
        "FORCE",
        "KEEP 1",
        "MAXWAIT 1",
        "AT 1",
        "ONCE",
        "COUNT 1",
    ] {
        let error = options_error(option, &[OptionName::Cost]);
        assert!(error.ends_with("; accepted: COST n"), "{error}");
    }
    for text in [b"".as_slice(), b"\xff\0"] {
        Options::parse(&[text], TAKE).expect_err("an option");
    }
}

#[test]
fn invalid_windows_are_rejected() {
    let wrong: [&[u8]; 46] = [
        b"",
        b" ",
        b"0",
        b"1",
        b"15",
        b"m",
        b"h",
        b"s",
        b"0s",
        b"0ms",
        b"-1s",
        b"+1s",
        b"1.0005s",
        b"15e-5s",
        b"1m1h",
        b"PT30S",
        b"1 h",
        b"1h ",
        b" 1h",
        b"1h\0",
        b"1/h",
        b"100/m",
        b"1M",
        b"1MS",
        b"1us",
        b"1month",
        b"1mo",
        b"1y",
        b"1year",
        b"36526d",
        b"5218w",
        b"3155760000001ms",
        b"99999999999999999999h",
        b"1e31s",
        b"DAYS",
        b"DAILY",
        b"MINUTE",
        b"SECOND",
        b"QUARTER",
        b"MONTHLY",
        b"SLIDE",
        b"AT",
        b"OFFSET",
        b"COST",
        b"\xff\xfe",
        b"1\xd0\xb4",
    ];
    for window in wrong {
        let error = window_error(&[b"5", window]);
        assert!(error.starts_with("window must be "), "{error}");
        let error = window_error(&[b"5", b"SLIDING", window]);
        assert!(error.starts_with("window must be "), "{error}");
    }
    for calendar in ["DAY", "hour", "MONTH", "SLIDING", "UNTIL"] {
        let error = window_error(&[b"5", b"SLIDING", calendar.as_bytes()]);
        assert!(error.starts_with("window must be "), "{error}");
    }
    for valueless in [
        "SLIDING",
        "UNTIL",
        "DAY OFFSET",
        "WEEK ANCHOR",
        "WEEK ANCHOR 2 offset",
    ] {
        let error = window_error(&words(&format!("5 {valueless}")));
        assert!(error.starts_with("syntax error: "), "{error}");
    }
}

#[test]
fn invalid_offsets_and_anchors_are_rejected() {
    let wrong: [&[u8]; 22] = [
        b"",
        b"0",
        b"+2",
        b"2:00",
        b"02:00",
        b"+2:00",
        b"+0200",
        b"+02",
        b"+24:00",
        b"-24:00",
        b"+23:60",
        b"+99:99",
        b"++1:00",
        b"+-1:00",
        b"+1 :00",
        b"+02:00 ",
        b"+02.00",
        b"UTC",
        b"Z",
        b"Europe/Berlin",
        b"+\xff\xff:00",
        b"\xe2\x88\x9202:00",
    ];
    for text in wrong {
        for unit in [b"HOUR".as_slice(), b"DAY", b"week", b"MONTH", b"YEAR"] {
            let error = window_error(&[b"5", unit, b"OFFSET", text]);
            assert!(error.starts_with("OFFSET must be from "), "{error}");
        }
    }
    for text in NO_NUMBERS
        .iter()
        .chain(&[b"0".as_slice(), b"32", b"monday", b"1.5"])
    {
        let error = window_error(&[b"5", b"WEEK", b"ANCHOR", text]);
        assert!(error.starts_with("ANCHOR of a WEEK must be "), "{error}");
        let error = window_error(&[b"5", b"MONTH", b"anchor", text]);
        assert!(error.starts_with("ANCHOR of a MONTH must be "), "{error}");
    }
    for repeated in [
        "5 DAY OFFSET +01:00 OFFSET +01:00",
        "5 WEEK ANCHOR 1 ANCHOR 2",
        "5 MONTH ANCHOR 1 OFFSET +01:00 anchor 1",
    ] {
        let error = window_error(&words(repeated));
        assert!(error.ends_with("is given twice"), "{error}");
    }
    for late in [
        "5 DAY COST 1 OFFSET +01:00",
        "5 MONTH COST 1 ANCHOR 2",
        "5 1h OFFSET +01:00",
        "5 SLIDING 1h ANCHOR 1",
        "5 UNTIL 2000000000000 OFFSET +01:00",
    ] {
        let error = window_error(&words(late));
        let place = "comes directly after HOUR, DAY, WEEK, MONTH or YEAR";
        assert!(error.ends_with(place), "{late}: {error}");
    }
}

#[test]
fn errors_show_at_most_64_bytes_of_the_input() {
    let long = [b'~'; 10_000];
    let places: [&[&[u8]]; 8] = [
        &[&long, b"1h"],
        &[b"5", &long],
        &[b"5", b"SLIDING", &long],
        &[b"5", b"UNTIL", &long],
        &[b"5", b"DAY", b"OFFSET", &long],
        &[b"5", b"WEEK", b"ANCHOR", &long],
        &[b"5", b"DAY", &long],
        &[b"5", b"DAY", b"COST", &long],
    ];
    for words in places {
        let error = window_error(words);
        assert_eq!(error.matches('~').count(), 64, "{error}");
    }
    for (rate, burst) in [(long.as_slice(), b"5".as_slice()), (b"1", &long)] {
        let error = bucket::limit(rate, burst)
            .expect_err("no limit")
            .to_string();
        assert_eq!(error.matches('~').count(), 64, "{error}");
    }
    let error = bucket::limit(&[0xff; 10_000], b"5")
        .expect_err("no rate")
        .to_string();
    assert_eq!(error.matches(r"\xff").count(), 64, "{error}");
}

/// The time in which one token refills.
fn millis_per_token(rate: &str) -> u128 {
    let limit = bucket::limit(rate.as_bytes(), b"1").expect(rate);
    limit.fill_time().as_nanos().div_ceil(1_000_000)
}

#[test]
fn rate_in_scientific_notation_has_its_value() {
    for (rate, millis) in [
        ("1.1574074074074075e-4", 8_640_000),
        ("0.00011574074074074075", 8_640_000),
        ("1.1574074074074073e-05", DAY_MS),
        ("1e-05", 100_000_000),
        ("1e-5", 100_000_000),
        ("1E-5", 100_000_000),
        ("1e1", 100),
        ("1e+1", 100),
        ("1.0E1", 100),
        ("0.1e2", 100),
        ("100e-1", 100),
        ("5e-1/m", 120_000),
        ("1e3/h", 3_600),
        ("1/1e3ms", 1_000),
        ("2/1e1s", 5_000),
        ("1/1.5e1m", 900_000),
        ("1e0/1E0d", DAY_MS),
        ("1e12", 1),
    ] {
        // A rate with many digits may lose one part in a million.
        let accepted = millis..=millis + millis / 1_000_000 + 1;
        assert!(accepted.contains(&millis_per_token(rate)), "{rate}");
    }
    let error = bucket::limit(b"1e-30/1e-0s", b"5").expect_err("too slow");
    assert!(error.to_string().contains("over 100 years"), "{error}");
}

#[test]
fn long_unit_names_are_accepted() {
    for (units, millis) in [
        ("ms", 1),
        ("s sec secs second seconds S SEC Seconds", 1_000),
        ("m min mins minute minutes MIN Minute", 60_000),
        ("h hr hrs hour hours H HOUR", 3_600_000),
        ("d day days D Days", DAY_MS),
        ("w week weeks W WEEKS", 7 * DAY_MS),
    ] {
        for unit in units.split(' ') {
            assert_eq!(millis_per_token(&format!("1/{unit}")), millis, "{unit}");
            assert_eq!(
                millis_per_token(&format!("1/3{unit}")),
                3 * millis,
                "{unit}"
            );
        }
    }
}
