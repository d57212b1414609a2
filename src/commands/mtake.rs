//! `RL.MTAKE numkeys key rate burst [key rate burst …] [COST n]`: takes `n` tokens (1) from every
//! bucket or from none.

use super::{options, store, tell, BURST, COST, KEY, RATE};
use crate::server::{Access, Argument, Call, Doc, Handler, Info, Key, Keys};
use crate::stats;
use redis_rl_limits::bucket::{Ask, Decision, Mode, Standing};
use redis_rl_limits::error::{Error, Parameter};
use redis_rl_limits::limit::{integer, Limit};

/// Buckets in a call: what bounds its memory and its time.
const MAX_BUCKETS: u64 = 128;
/// Arguments for each: key, rate and burst.
const STEP: usize = 3;

/// The command.
pub struct MTake;

/// A bucket of the call.
struct Part<'a> {
    name: &'a Argument<'a>,
    key: Key<'a>,
    standing: Standing,
}

impl Handler for MTake {
    const INFO: Info = Info {
        name: c"RL.MTAKE",
        access: Access::Write,
        keys: Keys::Counted { step: STEP },
        summary: c"Takes tokens from several rate-limit buckets, or from none of them.",
        complexity: c"O(N^2) where N, at most 128, is the number of buckets",
        arguments: &[
            Doc::integer(c"numkeys"),
            Doc::block(c"bucket", &[KEY, RATE, BURST]).multiple(),
            COST,
        ],
        arity: -5,
    };

    fn run<'a>(call: &Call<'a>) -> Result<(), Error<'a>> {
        let (buckets, options) = split(call.arguments())?;
        let cost = options::cost(options)?;
        let parts = open(call, buckets)?;

        let enough = parts.iter().all(|part| part.standing.has(cost));
        if enough {
            // Asked for all before the first is written, and not again: the first ones may take
            // the last of the memory, and the others must be written too.
            for part in &parts {
                part.key.check_writable()?;
            }
        }
        let mut decisions = Vec::with_capacity(parts.len());
        for mut part in parts {
            let decision = if enough {
                let mode = Mode::Whole;
                part.standing.take(Ask { cost, mode })?
            } else {
                part.standing.look(cost)
            };
            store(&mut part.key, decision.change)?;
            decisions.push((part.name, decision));
        }
        let taken = if enough { cost as i64 } else { 0 };
        stats::takes(taken).add(1);
        // Where the call is denied, a bucket that has enough has nothing to tell.
        for (name, decision) in &decisions {
            if enough || decision.reply.taken == 0 {
                tell(call, name, &decision.reply);
            }
        }
        reply(call, taken, &decisions);
        Ok(())
    }
}

/// `numkeys …` → the arguments of the buckets, and the options behind them.
fn split<'s, 'a>(
    arguments: &'s [Argument<'a>],
) -> Result<(&'s [Argument<'a>], &'s [Argument<'a>]), Error<'a>> {
    let [numkeys, rest @ ..] = arguments else {
        return Err(Error::Arity);
    };
    integer(numkeys.bytes(), 1..=MAX_BUCKETS)
        .and_then(|n| rest.split_at_checked(STEP.checked_mul(usize::try_from(n).ok()?)?))
        .ok_or(Error::Invalid(Parameter::NumKeys, numkeys.bytes()))
}

/// Opens every bucket, if all of the arguments are right.
fn open<'a>(call: &Call<'a>, buckets: &'a [Argument<'a>]) -> Result<Vec<Part<'a>>, Error<'a>> {
    let mut limits = Vec::with_capacity(buckets.len() / STEP);
    for bucket in buckets.chunks_exact(STEP) {
        if let [name, rate, burst] = bucket {
            let repeated = |(other, _): &(&Argument<'_>, Limit)| other.bytes() == name.bytes();
            if limits.iter().any(repeated) {
                return Err(Error::RepeatedKey(name.bytes()));
            }
            limits.push((name, Limit::parse(rate.bytes(), burst.bytes())?));
        }
    }
    let open = |(name, limit)| {
        let (key, standing) = super::open(call, name, limit)?;
        Ok(Part {
            name,
            key,
            standing,
        })
    };
    limits.into_iter().map(open).collect()
}

fn reply(call: &Call<'_>, taken: i64, decisions: &[(&Argument<'_>, Decision)]) {
    let waits = decisions.iter().map(|(_, decision)| decision.reply.wait_ms);
    // A bucket that will never have enough is waited for the longest.
    let wait_ms = waits.max_by_key(|&wait| wait as u64).unwrap_or(0);
    call.reply_array(3);
    call.reply_integer(taken);
    call.reply_integer(wait_ms);
    call.reply_array(decisions.len());
    for (_, decision) in decisions {
        call.reply(&decision.reply.fields());
    }
}
