//! `RL.MTAKE numkeys key rate burst [key rate burst …] [COST n]`: takes `n` tokens (1) from every
//! bucket or from none.

use redis_rl_limits::bucket::{Bucket, Limit, Standing};
use redis_rl_limits::decision::{Ask, Change, Decision, Reply, Standing as _};
use redis_rl_limits::distinct::check_distinct;
use redis_rl_limits::error::Error;
use redis_rl_limits::options::{Name, Options};

use super::few::Few;
use super::limited::{refused, report, Open};
use super::numkeys::split;
use super::replies::Replies;
use super::{Command, BURST, COST, FIRST_VERSION, KEY, RATE};
use crate::server::{Access, Argument, Call, Description, Doc, Keys};
use crate::stats::BUCKETS;

/// Arguments for each bucket: key, rate and burst.
const STEP: usize = 3;

/// The command.
pub struct MTake;

/// A bucket of the call.
struct Part<'a> {
    name: &'a Argument<'a>,
    limit: Limit,
    standing: Standing,
    is_new: bool,
}

impl Command for MTake {
    const DESCRIPTION: Description = Description {
        name: c"RL.MTAKE",
        since: FIRST_VERSION,
        access: Access::Write,
        keys: Keys::Counted { step: STEP },
        summary: c"Takes tokens from several rate-limit buckets, or from none of them.",
        complexity: c"O(N) where N, at most 128, is the number of buckets",
        arguments: &[
            Doc::integer(c"numkeys"),
            Doc::block(c"bucket", &[KEY, RATE, BURST]).multiple(),
            COST,
        ],
        tips: None,
    };
    const SYNTAX: &'static str = "RL.MTAKE numkeys key rate burst [key rate burst ...] [COST n]";
    type Answer = Replies;

    fn run<'a>(call: &mut Call<'a>) -> Result<Replies, Error<'a>> {
        let (buckets, options) = split(call.arguments(), STEP, Self::SYNTAX)?;
        let ask = Options::parse(options, Name::OF_COST)?.ask();
        let parts = read(call, buckets)?;
        let enough = parts.iter().all(|part| part.standing.has(&ask));
        let each = if enough {
            take(call, &parts, &ask)?
        } else {
            deny(call, &parts, &ask)?
        };
        let taken = if enough { ask.cost as i64 } else { 0 };
        BUCKETS.count_call(taken);
        Ok(Replies { taken, each })
    }
}

/// Reads every bucket, if all of the arguments are right.
fn read<'a>(call: &mut Call<'a>, buckets: &'a [Argument<'a>]) -> Result<Few<Part<'a>>, Error<'a>> {
    let names = buckets.iter().step_by(STEP);
    check_distinct(call.seed(), names.map(Argument::bytes))?;
    let mut limits = Few::new();
    for bucket in buckets.chunks_exact(STEP) {
        if let [name, rate, burst] = bucket {
            limits.push((name, Limit::parse(rate.bytes(), burst.bytes())?));
        }
    }
    let mut parts = Few::new();
    for &(name, limit) in limits.iter() {
        let open = Open::new(call, name, limit)?;
        parts.push(Part {
            name,
            limit,
            standing: open.standing,
            is_new: !open.key.exists(),
        });
    }
    Ok(parts)
}

/// Takes from every bucket.
fn take<'a>(
    call: &mut Call<'a>,
    parts: &Few<Part<'a>>,
    ask: &Ask,
) -> Result<Few<Reply>, Error<'a>> {
    // Asked for all before the first is written, and not again: the first ones may take the last
    // of the memory, and the others must be written too.
    if let Some(part) = parts.iter().find(|part| part.is_new) {
        call.check_memory()
            .map_err(|refusal| refused::<Limit>(refusal, part.name))?;
    }
    let mut replies = Few::new();
    for part in parts.iter() {
        let decision = part.standing.take(ask)?;
        part.store(call, &decision)?;
        report(call, part.name, &decision.reply, &BUCKETS);
        replies.push(decision.reply);
    }
    Ok(replies)
}

/// Takes nothing, and tells of each bucket whether it has enough.
fn deny<'a>(
    call: &mut Call<'a>,
    parts: &Few<Part<'a>>,
    ask: &Ask,
) -> Result<Few<Reply>, Error<'a>> {
    let mut replies = Few::new();
    for part in parts.iter() {
        let decision = if part.standing.has(ask) {
            part.standing.look(ask)?
        } else {
            part.standing.take(ask)?
        };
        if decision.change != Change::Keep {
            part.store(call, &decision)?;
        }
        // Where the call is denied, a bucket that has enough has nothing to tell.
        if decision.reply.taken == 0 {
            report(call, part.name, &decision.reply, &BUCKETS);
        }
        replies.push(decision.reply);
    }
    Ok(replies)
}

impl<'a> Part<'a> {
    /// Makes the change that was decided on.
    ///
    /// The key is opened once more: while the others were read it could not stay open, since
    /// opening one key may remove another (see [`Key`](crate::server::Key)).
    fn store(&self, call: &mut Call<'a>, decision: &Decision<Bucket>) -> Result<(), Error<'a>> {
        Open::new(call, self.name, self.limit)?.store_with_memory(decision.change)
    }
}
