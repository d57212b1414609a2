//! `RL.WTAKE key limit window [COST n] [[KEEP n] [ATMOST] | FORCE]`: charges
//! `n` (1) to a window, or nothing.

use crate::commands::error::Error;
use redis_rl_limits::grammar::options::{OptionName, Options};
use redis_rl_limits::grammar::window::Quota;
use redis_rl_limits::kinds::decision::Reply;

use super::arguments::{key_and_window, LIMIT, WINDOW, WINDOWS_VERSION};
use crate::commands::command::{Command, COST, KEEP, KEY};
use crate::commands::string_key;
use crate::server::{Access, Call, Description, Doc, Keys};

/// The command.
pub struct WTake;

impl Command for WTake {
    const DESCRIPTION: Description = Description {
        name: c"RL.WTAKE",
        since: WINDOWS_VERSION,
        access: Access::Write,
        keys: Keys::First,
        summary: c"Charges a quota window, or nothing if too little of the quota is left.",
        complexity: c"O(1)",
        arguments: &[
            KEY,
            LIMIT,
            WINDOW,
            COST,
            Doc::one_of(
                c"mode",
                &[
                    Doc::block(
                        c"reserve",
                        &[KEEP, Doc::token(c"atmost", c"ATMOST").optional()],
                    ),
                    Doc::token(c"force", c"FORCE"),
                ],
            )
            .optional(),
        ],
        tips: None,
    };
    const SYNTAX: &'static str = "RL.WTAKE key limit window [COST n] [[KEEP n] [ATMOST] | FORCE]";
    type Answer = Reply;

    fn run<'a>(call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let (key, quota, options) = key_and_window(call, Self::SYNTAX)?;
        let ask = Options::parse(
            options,
            &[
                OptionName::Cost,
                OptionName::Keep,
                OptionName::AtMost,
                OptionName::Force,
            ],
        )?
        .ask();
        match quota {
            Quota::Fixed(limit) => string_key::take(call, key, limit, &ask),
            Quota::Sliding(limit) => string_key::take(call, key, limit, &ask),
        }
    }
}
