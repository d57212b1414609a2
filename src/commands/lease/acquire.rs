//! `RL.ACQUIRE key limit ttl token [KEEP n]`: a slot for `token`, or none. A token that holds one
//! renews it.

use redis_rl_limits::grammar::error::Error;
use redis_rl_limits::grammar::options::{Name, Options};
use redis_rl_limits::kinds::decision::{Reply, NEVER};
use redis_rl_limits::kinds::lease::{check_token, parse_ttl, Limit, Room, Verdict};

use super::set::{refused, Held, Leases};
use crate::commands::command::{Command, KEEP, KEY, LEASES_VERSION, LIMIT, TOKEN, TTL};
use crate::server::{Access, Argument, Call, Description, Keys, Raised};
use crate::stats::{self, LEASES};

/// The command.
pub struct Acquire;

/// What a call asks for.
struct Ask<'a> {
    key: &'a Argument<'a>,
    limit: Limit,
    ttl_ms: u64,
    token: &'a Argument<'a>,
}

/// What came of it.
enum Outcome {
    Granted,
    Renewed,
    Denied,
}

impl Command for Acquire {
    const DESCRIPTION: Description = Description {
        name: c"RL.ACQUIRE",
        since: LEASES_VERSION,
        access: Access::Write,
        keys: Keys::First,
        summary: c"Gives a token one of a limited number of slots for a time, or renews its slot.",
        complexity: c"O(log(N)) where N is the number of slots held",
        arguments: &[KEY, LIMIT, TTL, TOKEN, KEEP],
        tips: None,
    };
    const SYNTAX: &'static str = "RL.ACQUIRE key limit ttl token [KEEP n]";
    type Answer = Reply;

    fn run<'a>(call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let ask = parse(call.arguments(), Self::SYNTAX)?;
        let mut leases = Leases::open(call, ask.key)?;
        let held = leases.held();
        let room = ask.limit.room(held.live as u64);
        let (outcome, reply) =
            if room == Room::Now && held.none_has_ended() && leases.check_memory().is_ok() {
                grant_or_renew(&mut leases, &held, &ask)?
            } else {
                decide(&mut leases, &held, &ask)?
            };
        drop(leases);
        report(call, &ask, &outcome);
        Ok(reply)
    }
}

fn parse<'a>(arguments: &'a [Argument<'a>], syntax: &'static str) -> Result<Ask<'a>, Error<'a>> {
    let [key, limit, ttl, token, options @ ..] = arguments else {
        return Err(Error::Usage(syntax));
    };
    let keep = Options::parse(options, Name::OF_ACQUIRE)?.keep();
    let limit = Limit::parse(limit.bytes(), keep)?;
    let ttl_ms = parse_ttl(ttl.bytes())?;
    check_token(token.bytes())?;
    Ok(Ask {
        key,
        limit,
        ttl_ms,
        token,
    })
}

/// Without a look at the token's own lease.
fn grant_or_renew<'k, 'a: 'k>(
    leases: &mut Leases<'k>,
    held: &Held,
    ask: &Ask<'a>,
) -> Result<(Outcome, Reply), Error<'a>> {
    let (raised, last) = leases
        .grant_or_renew(ask.token, ask.ttl_ms)
        .map_err(|refusal| refused(refusal, ask.key))?;
    let reset_ms = last.millis_left(leases.now_ms());
    let live = held.live as u64;
    Ok(match raised {
        Raised::Added => {
            let live = live.saturating_add(1);
            (Outcome::Granted, ask.limit.reply(1, live, 0, reset_ms))
        }
        Raised::WasThere => (Outcome::Renewed, ask.limit.reply(1, live, 0, reset_ms)),
    })
}

fn decide<'k, 'a: 'k>(
    leases: &mut Leases<'k>,
    held: &Held,
    ask: &Ask<'a>,
) -> Result<(Outcome, Reply), Error<'a>> {
    let live = held.live as u64;
    let done = match ask.limit.acquire(live, leases.own(ask.token)) {
        Verdict::Deny(ended) => {
            let wait_ms = ended.map_or(NEVER, |ended| leases.wait_ms(held, ended));
            let reply = ask.limit.reply(0, live, wait_ms, leases.reset_ms());
            return Ok((Outcome::Denied, reply));
        }
        Verdict::Renew(own) => leases
            .renew(held, own, ask.token, ask.ttl_ms)
            .map(|last| (Outcome::Renewed, live, last)),
        Verdict::Grant => leases
            .check_memory()
            .and_then(|()| leases.grant(held, ask.token, ask.ttl_ms))
            .map(|last| (Outcome::Granted, live.saturating_add(1), last)),
    };
    let (outcome, live, last) = done.map_err(|refusal| refused(refusal, ask.key))?;
    let reset_ms = last.millis_left(leases.now_ms());
    Ok((outcome, ask.limit.reply(1, live, 0, reset_ms)))
}

/// Counts and tells what came of it.
fn report(call: &Call<'_>, ask: &Ask<'_>, outcome: &Outcome) {
    let counter = match outcome {
        Outcome::Granted => &LEASES.acquired,
        Outcome::Renewed => &LEASES.renewed,
        Outcome::Denied => {
            LEASES.denied.add(1);
            stats::denied(ask.key.bytes(), call.now());
            return call.notify(c"rl.deny", ask.key);
        }
    };
    counter.add(1);
    call.notify(c"rl.acquire", ask.key);
}
