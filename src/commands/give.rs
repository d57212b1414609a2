//! `RL.GIVE key rate burst [COST n]`: gives `n` tokens (1) back, at most to full.

use super::{key_and_limit, open, options, settle, BURST, COST, KEY, RATE};
use crate::server::{Access, Call, Handler, Info, Keys};
use crate::stats;
use redis_rl_limits::error::Error;

/// The command.
pub struct Give;

impl Handler for Give {
    const INFO: Info = Info {
        name: c"RL.GIVE",
        access: Access::Write,
        keys: Keys::First,
        summary: c"Gives tokens back to a rate-limit bucket, at most to full.",
        complexity: c"O(1)",
        arguments: &[KEY, RATE, BURST, COST],
        arity: -4,
    };

    fn run<'a>(call: &Call<'a>) -> Result<(), Error<'a>> {
        let (name, limit, options) = key_and_limit(call)?;
        let tokens = options::cost(options)?;

        let (mut key, standing) = open(call, name, limit)?;
        let decision = standing.give(tokens);
        settle(&mut key, decision.change)?;
        key.close();

        if decision.reply.taken > 0 {
            stats::TOKENS_GIVEN.add(decision.reply.taken);
            call.notify(c"rl.give", name);
        }
        call.reply(&decision.reply.fields());
        Ok(())
    }
}
