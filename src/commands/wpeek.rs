//! `RL.WPEEK key limit window [COST n]`: how a window stands,
//! changing nothing.

use redis_rl_limits::decision::{Ask, Reply};
use redis_rl_limits::error::Error;
use redis_rl_limits::options::{Name, Options};
use redis_rl_limits::quota::Quota;

use super::limited;
use super::window::{key_and_window, LIMIT, WINDOW, WINDOWS_VERSION};
use super::{Command, COST, KEY};
use crate::server::{Access, Call, Description, Keys};

/// The command.
pub struct WPeek;

impl Command for WPeek {
    const DESCRIPTION: Description = Description {
        name: c"RL.WPEEK",
        since: WINDOWS_VERSION,
        access: Access::Read,
        keys: Keys::First,
        summary: c"Tells how a window stands, changing nothing.",
        complexity: c"O(1)",
        arguments: &[KEY, LIMIT, WINDOW, COST],
        tips: Some(c"nondeterministic_output"),
    };
    const SYNTAX: &'static str = "RL.WPEEK key limit window [COST n]";
    type Answer = Reply;

    fn run<'a>(call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let (key, quota, options) = key_and_window(call, Self::SYNTAX)?;
        let ask = Ask::whole(Options::parse(options, Name::OF_COST)?.cost());
        match quota {
            Quota::Fixed(limit) => limited::look(call, key, limit, &ask),
            Quota::Sliding(limit) => limited::look(call, key, limit, &ask),
        }
    }
}
