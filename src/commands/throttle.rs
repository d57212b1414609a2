//! `CL.THROTTLE key max_burst count period [quantity]`: redis-cell's command on the same buckets.

use super::{settle, tell};
use crate::server::{Access, Argument, Call, Doc, Handler, Info, Keys};
use crate::stats;
use redis_rl_limits::bucket::{Ask, Bucket, Decision, Mode, Standing};
use redis_rl_limits::error::{Error, Parameter};
use redis_rl_limits::limit::{integer, Limit, MAX_TOKENS};

const MAX_COUNT: u64 = 1_000_000_000_000_000_000;
const MAX_PERIOD: u64 = 1_000_000_000;
/// Digits of the largest arrival time that redis-cell can have written.
const MAX_DIGITS: usize = 19;

/// The command.
pub struct Throttle;

impl Handler for Throttle {
    const INFO: Info = Info {
        name: c"CL.THROTTLE",
        access: Access::Write,
        keys: Keys::First,
        summary:
            c"Takes tokens from a rate-limit bucket, with the arguments and reply of redis-cell.",
        complexity: c"O(1)",
        arguments: &[
            Doc::key(c"key"),
            Doc::integer(c"max_burst"),
            Doc::integer(c"count"),
            Doc::integer(c"period"),
            Doc::integer(c"quantity").optional(),
        ],
        arity: -5,
    };

    fn run<'a>(call: &Call<'a>) -> Result<(), Error<'a>> {
        let (name, limit, quantity) = parse(call.arguments())?;

        let now = call.now();
        let mut key = call.open(name, 1..=MAX_DIGITS)?;
        let stored = key.value().map(|value| taken_over(value, now, &limit));
        let stored = stored.transpose()?;
        let standing = Standing::new(stored, now, limit);
        let decision = decide(&standing, quantity)?;
        settle(&mut key, decision.change)?;
        key.close();

        let limited = quantity > 0 && decision.reply.taken == 0;
        if quantity == 0 {
            stats::PEEKS.add(1);
        } else {
            stats::takes(decision.reply.taken).add(1);
            tell(call, name, &decision.reply);
        }
        call.reply(&fields(&decision, limited));
        Ok(())
    }
}

fn parse<'s, 'a>(
    arguments: &'s [Argument<'a>],
) -> Result<(&'s Argument<'a>, Limit, u64), Error<'a>> {
    let (name, max_burst, count, period, quantity) = match arguments {
        [name, max_burst, count, period] => (name, max_burst, count, period, 1),
        [name, max_burst, count, period, quantity] => {
            let quantity = number(quantity, Parameter::Quantity, 0..=MAX_TOKENS)?;
            (name, max_burst, count, period, quantity)
        }
        _ => return Err(Error::Arity),
    };
    let burst = number(max_burst, Parameter::MaxBurst, 0..=MAX_TOKENS - 1)?.saturating_add(1);
    let count = number(count, Parameter::Count, 1..=MAX_COUNT)?;
    let period = number(period, Parameter::Period, 1..=MAX_PERIOD)?;
    Ok((name, Limit::per_seconds(count, period, burst)?, quantity))
}

fn number<'a>(
    text: &Argument<'a>,
    parameter: Parameter,
    accepted: std::ops::RangeInclusive<u64>,
) -> Result<u64, Error<'a>> {
    integer(text.bytes(), accepted).ok_or(Error::Invalid(parameter, text.bytes()))
}

/// The bucket that is stored, or that redis-cell left: its arrival time as a decimal number.
fn taken_over<'a>(stored: &[u8], now: u64, limit: &Limit) -> Result<Bucket, Error<'a>> {
    Bucket::from_bytes(stored)
        .or_else(|| {
            let arrival = integer(stored, 0..=u64::MAX)?;
            Some(Bucket::from_arrival_time(arrival, now, limit))
        })
        .ok_or(Error::NotABucket)
}

/// As redis-cell does, a quantity of 0 asks how the bucket stands.
fn decide(standing: &Standing, quantity: u64) -> Result<Decision, Error<'static>> {
    if quantity == 0 {
        return Ok(standing.look(0));
    }
    standing.take(Ask {
        cost: quantity,
        mode: Mode::Whole,
    })
}

/// redis-cell's five integers, in seconds.
fn fields(decision: &Decision, limited: bool) -> [i64; 5] {
    let seconds = |ms: i64| ms.saturating_add(999) / 1_000;
    let reply = &decision.reply;
    let retry_after = match reply.wait_ms {
        wait if limited && wait >= 0 => seconds(wait),
        _ => -1,
    };
    [
        limited.into(),
        reply.limit,
        reply.remaining,
        retry_after,
        seconds(reply.reset_ms),
    ]
}
