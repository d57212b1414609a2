//! `CL.THROTTLE key max_burst count period [quantity]`: redis-cell's command on the same buckets.

use crate::commands::error::Error;
use redis_rl_limits::bounds::{MAX_BURST, MAX_COST, MILLIS_PER_SECOND, NANOS_PER_SECOND};
use redis_rl_limits::grammar::bucket;
use redis_rl_limits::grammar::number::plain_integer;
use redis_rl_limits::grammar::parameter::Parameter;
use redis_rl_limits::kinds::bucket::{Bucket, Limit};
use redis_rl_limits::kinds::decision::{Ask, Reply, Standing as _, State};
use redis_rl_limits::kinds::rate::Rate;

use crate::commands::command::{Answer, Command, FIRST_VERSION};
use crate::commands::string_key::{refused, report, Open};
use crate::server::{Access, Argument, Call, Description, Doc, KeyName, Keys, Refusal};
use crate::stats::BUCKETS;

/// Digits of an arrival time written by redis-cell in this century: nanoseconds since 1970.
const ARRIVAL_TIME_DIGITS: usize = 19;

/// The burst minus one, as redis-cell counts.
const BURST: &Parameter = &Parameter::new("max_burst", 0..=MAX_BURST - 1);
/// Tokens per period.
const COUNT: &Parameter = &Parameter::new("count", 1..=1_000_000_000_000_000_000);
const PERIOD: &Parameter = &Parameter::new("period", 1..=1_000_000_000).with_unit(" seconds");
/// Tokens to take; 0 peeks.
const QUANTITY: &Parameter = &Parameter::new("quantity", 0..=MAX_COST);

/// The command.
pub struct Throttle;

/// The reply: redis-cell's five integers, in seconds.
pub struct Answered([i64; 5]);

impl Command for Throttle {
    const DESCRIPTION: Description = Description {
        name: c"CL.THROTTLE",
        since: FIRST_VERSION,
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
        tips: None,
    };
    const SYNTAX: &'static str = "CL.THROTTLE key max_burst count period [quantity]";
    type Answer = Answered;

    fn run<'a>(call: &mut Call<'a>) -> Result<Answered, Error<'a>> {
        let (name, limit, quantity) = parse(call.arguments(), Self::SYNTAX)?;
        let reply = throttle(call, name, limit, quantity)?;

        let limited = quantity > 0 && reply.taken == 0;
        if quantity == 0 {
            BUCKETS.peeks.add(1);
        } else {
            BUCKETS.count_call(reply.is_denied());
            report(call, name, &reply, &BUCKETS);
        }
        Ok(Answered(fields(&reply, limited)))
    }
}

impl Answer for Answered {
    fn send(&self, call: &Call<'_>) {
        call.reply_integers(&self.0);
    }
}

fn throttle<'a>(
    call: &mut Call<'a>,
    name: KeyName<'a>,
    limit: Limit,
    quantity: u64,
) -> Result<Reply, Error<'a>> {
    let now = call.now();
    let accepted = |len| len == Bucket::SIZE || len == ARRIVAL_TIME_DIGITS;
    let decode = |bytes: &[u8]| taken_over(bytes, now, &limit);
    let (mut open, standing) = Open::with(call, name, limit, accepted, decode)?;
    // A counter or an id with as many digits has no expiry; a value written by redis-cell always
    // has one.
    if open.key.len() == ARRIVAL_TIME_DIGITS && open.key.expires_at().is_none() {
        return Err(refused::<Limit>(Refusal::OtherLength, name));
    }
    // As in redis-cell, a quantity of 0 peeks.
    if quantity == 0 {
        return Ok(standing.state());
    }
    let decision = standing.take(&Ask::whole(quantity))?;
    open.store(decision.change)?;
    Ok(decision.reply)
}

fn parse<'a>(
    arguments: &'a [Argument<'a>],
    syntax: &'static str,
) -> Result<(KeyName<'a>, Limit, u64), Error<'a>> {
    let (name, max_burst, count, period, quantity) = match arguments {
        [name, max_burst, count, period] => (name, max_burst, count, period, 1),
        [name, max_burst, count, period, quantity] => {
            let quantity = QUANTITY.integer(quantity.bytes())?;
            (name, max_burst, count, period, quantity)
        }
        _ => return Err(Error::Usage(syntax)),
    };
    let burst = BURST.integer(max_burst.bytes())?.saturating_add(1);
    let count = COUNT.integer(count.bytes())?;
    let period = PERIOD.integer(period.bytes())?;
    let nanos = period.checked_mul(NANOS_PER_SECOND);
    let rate = nanos.and_then(|nanos| Rate::new(count.into(), nanos));
    let rate = rate.ok_or(Error::TooFast)?;
    Ok((
        KeyName::of(name),
        Limit::new(rate, burst).ok_or(bucket::Error::TooSlow)?,
        quantity,
    ))
}

/// Parses the stored bucket, or the arrival time that redis-cell stored as a decimal number.
fn taken_over(stored: &[u8], now: u64, limit: &Limit) -> Option<Bucket> {
    if stored.len() == ARRIVAL_TIME_DIGITS {
        let arrival = plain_integer(stored, 1_000_000_000_000_000_000..=u64::MAX)?;
        return Some(Bucket::from_arrival_time(arrival, now, limit));
    }
    Bucket::from_bytes(stored)
}

/// Returns redis-cell's five integers, in seconds.
fn fields(reply: &Reply, limited: bool) -> [i64; 5] {
    let retry_after = match reply.wait_ms {
        wait if limited && wait >= 0 => ceil_seconds(wait),
        _ => -1,
    };
    [
        limited.into(),
        reply.limit,
        reply.remaining,
        retry_after,
        ceil_seconds(reply.reset_ms),
    ]
}

fn ceil_seconds(ms: i64) -> i64 {
    let seconds = ms.unsigned_abs().div_ceil(MILLIS_PER_SECOND);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}
