//! Whole numbers, as people and programs write them.

use redis_rl_limits::grammar::error::{Error, Parameter};
use redis_rl_limits::grammar::number::{integer, plain_integer, Decimal};

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
    for (parameter, from, to, told) in [
        (Parameter::Burst, 0, MAX, "burst must be a whole number from 0 to 10^11"),
        (Parameter::Cost, 1, MAX, "COST must be a whole number from 1 to 10^11"),
        (Parameter::Keep, 1, MAX, "KEEP must be a whole number from 1 to 10^11"),
        (Parameter::MaxWait, 0, 10 * MAX, "MAXWAIT must be a whole number from 0 to 10^12 milliseconds"),
        (Parameter::Limit, 0, MAX, "limit must be a whole number from 0 to 10^11"),
        (Parameter::Weekday, 1, 7, "ANCHOR of a WEEK must be a whole number from 1 to 7, Monday to Sunday"),
        (Parameter::MonthDay, 1, 31, "ANCHOR of a MONTH must be a whole number from 1 to 31"),
        (
            Parameter::NumKeys,
            1,
            128,
            "numkeys must be a whole number from 1 to 128, in plain digits, followed by as many keys",
        ),
        (Parameter::MaxBurst, 0, MAX - 1, "max_burst must be a whole number from 0 to 10^11 - 1"),
        (Parameter::Count, 1, 10_u64.pow(18), "count must be a whole number from 1 to 10^18"),
        (Parameter::Period, 1, 10_u64.pow(9), "period must be a whole number from 1 to 10^9 seconds"),
        (Parameter::Quantity, 0, MAX, "quantity must be a whole number from 0 to 10^11"),
        (Parameter::TopCount, 1, 4096, "count must be a whole number from 1 to 4096, or RESET"),
        (Parameter::Slots, 0, 100_000, "limit must be a whole number from 0 to 100000"),
        (Parameter::LeaseCount, 1, 100_000, "COUNT must be a whole number from 1 to 100000"),
    ] {
        assert_eq!(parameter.bounds(), from..=to, "{told}");
        let error = Error::Invalid(parameter, b"x").to_string();
        assert_eq!(error, format!("ERR {told}; got 'x'"));
    }
}
