//! `RL.RENEW key ttl token [token …]`: extends live leases. It never revives an expired one.

use crate::commands::error::Error;
use redis_rl_limits::grammar::lease::{check_tokens, ttl_before};

use super::occupancy::refused;
use super::set::LeaseSet;
use super::waiting;
use crate::commands::command::{Command, KEY, LEASES_VERSION, TOKEN, TTL};
use crate::server::{Access, Argument, Call, Description, Keys};
use crate::stats::LEASES;

/// The command.
pub struct Renew;

impl Command for Renew {
    const DESCRIPTION: Description = Description {
        name: c"RL.RENEW",
        since: LEASES_VERSION,
        access: Access::Write,
        keys: Keys::First,
        summary: c"Extends live leases and returns how many.",
        complexity: c"O(M*log(N)) where M is the number of tokens and N that of slots held",
        arguments: &[KEY, TTL, TOKEN.multiple()],
        tips: None,
    };
    const SYNTAX: &'static str = "RL.RENEW key ttl token [token ...]";
    /// The number of leases renewed.
    type Answer = u64;

    fn run<'a>(call: &mut Call<'a>) -> Result<u64, Error<'a>> {
        let [key, ttl, tokens @ ..] = call.arguments() else {
            return Err(Error::Usage(Self::SYNTAX));
        };
        let [.., last] = tokens else {
            return Err(Error::Usage(Self::SYNTAX));
        };
        let ttl_ms = ttl_before(ttl.bytes(), last.bytes())?;
        check_tokens(tokens)?;

        let mut set = LeaseSet::open(call, key)?;
        let renewed = set
            .renew_all(tokens, ttl_ms)
            .map_err(|refusal| refused(refusal, key))?;
        drop(set);

        if renewed > 0 && waiting::is_busy() {
            let db = call.db();
            let confirm = |token: &Argument<'_>| waiting::confirm(db, key.bytes(), token.bytes());
            tokens.iter().for_each(confirm);
        }
        if renewed > 0 {
            LEASES.renewed.add(renewed);
            call.notify(c"rl.acquire", key);
        }
        Ok(renewed)
    }
}
