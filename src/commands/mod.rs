//! One file per command, each the same beats: parse, decide, store, reply.

#![forbid(unsafe_code)]

pub mod give;
pub mod mtake;
mod options;
pub mod peek;
pub mod take;
pub mod throttle;
pub mod top;

use crate::server::{Argument, Call, Doc, Key};
use crate::stats::{self, with_top};
use redis_rl_limits::bucket::{Bucket, Change, Reply, Standing};
use redis_rl_limits::error::Error;
use redis_rl_limits::limit::Limit;

// The arguments that most commands have.
const KEY: Doc = Doc::key(c"key");
const RATE: Doc = Doc::string(c"rate");
const BURST: Doc = Doc::integer(c"burst");
const COST: Doc = Doc::integer(c"cost").after(c"COST").optional();

/// `key rate burst …`: the key, the limit, and what follows.
#[inline(always)]
fn key_and_limit<'a>(
    call: &Call<'a>,
) -> Result<(&'a Argument<'a>, Limit, &'a [Argument<'a>]), Error<'a>> {
    let [key, rate, burst, options @ ..] = call.arguments() else {
        return Err(Error::Arity);
    };
    Ok((key, Limit::parse(rate.bytes(), burst.bytes())?, options))
}

/// Counts and tells that tokens were taken from a bucket, or that it had too few.
fn tell(call: &Call<'_>, name: &Argument<'_>, reply: &Reply) {
    if reply.taken > 0 {
        stats::taken(reply);
        call.notify(c"rl.take", name);
    } else {
        with_top(|top| top.denied(name.bytes(), call.now()));
        call.notify(c"rl.deny", name);
    }
}

/// Opens a bucket's key, and tells how the bucket stands now.
#[inline(always)]
fn open<'a>(
    call: &Call<'a>,
    name: &'a Argument<'a>,
    limit: Limit,
) -> Result<(Key<'a>, Standing), Error<'a>> {
    let key = call.open(name, Bucket::SIZE..=Bucket::SIZE)?;
    let stored = stored(&key)?;
    Ok((key, Standing::new(stored, call.now(), limit)))
}

fn stored<'a>(key: &Key<'a>) -> Result<Option<Bucket>, Error<'a>> {
    let bucket = |bytes| Bucket::from_bytes(bytes).ok_or(Error::NotABucket);
    key.value().map(bucket).transpose()
}

/// Makes the change that was decided on, if there is memory for it.
#[inline(always)]
fn settle<'a>(key: &mut Key<'a>, change: Change) -> Result<(), Error<'a>> {
    if let Change::Write(..) = change {
        key.check_writable()?;
    }
    store(key, change)
}

/// Makes the change that was decided on.
#[inline(always)]
fn store<'a>(key: &mut Key<'a>, change: Change) -> Result<(), Error<'a>> {
    match change {
        Change::Keep => Ok(()),
        Change::Write(bucket, full_at_ms) => {
            let is_new = key.value().is_none();
            key.write(bucket.to_bytes(), full_at_ms)?;
            stats::BUCKETS_CREATED.add(is_new.into());
            Ok(())
        }
        Change::Remove => key.remove(),
    }
}
