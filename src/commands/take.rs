//! `RL.TAKE key rate burst [COST n] [ATMOST | MAXWAIT ms | FORCE]`: takes `n` tokens (1) or none.

use super::{open, options, settle, tell};
use crate::bucket::Mode;
use crate::error::Error;
use crate::limit::Limit;
use crate::server::{Access, Call, Doc, Handler, Info, Keys};
use crate::stats;

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
            Doc::key(c"key"),
            Doc::string(c"rate"),
            Doc::integer(c"burst"),
            Doc::integer(c"cost").after(c"COST").optional(),
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
        let [name, rate, burst, options @ ..] = call.arguments() else {
            return Err(Error::Arity);
        };
        let limit = Limit::parse(rate.bytes(), burst.bytes())?;
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
