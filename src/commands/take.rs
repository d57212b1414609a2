//! `RL.TAKE key rate burst [COST n]`: takes `n` tokens (1) or none.

use crate::bucket;
use crate::error::Error;
use crate::limit::{self, Limit};
use crate::server::{Access, Argument, Call, Doc, Handler, Info};

/// The command.
pub struct Take;

impl Handler for Take {
    const INFO: Info = Info {
        name: c"RL.TAKE",
        access: Access::Write,
        summary: c"Takes tokens from a rate-limit bucket, or none if there are too few.",
        arguments: &[
            Doc::key(c"key"),
            Doc::string(c"rate"),
            Doc::integer(c"burst"),
            Doc::option(c"cost", c"COST"),
        ],
        arity: -4,
    };

    fn run<'a>(call: &Call<'a>) -> Result<(), Error<'a>> {
        let [key, rate, burst, options @ ..] = call.arguments() else {
            call.wrong_arity();
            return Ok(());
        };
        let limit = Limit::parse(rate.bytes(), burst.bytes())?;
        let cost = cost(options)?;

        let mut key = call.open(key)?;
        let decision = bucket::take(key.bucket()?, call.now(), &limit, cost);
        if let Some(bucket) = decision.store {
            key.store(bucket, bucket.full_at_ms(&limit))?;
        }
        call.reply(&decision.reply);
        Ok(())
    }
}

fn cost<'a>(mut options: &[Argument<'a>]) -> Result<u64, Error<'a>> {
    let mut cost = None;
    while let [name, rest @ ..] = options {
        let name = name.bytes();
        if !name.eq_ignore_ascii_case(b"COST") {
            return Err(Error::UnknownOption(name));
        }
        if cost.is_some() {
            return Err(Error::RepeatedOption(name));
        }
        let [value, rest @ ..] = rest else {
            return Err(Error::MissingValue(name));
        };
        cost = Some(limit::parse_tokens(value.bytes()).ok_or(Error::Cost(value.bytes()))?);
        options = rest;
    }
    Ok(cost.unwrap_or(1))
}
