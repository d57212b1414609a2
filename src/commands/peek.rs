//! `RL.PEEK key rate burst [COST n]`: what RL.TAKE would reply, changing nothing.

use super::{key_and_limit, options, stored, BURST, COST, KEY, RATE};
use crate::server::{Access, Call, Handler, Info, Keys};
use crate::stats;
use redis_rl_limits::bucket::{Ask, Bucket, Mode, Standing};
use redis_rl_limits::error::Error;

/// The command.
pub struct Peek;

impl Handler for Peek {
    const INFO: Info = Info {
        name: c"RL.PEEK",
        access: Access::Read,
        keys: Keys::First,
        summary: c"Tells what RL.TAKE would reply, changing nothing.",
        complexity: c"O(1)",
        arguments: &[KEY, RATE, BURST, COST],
        arity: -4,
    };

    fn run<'a>(call: &Call<'a>) -> Result<(), Error<'a>> {
        let (name, limit, options) = key_and_limit(call)?;
        let cost = options::cost(options)?;

        let key = call.peek(name, Bucket::SIZE..=Bucket::SIZE)?;
        let mode = Mode::Whole;
        let decision = Standing::new(stored(&key)?, call.now(), limit).take(Ask { cost, mode })?;

        stats::PEEKS.add(1);
        call.reply(&decision.reply.fields());
        Ok(())
    }
}
