//! `RL.TAKE key rate burst [COST n] [ATMOST | MAXWAIT ms | FORCE]`: takes `n` tokens (1) or none.

use super::{key_and_limit, open, options, settle, tell, BURST, COST, KEY, RATE};
use crate::server::{Access, Call, Doc, Handler, Info, Keys};
use crate::stats;
use redis_rl_limits::bucket::Mode;
use redis_rl_limits::error::Error;

/// The command.
pub struct Take;

impl Handler for Take {
    const INFO: Info = Info {
        name: c"RL.TAKE",
        access: Access::Write,
        keys: Keys::First,
        summary: c"Takes tokens from a rate-limit bucket, or none if there are too few.",
        complexity: c"O(1)",
        arguments: &[
            KEY,
            RATE,
            BURST,
            COST,
            Doc::one_of(
                c"mode",
                &[
                    Doc::token(c"atmost", c"ATMOST"),
                    Doc::integer(c"milliseconds").after(c"MAXWAIT"),
                    Doc::token(c"force", c"FORCE"),
                ],
            )
            .optional(),
        ],
        arity: -4,
    };

    fn run<'a>(call: &Call<'a>) -> Result<(), Error<'a>> {
        let (name, limit, options) = key_and_limit(call)?;
        let ask = options::ask(options)?;

        let (mut key, standing) = open(call, name, limit)?;
        let decision = standing.take(ask)?;
        settle(&mut key, decision.change)?;
        key.close();

        let reply = &decision.reply;
        stats::takes(reply.taken).add(1);
        if ask.mode == Mode::Force && !standing.has(ask.cost) {
            stats::TOKENS_FORCED.add(reply.taken);
        }
        tell(call, name, reply);
        call.reply(&reply.fields());
        Ok(())
    }
}
