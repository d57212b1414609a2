//! `RL.GIVE key rate burst [COST n]`: gives `n` tokens (1) back, at most to full.

use super::{options, settle, standing, GIVE};
use crate::error::Error;
use crate::limit::Limit;
use crate::server::{Access, Call, Doc, Handler, Info, Keys};

/// The command.
pub struct Give;

impl Handler for Give {
    const INFO: Info = Info {
        name: c"RL.GIVE",
        access: Access::Write,
        keys: Keys::First,
        summary: c"Gives tokens back to a rate-limit bucket, at most to full.",
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
        let tokens = options::cost(options)?;

        let mut key = call.open(name)?;
        let decision = standing(call, &mut key, limit)?.give(tokens);
        settle(&mut key, decision.change)?;
        key.close();

        if decision.reply.taken > 0 {
            call.notify(GIVE, name);
        }
        call.reply(&decision.reply.fields());
        Ok(())
    }
}
