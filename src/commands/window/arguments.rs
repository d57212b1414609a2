//! The common arguments of the commands on windows.

use redis_rl_limits::grammar::error::Error;
use redis_rl_limits::grammar::window::Quota;
use redis_rl_limits::kinds::{sliding, window};

use crate::commands::string_key::Counted;
use crate::server::{Argument, Call, Doc, KeyName};
use crate::stats::{self, Takes};

/// `limit`.
pub const LIMIT: Doc = Doc::integer(c"limit");

/// The version that introduced windows.
pub const WINDOWS_VERSION: &std::ffi::CStr = c"0.2.0";

/// Documents a window, in each of its forms.
pub const WINDOW: Doc = Doc::one_of(
    c"window",
    &[
        Doc::string(c"duration"),
        Doc::string(c"length").after(c"SLIDING"),
        Doc::block(
            c"calendar",
            &[
                Doc::one_of(
                    c"unit",
                    &[
                        Doc::token(c"hour", c"HOUR"),
                        Doc::token(c"day", c"DAY"),
                        Doc::token(c"week", c"WEEK"),
                        Doc::token(c"month", c"MONTH"),
                        Doc::token(c"year", c"YEAR"),
                    ],
                ),
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
