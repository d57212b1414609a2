//! A limit of any kind in a call on several keys.

use redis_rl_limits::grammar::error::Error;
use redis_rl_limits::kinds::decision::Reply;
use redis_rl_limits::kinds::{bucket, sliding, window};

use super::lease_part::LeasePart;
use super::limit_spec::Spec;
use super::string_part::StringPart;
use super::take_all::Part;
use crate::server::{Call, KeyName};

/// A limit with its standing.
pub enum Mixed<'a> {
    /// `BUCKET …`
    Bucket(StringPart<'a, bucket::Limit>),
    /// `WINDOW …`
    Window(StringPart<'a, window::Limit>),
    /// `WINDOW limit SLIDING …`
    Sliding(StringPart<'a, sliding::Limit>),
    /// `LEASE …`
    Lease(LeasePart<'a>),
}

impl<'a> Mixed<'a> {
    /// Reads the standing of a limit.
    ///
    /// # Errors
    /// The key holds something else, or the limit is not valid at this time.
    #[inline(always)]
    pub fn read(
        call: &mut Call<'a>,
        name: KeyName<'a>,
        spec: &Spec<'a>,
    ) -> Result<Self, Error<'a>> {
        Ok(match *spec {
            Spec::Bucket(limit, ask) => Self::Bucket(StringPart::read(call, name, limit, ask)?),
            Spec::Window(limit, ask) => Self::Window(StringPart::read(call, name, limit, ask)?),
            Spec::Sliding(limit, ask) => Self::Sliding(StringPart::read(call, name, limit, ask)?),
            Spec::Lease(lease) => Self::Lease(LeasePart::read(call, name, lease)?),
        })
    }

    /// Returns the lease, if it is one.
    pub fn lease(&self) -> Option<&LeasePart<'a>> {
        match self {
            Self::Lease(on) => Some(on),
            _ => None,
        }
    }

    /// Renews a lease and charges nothing else, because the call is a retry.
    ///
    /// # Errors
    /// The server refuses the write.
    pub fn retry(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let untouched = |reply: Reply| Reply {
            taken: 0,
            wait_ms: 0,
            ..reply
        };
        match self {
            Self::Bucket(on) => on.look().map(untouched),
            Self::Window(on) => on.look().map(untouched),
            Self::Sliding(on) => on.look().map(untouched),
            Self::Lease(on) => on.take(call),
        }
    }
}

impl<'a> Part<'a> for Mixed<'a> {
    #[inline(always)]
    fn has_room(&self) -> bool {
        match self {
            Self::Bucket(on) => on.has_room(),
            Self::Window(on) => on.has_room(),
            Self::Sliding(on) => on.has_room(),
            Self::Lease(on) => on.has_room(),
        }
    }

    #[inline(always)]
    fn out_of_memory(&self) -> Option<Error<'a>> {
        match self {
            Self::Bucket(on) => on.out_of_memory(),
            Self::Window(on) => on.out_of_memory(),
            Self::Sliding(on) => on.out_of_memory(),
            Self::Lease(on) => on.out_of_memory(),
        }
    }

    #[inline(always)]
    fn take(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let (reply, counts) = match self {
            Self::Bucket(on) => (on.take(call)?, on.counts()),
            Self::Window(on) => (on.take(call)?, on.counts()),
            Self::Sliding(on) => (on.take(call)?, on.counts()),
            Self::Lease(on) => return on.take(call),
        };
        counts.count_call(reply.taken);
        Ok(reply)
    }

    fn deny(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let (reply, counts) = match self {
            Self::Bucket(on) => (on.deny(call)?, on.counts()),
            Self::Window(on) => (on.deny(call)?, on.counts()),
            Self::Sliding(on) => (on.deny(call)?, on.counts()),
            Self::Lease(on) => return on.deny(call),
        };
        // A limit that had room is not counted as a denial.
        if reply.taken == 0 {
            counts.count_call(0);
        }
        Ok(reply)
    }
}
