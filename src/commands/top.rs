//! `RL.TOP [count | RESET]`: the keys denied most.

use crate::server::{Access, Call, Doc, Handler, Info, Keys};
use crate::stats::with_top;
use redis_rl_limits::error::{Error, Parameter};
use redis_rl_limits::limit::integer;
use redis_rl_limits::top::{Top as Sketch, MAX_KEYS};

const NANOS_PER_MILLI: u64 = 1_000_000;

/// The command.
pub struct Top;

impl Handler for Top {
    const INFO: Info = Info {
        name: c"RL.TOP",
        access: Access::Admin,
        keys: Keys::None,
        summary: c"Tells which keys were denied most, or forgets them.",
        complexity: c"O(N) where N is the number of keys told",
        arguments: &[Doc::one_of(
            c"what",
            &[Doc::integer(c"count"), Doc::token(c"reset", c"RESET")],
        )
        .optional()],
        arity: -1,
    };

    fn run<'a>(call: &Call<'a>) -> Result<(), Error<'a>> {
        let count = match call.arguments() {
            [] => MAX_KEYS,
            [word] if word.bytes().eq_ignore_ascii_case(b"RESET") => {
                with_top(Sketch::clear);
                call.reply_ok();
                return Ok(());
            }
            [count] => integer(count.bytes(), 1..=MAX_KEYS as u64)
                .and_then(|count| count.try_into().ok())
                .ok_or(Error::Invalid(Parameter::TopCount, count.bytes()))?,
            _ => return Err(Error::Arity),
        };
        if with_top(|top| reply(call, top, count)).is_none() {
            call.reply_array(0);
        }
        Ok(())
    }
}

fn reply(call: &Call<'_>, top: &Sketch, count: usize) {
    let entries: Vec<_> = top.entries().take(count).collect();
    call.reply_array(entries.len());
    for entry in entries {
        call.reply_array(4);
        call.reply_bytes(&entry.key);
        let ago = call.now().saturating_sub(entry.last) / NANOS_PER_MILLI;
        for number in [entry.denials, entry.error, ago] {
            call.reply_integer(number.try_into().unwrap_or(i64::MAX));
        }
    }
}
