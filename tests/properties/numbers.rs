//! Whole numbers, as people and programs write them.

use redis_rl_limits::number::{integer, plain_integer, Decimal};

#[test]
fn a_whole_number_is_read_in_every_form_whose_value_is_whole() {
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
fn where_digits_alone_are_accepted_nothing_else_is() {
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
fn zeros_at_the_end_of_the_digits_go_to_the_exponent() {
    let reduced = |mantissa, exponent| {
        let Decimal { mantissa, exponent } = Decimal { mantissa, exponent }.reduced();
        (mantissa, exponent)
    };
    assert_eq!(reduced(15_000, -2), (15, 1));
    assert_eq!(reduced(15, 3), (15, 3));
    assert_eq!(reduced(10_000_000_000_000_000_000, 0), (1, 19));
    assert_eq!(reduced(0, 0).0, 0);
}
