//! One file per command, each the same beats: parse, decide, store, reply.

#![forbid(unsafe_code)]

pub mod give;
pub mod mtake;
mod options;
pub mod peek;
pub mod take;
pub mod throttle;

use std::ffi::CStr;

use crate::bucket::{Bucket, Change, Standing};
use crate::error::Error;
use crate::limit::Limit;
use crate::server::{Argument, Call, Key};

const TAKE: &CStr = c"rl.take";
const DENY: &CStr = c"rl.deny";
const GIVE: &CStr = c"rl.give";

/// Opens a bucket's key, and tells how the bucket stands now.
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

/// Makes the change that was decided on.
fn settle<'a>(key: &mut Key<'a>, change: Change) -> Result<(), Error<'a>> {
    match change {
        Change::Keep => Ok(()),
        Change::Write(bucket, full_at_ms) => key.write(bucket.to_bytes(), full_at_ms),
        Change::Remove => key.remove(),
    }
}
