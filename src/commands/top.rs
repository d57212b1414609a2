//! `RL.TOP [count | RESET]`: returns the top denied keys.

use crate::commands::error::Error;
use redis_rl_limits::bounds::NANOS_PER_MILLI;
use redis_rl_limits::grammar::parameter::Parameter;
use redis_rl_limits::sketch::top::{Top as Sketch, MAX_KEYS};

use crate::commands::command::{Answer, Command, FIRST_VERSION};
use crate::server::{Access, Call, Description, Doc, Keys};
use crate::stats::with_top;

/// The number of keys to return.
const COUNT: &Parameter = &Parameter::new("count", 1..=MAX_KEYS as u64).with_unit(", or RESET");

/// The command.
pub struct Top;

/// The reply.
pub enum Answered {
    /// The sketch was reset.
    Reset,
    /// Reply with at most this many keys.
    Keys(usize),
}

impl Command for Top {
    const DESCRIPTION: Description = Description {
        name: c"RL.TOP",
        since: FIRST_VERSION,
        access: Access::Admin,
        keys: Keys::None,
        summary: c"Returns the keys with the most denials, or resets the counts.",
        complexity: c"O(N) where N is the number of keys returned",
        arguments: &[Doc::one_of(
            c"what",
            &[Doc::integer(c"count"), Doc::token(c"reset", c"RESET")],
        )
        .optional()],
        tips: Some(c"nondeterministic_output request_policy:all_nodes response_policy:special"),
    };
    const SYNTAX: &'static str = "RL.TOP [count | RESET]";
    type Answer = Answered;

    fn run<'a>(call: &mut Call<'a>) -> Result<Answered, Error<'a>> {
        match call.arguments() {
            [] => Ok(Answered::Keys(MAX_KEYS)),
            [word] if word.bytes().eq_ignore_ascii_case(b"RESET") => {
                with_top(Sketch::clear);
                Ok(Answered::Reset)
            }
            [count] => {
                let count = COUNT.integer(count.bytes())?;
                Ok(Answered::Keys(usize::try_from(count).unwrap_or(MAX_KEYS)))
            }
            _ => Err(Error::Usage(Self::SYNTAX)),
        }
    }
}

impl Answer for Answered {
    fn send(&self, call: &Call<'_>) {
        match *self {
            Self::Reset => call.reply_ok(),
            Self::Keys(count) => {
                if with_top(|top| send_keys(call, top, count)).is_none() {
                    call.reply_array(0);
                }
            }
        }
    }
}

fn send_keys(call: &Call<'_>, top: &Sketch, count: usize) {
    let entries = || top.entries().take(count);
    call.reply_array(entries().count());
    for entry in entries() {
        call.reply_array(4);
        call.reply_bytes(&entry.key);
        let ago = call.now().saturating_sub(entry.last) / NANOS_PER_MILLI;
        for number in [entry.denials, entry.error, ago] {
            call.reply_integer(number.try_into().unwrap_or(i64::MAX));
        }
    }
}
