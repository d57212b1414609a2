//! `RL.PEEK key rate burst [COST n]`: returns the state of a bucket without changing it.

use crate::commands::error::Error;
use redis_rl_limits::grammar::options::{OptionName, Options};
use redis_rl_limits::kinds::decision::{Ask, Reply};

use crate::commands::command::{Command, BURST, COST, FIRST_VERSION, KEY, RATE};
use crate::commands::string_key::{self, key_and_bucket};
use crate::server::{Access, Call, Description, Keys};

/// The command.
pub struct Peek;

impl Command for Peek {
    const DESCRIPTION: Description = Description {
        name: c"RL.PEEK",
        since: FIRST_VERSION,
        access: Access::Read,
        keys: Keys::First,
        summary: c"Returns the state of a rate-limit bucket without changing it.",
        complexity: c"O(1)",
        arguments: &[KEY, RATE, BURST, COST],
        tips: Some(c"nondeterministic_output"),
    };
    const SYNTAX: &'static str = "RL.PEEK key rate burst [COST n]";
    type Answer = Reply;

    fn run<'a>(call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let (key, limit, options) = key_and_bucket(call, Self::SYNTAX)?;
        let cost = Options::parse(options, &[OptionName::Cost])?.cost();
        string_key::look(call, key, limit, &Ask::whole(cost))
    }
}
