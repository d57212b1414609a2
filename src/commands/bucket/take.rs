//! `RL.TAKE key rate burst [COST n] [[KEEP n] [ATMOST] | MAXWAIT ms | FORCE]`: takes `n` tokens (1)
//! or none.

use crate::commands::error::Error;
use redis_rl_limits::grammar::options::{OptionName, Options};
use redis_rl_limits::kinds::decision::Reply;

use crate::commands::command::{Command, BURST, COST, FIRST_VERSION, KEEP, KEY, RATE};
use crate::commands::string_key::{self, key_and_bucket};
use crate::server::{Access, Call, Description, Doc, Keys};

/// The command.
pub struct Take;

impl Command for Take {
    const DESCRIPTION: Description = Description {
        name: c"RL.TAKE",
        since: FIRST_VERSION,
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
                    Doc::block(
                        c"reserve",
                        &[KEEP, Doc::token(c"atmost", c"ATMOST").optional()],
                    ),
                    Doc::integer(c"milliseconds").after(c"MAXWAIT"),
                    Doc::token(c"force", c"FORCE"),
                ],
            )
            .optional(),
        ],
        tips: None,
    };
    const SYNTAX: &'static str =
        "RL.TAKE key rate burst [COST n] [[KEEP n] [ATMOST] | MAXWAIT ms | FORCE]";
    type Answer = Reply;

    fn run<'a>(call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let (key, limit, options) = key_and_bucket(call, Self::SYNTAX)?;
        let ask = Options::parse(
            options,
            &[
                OptionName::Cost,
                OptionName::Keep,
                OptionName::AtMost,
                OptionName::MaxWait,
                OptionName::Force,
            ],
        )?
        .ask();
        string_key::take(call, key, limit, &ask)
    }
}
