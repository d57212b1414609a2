//! `RL.RELEASE key token [token …]`: frees the slots of these tokens, and no others.

use crate::commands::error::Error;
use redis_rl_limits::grammar::lease::check_tokens;
use redis_rl_limits::waiting::queue::MAX_GRANTS;

use super::set::LeaseSet;
use super::waiting;
use crate::commands::command::{Command, KEY, LEASES_VERSION, TOKEN};
use crate::server::{Access, Argument, Call, Description, Keys};
use crate::stats::LEASES;

/// The command.
pub struct Release;

impl Command for Release {
    const DESCRIPTION: Description = Description {
        name: c"RL.RELEASE",
        since: LEASES_VERSION,
        access: Access::Write,
        keys: Keys::First,
        summary: c"Frees the slots of tokens and returns how many were held.",
        complexity: c"O(M*log(N)) where M is the number of tokens and N that of slots held",
        arguments: &[KEY, TOKEN.multiple()],
        tips: None,
    };
    const SYNTAX: &'static str = "RL.RELEASE key token [token ...]";
    /// The number of tokens that had a live lease.
    type Answer = u64;

    fn run<'a>(call: &mut Call<'a>) -> Result<u64, Error<'a>> {
        let [key, tokens @ ..] = call.arguments() else {
            return Err(Error::Usage(Self::SYNTAX));
        };
        if tokens.is_empty() {
            return Err(Error::Usage(Self::SYNTAX));
        }
        check_tokens(tokens)?;
        release(call, key, tokens)
    }
}

/// Frees the slots of those of the tokens that have a live lease, and grants them to waiters. Returns
/// how many had.
///
/// # Errors
/// The key holds something else than leases.
pub fn release<'a>(
    call: &mut Call<'a>,
    key: &'a Argument<'a>,
    tokens: &[Argument<'a>],
) -> Result<u64, Error<'a>> {
    let names = call.names();
    let mut set = LeaseSet::open(call, key)?;
    let (released, _) = waiting::release(&mut set, tokens, &names, MAX_GRANTS);
    drop(set);

    if released > 0 {
        LEASES.released.add(released);
        call.notify(c"rl.release", key);
        if waiting::is_busy() {
            waiting::report(call, key);
        }
    }
    Ok(released)
}
