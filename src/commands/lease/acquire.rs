//! `RL.ACQUIRE key limit ttl token [KEEP n] [NX] [WAIT ms [QUEUE n]]`: acquires a slot for `token`,
//! or none. A token that holds a slot renews it, or with NX is denied. With WAIT, a call that gets no
//! slot waits in the server for one.

use crate::commands::error::Error;
use redis_rl_limits::grammar::options::{OptionName, Options};
use redis_rl_limits::kinds::decision::Reply;

use super::occupancy::refused;
use super::set::LeaseSet;
use super::slot::{report, Outcome, SlotRequest};
use super::waiting::{self, Place};
use crate::commands::command::{Answer, Command, KEEP, KEY, LEASES_VERSION, LIMIT, TOKEN, TTL};
use crate::server::{Access, Call, Description, Doc, Keys};

/// The command.
pub struct Acquire;

impl Command for Acquire {
    const DESCRIPTION: Description = Description {
        name: c"RL.ACQUIRE",
        since: LEASES_VERSION,
        access: Access::Wait,
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
            Doc::block(
                c"wait",
                &[
                    Doc::integer(c"ms").after(c"WAIT"),
                    Doc::integer(c"queue").after(c"QUEUE").optional(),
                ],
            )
            .optional(),
        ],
        tips: None,
    };
    const SYNTAX: &'static str = "RL.ACQUIRE key limit ttl token [KEEP n] [NX] [WAIT ms [QUEUE n]]";
    type Answer = Acquired;

    fn run<'a>(call: &mut Call<'a>) -> Result<Acquired, Error<'a>> {
        let [key, limit, ttl, token, options @ ..] = call.arguments() else {
            return Err(Error::Usage(Self::SYNTAX));
        };
        let options = Options::parse(options, ACCEPTED)?;
        let request = SlotRequest::parse(limit, ttl, token, &options)?;

        let names = call.names();
        let mut set = LeaseSet::open(call, key)?;
        let (outcome, reply) = request
            .acquire(&mut set, &names)
            .map_err(|refusal| refused(refusal, key))?;
        let wait_ms = options.wait_ms().filter(|_| outcome == Outcome::Denied);
        let due_ms =
            wait_ms.and_then(|_| waiting::next_end(&mut set, request.terms().limit.most()));
        drop(set);

        let terms = request.terms();
        let place = Place {
            db: call.db(),
            key: key.bytes(),
            queue: options.queue(),
        };
        let may_wait =
            || terms.limit.most() > 0 && call.may_block() && place.check(token, terms).is_ok();
        let Some(wait_ms) = wait_ms.filter(|_| may_wait()) else {
            report(call, key, outcome);
            return Ok(Acquired::Now(reply));
        };
        call.check_memory()
            .map_err(|refusal| refused(refusal, key))?;
        waiting::wait(call, &place, token, terms, wait_ms, due_ms);
        Ok(Acquired::Later)
    }
}

/// The accepted options.
const ACCEPTED: &[OptionName] = &[
    OptionName::Keep,
    OptionName::Nx,
    OptionName::Wait,
    OptionName::Queue,
];

/// The reply.
pub enum Acquired {
    /// The call is answered at once.
    Now(Reply),
    /// The caller waits.
    Later,
}

impl Answer for Acquired {
    fn send(&self, call: &Call<'_>) {
        if let Self::Now(reply) = self {
            reply.send(call);
        }
    }
}
