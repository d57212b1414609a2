//! `RL.WGIVE key limit window [COST n] [AT unix-ms]`: refunds `n` (default 1) to a window, at most
//! down to unused.

use crate::commands::error::Error;
use redis_rl_limits::grammar::options::{OptionName, Options};
use redis_rl_limits::grammar::window::Quota;
use redis_rl_limits::kinds::decision::Reply;
use redis_rl_limits::kinds::usage::WindowStanding;

use super::arguments::{key_and_window, LIMIT, WINDOW, WINDOWS_VERSION};
use crate::commands::command::{Command, COST, KEY};
use crate::commands::string_key;
use crate::server::{Access, Call, Description, Doc, Keys};

/// The command.
pub struct WGive;

impl Command for WGive {
    const DESCRIPTION: Description = Description {
        name: c"RL.WGIVE",
        since: WINDOWS_VERSION,
        access: Access::Write,
        keys: Keys::First,
        summary: c"Refunds a quota window, at most down to unused.",
        complexity: c"O(1)",
        arguments: &[
            KEY,
            LIMIT,
            WINDOW,
            COST,
            Doc::integer(c"unix-ms").after(c"AT").optional(),
        ],
        tips: None,
    };
    const SYNTAX: &'static str = "RL.WGIVE key limit window [COST n] [AT unix-ms]";
    type Answer = Reply;

    fn run<'a>(call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let (key, quota, options) = key_and_window(call, Self::SYNTAX)?;
        let options = Options::parse(options, &[OptionName::Cost, OptionName::At])?;
        let (tokens, at) = (options.cost(), options.taken_at());
        match quota {
            Quota::Fixed(limit) => {
                string_key::give(call, key, limit, |window| window.give(tokens, at))
            }
            Quota::Sliding(limit) => {
                string_key::give(call, key, limit, |window| window.give(tokens, at))
            }
        }
    }
}
