//! `RL.PEEK key rate burst [COST n]`: what RL.TAKE would reply, changing nothing.

use super::{options, stored};
use crate::bucket::{Ask, Bucket, Mode, Standing};
use crate::error::Error;
use crate::limit::Limit;
use crate::server::{Access, Call, Doc, Handler, Info, Keys};
use crate::stats;

/// The command.
pub struct Peek;

impl Handler for Peek {
    const INFO: Info = Info {
        name: c"RL.PEEK",
        access: Access::Read,
        keys: Keys::First,
        summary: c"Tells what RL.TAKE would reply, changing nothing.",
        complexity: c"O(1)",
        arguments: &[
            Doc::key(c"key"),
            Doc::string(c"rate"),
            Doc::integer(c"burst"),
            Doc::integer(c"cost").after(c"COST").optional(),
        ],
        arity: -4,
    };

    fn run<'a>(call: &Call<'a>) -> Result<(), Error<'a>> {
        let [name, rate, burst, options @ ..] = call.arguments() else {
            return Err(Error::Arity);
        };
        let limit = Limit::parse(rate.bytes(), burst.bytes())?;
        let cost = options::cost(options)?;

        let now = call.now();
        let key = call.peek(name, Bucket::SIZE..=Bucket::SIZE, now)?;
        let mode = Mode::Whole;
        let decision = Standing::new(stored(&key)?, now, limit).take(Ask { cost, mode })?;

        stats::PEEKS.add(1);
        call.reply(&decision.reply.fields());
        Ok(())
    }
}
