//! `RL.ALL numkeys key [key …] spec [spec …]`: every limit or none, whatever its kind.

use redis_rl_limits::decision::Reply;
use redis_rl_limits::distinct::check_distinct;
use redis_rl_limits::error::Error;

use super::few::Few;
use super::mixed::{check_memory, Part};
use super::numkeys::split;
use super::replies::Replies;
use super::spec::Spec;
use super::window::WINDOW;
use super::{Command, BURST, COST, KEEP, KEY, LEASES_VERSION, LIMIT, RATE, TOKEN, TTL};
use crate::server::{Access, Argument, Call, Description, Doc, Keys};

/// The command.
pub struct All;

impl Command for All {
    const DESCRIPTION: Description = Description {
        name: c"RL.ALL",
        since: LEASES_VERSION,
        access: Access::Write,
        keys: Keys::Counted { step: 1 },
        summary: c"Takes from every one of several limits of any kind, or from none of them.",
        complexity: c"O(N*log(M)) where N, at most 128, is the number of limits and M that of \
                      leases",
        arguments: &[
            Doc::integer(c"numkeys"),
            KEY.multiple(),
            Doc::one_of(
                c"spec",
                &[
                    Doc::block(c"bucket", &[RATE, BURST, COST, KEEP]).after(c"BUCKET"),
                    Doc::block(c"window", &[LIMIT, WINDOW, COST, KEEP]).after(c"WINDOW"),
                    Doc::block(
                        c"lease",
                        &[
                            LIMIT,
                            TTL,
                            TOKEN,
                            KEEP,
                            Doc::token(c"once", c"ONCE").optional(),
                        ],
                    )
                    .after(c"LEASE"),
                ],
            )
            .multiple(),
        ],
        tips: None,
    };
    const SYNTAX: &'static str = "RL.ALL numkeys key [key ...] spec [spec ...], where a spec is \
        BUCKET rate burst [COST n] [KEEP n] | WINDOW limit window [COST n] [KEEP n] | \
        LEASE limit ttl token [KEEP n] [ONCE]";
    type Answer = Replies;

    fn run<'a>(call: &mut Call<'a>) -> Result<Replies, Error<'a>> {
        let (keys, words) = split(call.arguments(), 1, Self::SYNTAX)?;
        let specs = parse(call, keys, words, Self::SYNTAX)?;
        let mut parts = Few::new();
        for (name, spec) in keys.iter().zip(specs.iter()) {
            parts.push(Part::read(call, name, spec)?);
        }
        if was_made_before(&parts) {
            return answer(1, &parts, |part| part.retry(call));
        }
        if !parts.iter().all(Part::has_room) {
            return answer(0, &parts, |part| part.deny(call));
        }
        // Asked for all before the first is written, and not again: the first ones may take the
        // last of the memory, and the others must be written too.
        check_memory(call, &parts)?;
        answer(1, &parts, |part| part.take(call))
    }
}

/// The limits, one for each key, if no key is there twice.
fn parse<'a>(
    call: &Call<'a>,
    keys: &'a [Argument<'a>],
    mut words: &'a [Argument<'a>],
    syntax: &'static str,
) -> Result<Few<Spec<'a>>, Error<'a>> {
    check_distinct(call.seed(), keys.iter().map(Argument::bytes))?;
    let mut specs = Few::new();
    for _ in keys {
        if words.is_empty() {
            return Err(Error::LimitForEachKey { keys: keys.len() });
        }
        let (spec, rest) = Spec::parse(words, syntax)?;
        specs.push(spec);
        words = rest;
    }
    match words {
        [] => Ok(specs),
        _ => Err(Error::LimitForEachKey { keys: keys.len() }),
    }
}

/// Whether this very call was made before: there is a lease, and every one says ONCE and is held
/// by its token.
fn was_made_before(parts: &Few<Part<'_>>) -> bool {
    let mut leases = parts.iter().filter_map(Part::lease).peekable();
    leases.peek().is_some() && leases.all(|(lease, is_held)| lease.once && is_held)
}

fn answer<'a>(
    taken: i64,
    parts: &Few<Part<'a>>,
    mut reply: impl FnMut(&Part<'a>) -> Result<Reply, Error<'a>>,
) -> Result<Replies, Error<'a>> {
    let mut each = Few::new();
    for part in parts.iter() {
        each.push(reply(part)?);
    }
    Ok(Replies { taken, each })
}
