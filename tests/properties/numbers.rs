//! Whole numbers, as people and programs write them.

use redis_rl_limits::decimal::Decimal;
use redis_rl_limits::grammar::calendar::CalendarUnit;
use redis_rl_limits::grammar::number::{integer, plain_integer};
use redis_rl_limits::grammar::parameter::Parameter;

/// The largest burst, cost and limit.
const MAX: u64 = 100_000_000_000;

#[test]
fn integers_are_parsed_in_every_form() {
    for (text, value) in [
        ("0", Some(0)),
        ("007", Some(7)),
        ("150", Some(150)),
        ("1e2", Some(100)),
        ("150e-1", Some(15)),
        ("1500e-2", Some(15)),
        ("1.50e2", Some(150)),
        ("100.0", Some(100)),
        ("0e9", Some(0)),
        ("0.0", Some(0)),
        ("1000000000000000000e-18", Some(1)),
        ("9999999999999999999", Some(9_999_999_999_999_999_999)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("99999999999999999999", None),
        ("1.5", None),
        ("15e-1", None),
        ("1e20", None),
        ("", None),
        ("x", None),
        ("1x", None),
        ("-1", None),
    ] {
        assert_eq!(integer(text.as_bytes(), 0..=u64::MAX), value, "{text}");
    }
    for (text, inside) in [
        ("4", false),
        ("5", true),
        ("9", true),
        ("10", false),
        ("1e1", false),
    ] {
        assert_eq!(integer(text.as_bytes(), 5..=9).is_some(), inside, "{text}");
    }
}

#[test]
fn plain_integer_accepts_digits_only() {
    for (text, value) in [
        ("5", Some(5)),
        ("0009", Some(9)),
        ("4", None),
        ("10", None),
        ("5x", None),
        ("5.0", None),
        ("+5", None),
        ("", None),
    ] {
        assert_eq!(plain_integer(text.as_bytes(), 5..=9), value, "{text}");
    }
}

#[test]
fn trailing_zeros_move_to_the_exponent() {
    let reduced = |mantissa, exponent| {
        let Decimal { mantissa, exponent } = Decimal { mantissa, exponent }.reduced();
        (mantissa, exponent)
    };
    assert_eq!(reduced(15_000, -2), (15, 1));
    assert_eq!(reduced(15, 3), (15, 3));
    assert_eq!(reduced(10_000_000_000_000_000_000, 0), (1, 19));
    assert_eq!(reduced(0, 0).0, 0);
}

#[test]
fn rejected_numbers_name_the_accepted_range() {
    let anchor = |unit: &[u8]| {
        let unit = CalendarUnit::named(unit).expect("a unit");
        &unit.anchor.expect("an anchor").parameter
    };
    for (parameter, from, to, told) in [
        (
            Parameter::BURST,
            0,
            MAX,
            "burst must be a whole number from 0 to 10^11",
        ),
        (
            Parameter::COST,
            0,
            MAX,
            "COST must be a whole number from 0 to 10^11",
        ),
        (
            Parameter::KEEP,
            0,
            MAX,
            "KEEP must be a whole number from 0 to 10^11",
        ),
        (
            Parameter::MAX_WAIT,
            0,
            10 * MAX,
            "MAXWAIT must be a whole number from 0 to 10^12 milliseconds",
        ),
        (
            Parameter::LIMIT,
            0,
            MAX,
            "limit must be a whole number from 0 to 10^11",
        ),
        (
            anchor(b"WEEK"),
            1,
            7,
            "ANCHOR of a WEEK must be a whole number from 1 to 7, Monday to Sunday",
        ),
        (
            anchor(b"MONTH"),
            1,
            31,
            "ANCHOR of a MONTH must be a whole number from 1 to 31",
        ),
        (
            Parameter::SLOTS,
            0,
            100_000,
            "limit must be a whole number from 0 to 100000",
        ),
        (
            Parameter::COUNT,
            1,
            100_000,
            "COUNT must be a whole number from 1 to 100000",
        ),
    ] {
        assert_eq!(parameter.accepted(), from..=to, "{told}");
        let error = parameter.integer(b"x").expect_err(told).to_string();
        assert_eq!(error, format!("{told}; got 'x'"));
    }
}
