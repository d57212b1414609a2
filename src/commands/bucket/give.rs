//! `RL.GIVE key rate burst [COST n]`: refunds `n` tokens (default 1), at most up to full.

use crate::commands::error::Error;
use redis_rl_limits::grammar::options::{OptionName, Options};
use redis_rl_limits::kinds::decision::Reply;

use crate::commands::command::{Command, BURST, COST, FIRST_VERSION, KEY, RATE};
use crate::commands::string_key::{self, key_and_bucket};
use crate::server::{Access, Call, Description, Keys};

/// The command.
pub struct Give;

impl Command for Give {
    const DESCRIPTION: Description = Description {
        name: c"RL.GIVE",
        since: FIRST_VERSION,
        access: Access::Write,
        keys: Keys::First,
        summary: c"Refunds tokens to a rate-limit bucket, at most up to full.",
        complexity: c"O(1)",
        arguments: &[KEY, RATE, BURST, COST],
        tips: None,
    };
    const SYNTAX: &'static str = "RL.GIVE key rate burst [COST n]";
    type Answer = Reply;

    fn run<'a>(call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let (key, limit, options) = key_and_bucket(call, Self::SYNTAX)?;
        let tokens = Options::parse(options, &[OptionName::Cost])?.cost();
        string_key::give(call, key, limit, |bucket| bucket.give(tokens))
    }
}
