//! `RL.ACQUIRE key limit ttl token [KEEP n] [NX]`: acquires a slot for `token`, or none. A token
//! that holds a slot renews it, or with NX is denied.

use crate::commands::error::Error;
use redis_rl_limits::grammar::options::{OptionName, Options};
use redis_rl_limits::kinds::decision::Reply;

use super::occupancy::refused;
use super::set::LeaseSet;
use super::slot::{report, SlotRequest};
use crate::commands::command::{Command, KEEP, KEY, LEASES_VERSION, LIMIT, TOKEN, TTL};
use crate::server::{Access, Call, Description, Doc, Keys};

/// The command.
pub struct Acquire;

impl Command for Acquire {
    const DESCRIPTION: Description = Description {
        name: c"RL.ACQUIRE",
        since: LEASES_VERSION,
        access: Access::Write,
        keys: Keys::First,
        summary: c"Acquires one of a limited number of slots for a token, or renews its slot.",
        complexity: c"O(log(N)) where N is the number of slots held",
        arguments: &[
            KEY,
            LIMIT,
            TTL,
            TOKEN,
            KEEP,
            Doc::token(c"nx", c"NX").optional(),
        ],
        tips: None,
    };
    const SYNTAX: &'static str = "RL.ACQUIRE key limit ttl token [KEEP n] [NX]";
    type Answer = Reply;

    fn run<'a>(call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let [key, limit, ttl, token, options @ ..] = call.arguments() else {
            return Err(Error::Usage(Self::SYNTAX));
        };
        let options = Options::parse(options, &[OptionName::Keep, OptionName::Nx])?;
        let request = SlotRequest::parse(limit, ttl, token, &options)?;

        let mut set = LeaseSet::open(call, key)?;
        let (outcome, reply) = request
            .acquire(&mut set)
            .map_err(|refusal| refused(refusal, key))?;
        drop(set);

        report(call, key, outcome);
        Ok(reply)
    }
}
