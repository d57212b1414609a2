//! The common arguments of the commands on windows.

use crate::commands::error::Error;
use redis_rl_limits::grammar::calendar::{CalendarUnit, UNITS};
use redis_rl_limits::grammar::window::Quota;
use redis_rl_limits::kinds::{sliding, window};

use crate::commands::command::KEY;
use crate::commands::string_key::Counted;
use crate::server::{Argument, Call, Doc, KeyName};
use crate::stats::{self, Takes};

/// `limit`.
pub const LIMIT: Doc = Doc::integer(c"limit");

/// The version that introduced windows.
pub const WINDOWS_VERSION: &std::ffi::CStr = c"0.2.0";

/// A token for each unit of the calendar.
const UNIT_TOKENS: [Doc; UNITS.len()] = {
    let mut tokens = [KEY; UNITS.len()];
    let (mut units, mut rest) = (&UNITS as &[CalendarUnit], &mut tokens as &mut [Doc]);
    while let ([unit, other_units @ ..], [token, other_tokens @ ..]) = (units, rest) {
        *token = Doc::token(unit.doc, unit.name);
        (units, rest) = (other_units, other_tokens);
    }
    tokens
};

/// Documents a window, in each of its forms.
pub const WINDOW: Doc = Doc::one_of(
    c"window",
    &[
        Doc::string(c"duration"),
        Doc::string(c"length").after(c"SLIDING"),
        Doc::block(
            c"calendar",
            &[
                Doc::one_of(c"unit", &UNIT_TOKENS),
                Doc::string(c"offset").after(c"OFFSET").optional(),
                Doc::integer(c"anchor").after(c"ANCHOR").optional(),
            ],
        ),
        Doc::integer(c"unix-ms").after(c"UNTIL"),
    ],
);

impl Counted for window::Limit {
    const COUNTS: &'static Takes = &stats::WINDOWS;
}

impl Counted for sliding::Limit {
    const COUNTS: &'static Takes = &stats::WINDOWS;
}

/// Parses `key limit window …` and returns the key, the window and the rest.
///
/// # Errors
/// An argument is missing, or the limit or the window is not accepted.
#[inline(always)]
pub fn key_and_window<'a>(
    call: &Call<'a>,
    syntax: &'static str,
) -> Result<(KeyName<'a>, Quota, &'a [Argument<'a>]), Error<'a>> {
    let [key, words @ ..] = call.arguments() else {
        return Err(Error::Usage(syntax));
    };
    if words.len() < 2 {
        return Err(Error::Usage(syntax));
    }
    let (quota, options) = Quota::parse(words)?;
    Ok((KeyName::of(key), quota, options))
}
