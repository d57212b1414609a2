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
use crate::server::{Call, Key};

const TAKE: &CStr = c"rl.take";
const DENY: &CStr = c"rl.deny";
const GIVE: &CStr = c"rl.give";

/// How the bucket of an open key stands now.
fn standing<'a>(call: &Call<'a>, key: &mut Key<'a>, limit: Limit) -> Result<Standing, Error<'a>> {
    let stored = key.read(Bucket::SIZE..=Bucket::SIZE)?;
    let stored = stored.map(bucket).transpose()?;
    Ok(Standing::new(stored, call.now(), limit))
}

fn bucket<'a>(stored: &[u8]) -> Result<Bucket, Error<'a>> {
    Bucket::from_bytes(stored).ok_or(Error::NotABucket)
}

/// Makes the change that was decided on.
fn settle<'a>(key: &mut Key<'a>, change: Change) -> Result<(), Error<'a>> {
    match change {
        Change::Keep => Ok(()),
        Change::Write(bucket, full_at_ms) => key.write(bucket.to_bytes(), full_at_ms),
        Change::Remove => key.remove(),
    }
}
