//! `RL.WPEEK key limit window [COST n]`: returns the state of a window without changing it.

use crate::commands::error::Error;
use redis_rl_limits::grammar::options::{OptionName, Options};
use redis_rl_limits::grammar::window::Quota;
use redis_rl_limits::kinds::decision::{Ask, Reply};

use super::arguments::{key_and_window, LIMIT, WINDOW, WINDOWS_VERSION};
use crate::commands::command::{Command, COST, KEY};
use crate::commands::string_key;
use crate::server::{Access, Call, Description, Keys};

/// The command.
pub struct WPeek;

impl Command for WPeek {
    const DESCRIPTION: Description = Description {
        name: c"RL.WPEEK",
        since: WINDOWS_VERSION,
        access: Access::Read,
        keys: Keys::First,
        summary: c"Returns the state of a quota window without changing it.",
        complexity: c"O(1)",
        arguments: &[KEY, LIMIT, WINDOW, COST],
        tips: Some(c"nondeterministic_output"),
    };
    const SYNTAX: &'static str = "RL.WPEEK key limit window [COST n]";
    type Answer = Reply;

    fn run<'a>(call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let (key, quota, options) = key_and_window(call, Self::SYNTAX)?;
        let ask = Ask::whole(Options::parse(options, &[OptionName::Cost])?.cost());
        match quota {
            Quota::Fixed(limit) => string_key::look(call, key, limit, &ask),
            Quota::Sliding(limit) => string_key::look(call, key, limit, &ask),
        }
    }
}
