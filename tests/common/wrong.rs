//! Words that are no number, in one list each for what they are given as.

const FORTY_DIGITS: &[u8] = b"1234567890123456789012345678901234567890";

/// No number anywhere.
pub const NO_NUMBERS: [&[u8]; 26] = [
    b"",
    b" ",
    b"-1",
    b"-0",
    b"+1",
    b"nan",
    b"NaN",
    b"inf",
    b"-inf",
    b"1e",
    b"1e+",
    b"e9",
    b"1e31",
    b"1e1.0",
    b"0x10",
    b"1,5",
    b" 1",
    b"1 ",
    b"1\n",
    b"1\0",
    b"\0",
    b"ten",
    b"\xff\xfe",
    b"\xc3\x28",
    "１".as_bytes(),
    FORTY_DIGITS,
];

/// No rate and no cost, but a burst and a wait.
pub const ZEROS: [&[u8]; 4] = [b"0", b"00", b"0.0", b"0e5"];

/// No burst and no cost, though some of them are a rate.
pub const NO_COUNTS: [&[u8]; 9] = [
    b"1.5",
    b"1.",
    b"15e-1",
    b"1e-1",
    b"1e12",
    b"100000000001",
    b"9223372036854775807",
    b"18446744073709551617",
    b"1/s",
];

pub const NO_RATES: [&[u8]; 29] = [
    b".",
    b"1.",
    b".5",
    b"1..2",
    b"-0.5",
    b"1/",
    b"/",
    b"/s",
    b"1/0s",
    b"1/-1s",
    b"1/1.0005s",
    b"1/15e-5s",
    b"1/M",
    b"1/MS",
    b"1/month",
    b"1/us",
    b"1/s/s",
    b"1/s ",
    b"1/\xff",
    b"0/s",
    b"1000000000001",
    b"1000000000000.1",
    b"1e13",
    b"1e13/s",
    b"1000000001/ms",
    b"1/99999999999999999999d",
    b"1/sm",
    b"1/secss",
    b"inf/s",
];
