//! Numbers as people and programs write them: `12`, `0.5`, `1.1574e-4`, `1.0E8`.

use std::ops::RangeInclusive;

use crate::decimal::{Decimal, MAX_DIGITS};

/// The largest absolute exponent.
pub const MAX_EXPONENT: i32 = 30;

/// Parses the number at the beginning of `text`, and returns it with the rest. Returns `None`
/// if there is none or it has too many digits.
#[inline(always)]
pub fn decimal(text: &[u8]) -> Option<(Decimal, &[u8])> {
    let (whole, text) = leading_digits(0, text)?;
    let (number, text) = match text {
        [b'.', text @ ..] => with_fraction(whole, text)?,
        _ => (Decimal::from(whole), text),
    };
    match text {
        [b'e' | b'E', text @ ..] => with_exponent(number, text),
        _ => Some((number, text)),
    }
}

fn with_fraction(whole: u64, text: &[u8]) -> Option<(Decimal, &[u8])> {
    let length = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (fraction, text) = text.split_at_checked(length).filter(|_| length > 0)?;
    let fraction = without_trailing_zeros(fraction);
    let mantissa = match fraction {
        [] => whole,
        _ => leading_digits(whole, fraction)?.0,
    };
    let places = i32::try_from(fraction.len()).ok()?;
    let exponent = places.checked_neg()?;
    Some((Decimal { mantissa, exponent }, text))
}

#[cold]
fn with_exponent(number: Decimal, text: &[u8]) -> Option<(Decimal, &[u8])> {
    let (negative, text) = match text {
        [b'-', text @ ..] => (true, text),
        [b'+', text @ ..] => (false, text),
        _ => (false, text),
    };
    let (shift, text) = leading_digits(0, text)?;
    let shift = i32::try_from(shift).ok().filter(|&n| n <= MAX_EXPONENT)?;
    let shift = if negative {
        shift.checked_neg()?
    } else {
        shift
    };
    let exponent = number.exponent.checked_add(shift)?;
    Some((Decimal { exponent, ..number }, text))
}

/// Parses an integer in a range, in any form with an integer value: `100`, `1e2`, `100.0`.
#[inline(always)]
pub fn integer(text: &[u8], accepted: RangeInclusive<u64>) -> Option<u64> {
    let n = match leading_digits(0, text)? {
        (n, []) => n,
        _ => whole(text)?,
    };
    accepted.contains(&n).then_some(n)
}

/// Parses an integer in a range: ASCII digits only.
pub fn plain_integer(text: &[u8], accepted: RangeInclusive<u64>) -> Option<u64> {
    match leading_digits(0, text)? {
        (n, []) if accepted.contains(&n) => Some(n),
        _ => None,
    }
}

#[cold]
fn whole(text: &[u8]) -> Option<u64> {
    match decimal(text)? {
        (number, []) => number.whole(),
        _ => None,
    }
}

/// Appends the leading digits of `text` to those of `number`, and returns the result with the rest:
/// `12/m` → (12, `/m`). Returns `None` if there is no digit, or if the number does not fit 64 bits.
#[inline(always)]
pub(crate) fn leading_digits(number: u64, text: &[u8]) -> Option<(u64, &[u8])> {
    let mut made = 0u64;
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        made = made.wrapping_mul(10).wrapping_add(digit.into());
        rest = behind;
    }
    match text.len().wrapping_sub(rest.len()) {
        0 => None,
        digits if number == 0 && digits < MAX_DIGITS => Some((made, rest)),
        _ => all_digits(number, text),
    }
}

/// Does the same with a check for overflow at each digit.
#[cold]
fn all_digits(mut number: u64, mut text: &[u8]) -> Option<(u64, &[u8])> {
    while let [digit @ b'0'..=b'9', rest @ ..] = text {
        number = number
            .checked_mul(10)?
            .checked_add(u64::from(digit.wrapping_sub(b'0')))?;
        text = rest;
    }
    Some((number, text))
}

/// Removes trailing zeros: `500` → `5`.
fn without_trailing_zeros(mut digits: &[u8]) -> &[u8] {
    while let [rest @ .., b'0'] = digits {
        digits = rest;
    }
    digits
}
