//! `RL.LEASES key limit [COUNT n]`: returns the held leases and their remaining times without
//! changing anything.

use crate::commands::error::Error;
use redis_rl_limits::bounds::LEASES_TOLD;
use redis_rl_limits::grammar::lease;
use redis_rl_limits::grammar::options::{OptionName, Options};

use super::look::Look;
use super::waiting;
use crate::commands::command::{Answer, Command, KEY, LEASES_VERSION, LIMIT};
use crate::server::{Access, Call, Description, Doc, Keys};

/// The command.
pub struct List;

/// The reply.
pub struct Told {
    /// Leases held, limit, free slots, wait for one more, wait for the last one to end.
    numbers: [i64; 5],
    /// Each token with the milliseconds until its lease ends.
    leases: Vec<(Vec<u8>, i64)>,
    /// The number of callers that wait for a slot.
    waiting: i64,
}

impl Command for List {
    const DESCRIPTION: Description = Description {
        name: c"RL.LEASES",
        since: LEASES_VERSION,
        access: Access::List,
        keys: Keys::First,
        summary: c"Returns the held slots and their remaining times without changing anything.",
        complexity: c"O(log(N)+M) where N is the number of slots held and M the number returned",
        arguments: &[
            KEY,
            LIMIT,
            Doc::integer(c"count").after(c"COUNT").optional(),
        ],
        tips: Some(c"nondeterministic_output"),
    };
    const SYNTAX: &'static str = "RL.LEASES key limit [COUNT n]";
    type Answer = Told;

    fn run<'a>(call: &mut Call<'a>) -> Result<Told, Error<'a>> {
        let [key, limit, options @ ..] = call.arguments() else {
            return Err(Error::Usage(Self::SYNTAX));
        };
        let options = Options::parse(options, &[OptionName::Count])?;
        let limit = lease::limit(limit.bytes(), 0)?;
        let most = options.count().unwrap_or(LEASES_TOLD);

        let waiting = waiting::queue_length(call.db(), key.bytes());
        let mut look = Look::at(call, key)?;
        let live = look.held.live as u64;
        let wait_ms = look.wait_ms(limit);
        let held = i64::try_from(live).unwrap_or(i64::MAX);
        let reply = limit.reply(held, live, wait_ms, look.reset_ms());
        let mut leases = Vec::new();
        look.each(
            usize::try_from(most).unwrap_or(usize::MAX),
            |token, left| {
                leases.push((token.to_vec(), left));
            },
        );
        Ok(Told {
            numbers: reply.fields(),
            leases,
            waiting: i64::try_from(waiting).unwrap_or(i64::MAX),
        })
    }
}

impl Answer for Told {
    fn send(&self, call: &Call<'_>) {
        call.reply_array(self.numbers.len().saturating_add(2));
        for &number in &self.numbers {
            call.reply_integer(number);
        }
        call.reply_array(self.leases.len());
        for (token, left) in &self.leases {
            call.reply_array(2);
            call.reply_bytes(token);
            call.reply_integer(*left);
        }
        call.reply_integer(self.waiting);
    }
}
