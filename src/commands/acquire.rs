//! `RL.ACQUIRE key limit ttl token [KEEP n]`: a slot for `token`, or none. A token that holds one
//! renews it.

use redis_rl_limits::decision::{Reply, NEVER};
use redis_rl_limits::error::Error;
use redis_rl_limits::lease::{check_token, parse_ttl, End, Limit, Verdict};
use redis_rl_limits::options::{Name, Options};
use redis_rl_limits::top::Top;

use super::lease_set::{refused, Held, Leases};
use super::{Command, KEEP, KEY, LEASES_VERSION, LIMIT, TOKEN, TTL};
use crate::server::{Access, Argument, Call, Description, Keys};
use crate::stats::{with_top, LEASES};

/// The command.
pub struct Acquire;

/// What a call asks for.
struct Ask<'a> {
    key: &'a Argument<'a>,
    limit: Limit,
    ttl_ms: u64,
    token: &'a Argument<'a>,
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
        let held = leases.held(ask.token);
        let reply = match ask.limit.acquire(held.live as u64, held.own) {
            Verdict::Renew(own) => renew(&mut leases, &held, own, &ask),
            Verdict::Grant => grant(&mut leases, &held, &ask),
            Verdict::Deny(ended) => Ok(deny(&mut leases, &held, &ask, ended)),
        }?;
        drop(leases);
        report(call, &ask, &held, &reply);
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

fn grant<'k, 'a: 'k>(
    leases: &mut Leases<'k>,
    held: &Held,
    ask: &Ask<'a>,
) -> Result<Reply, Error<'a>> {
    let granted = leases
        .check_memory()
        .and_then(|()| leases.grant(held, ask.token, ask.ttl_ms));
    let last = granted.map_err(|refusal| refused(refusal, ask.key))?;
    let live = (held.live as u64).saturating_add(1);
    let reset_ms = last.millis_left(leases.now_ms());
    Ok(ask.limit.reply(1, live, 0, reset_ms))
}

fn renew<'k, 'a: 'k>(
    leases: &mut Leases<'k>,
    held: &Held,
    own: End,
    ask: &Ask<'a>,
) -> Result<Reply, Error<'a>> {
    let last = leases
        .renew(held, own, ask.token, ask.ttl_ms)
        .map_err(|refusal| refused(refusal, ask.key))?;
    let reset_ms = last.millis_left(leases.now_ms());
    Ok(ask.limit.reply(1, held.live as u64, 0, reset_ms))
}

fn deny(leases: &mut Leases<'_>, held: &Held, ask: &Ask<'_>, ended: Option<u64>) -> Reply {
    let wait_ms = ended.map_or(NEVER, |ended| leases.wait_ms(held, ended));
    let reset_ms = leases.reset_ms();
    ask.limit.reply(0, held.live as u64, wait_ms, reset_ms)
}

/// Counts and tells what came of it.
fn report(call: &Call<'_>, ask: &Ask<'_>, held: &Held, reply: &Reply) {
    if reply.taken == 0 {
        LEASES.denied.add(1);
        with_top(|top: &mut Top| top.denied(ask.key.bytes(), call.now()));
        call.notify(c"rl.deny", ask.key);
        return;
    }
    match held.own {
        Some(_) => LEASES.renewed.add(1),
        None => LEASES.acquired.add(1),
    }
    call.notify(c"rl.acquire", ask.key);
}
