//! A limit of any kind in a call on several keys.

use redis_rl_limits::kinds::decision::{Ask, Reply, Standing as _};
use redis_rl_limits::kinds::{bucket, sliding, window};

use super::lease_part::LeasePart;
use super::limit_spec::Spec;
use super::string_part::StringPart;
use super::take_all::Part;
use crate::commands::error::Error;
use crate::commands::string_key::Counted;
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
    /// Whatever the limit, a key that cannot be read, and the reply for a key without a value.
    Unreadable(Error<'a>, Reply),
}

impl<'a> Mixed<'a> {
    /// Reads the standing of a limit.
    #[inline(always)]
    pub fn read(call: &mut Call<'a>, name: KeyName<'a>, spec: &Spec<'a>) -> Self {
        match *spec {
            Spec::Bucket(limit, ask) => Self::on_string(call, name, limit, ask, Self::Bucket),
            Spec::Window(limit, ask) => Self::on_string(call, name, limit, ask, Self::Window),
            Spec::Sliding(limit, ask) => Self::on_string(call, name, limit, ask, Self::Sliding),
            Spec::Lease(lease) => match LeasePart::read(call, name, lease) {
                Ok(on) => Self::Lease(on),
                Err(error) => Self::Unreadable(error, Reply::new(0, 0, 0, 0, 0)),
            },
        }
    }

    #[inline(always)]
    fn on_string<L: Counted>(
        call: &mut Call<'a>,
        name: KeyName<'a>,
        limit: L,
        ask: Ask,
        kind: fn(StringPart<'a, L>) -> Self,
    ) -> Self {
        match StringPart::read(call, name, limit, ask) {
            Ok(on) => kind(on),
            Err(error) => Self::Unreadable(error, limit.stand(None, call.now()).state()),
        }
    }

    /// Checks that the key could be read and the limit is valid at this time.
    ///
    /// # Errors
    /// The key holds something else, or the limit is a window that has ended.
    pub fn check(&self) -> Result<(), Error<'a>> {
        match self {
            Self::Bucket(on) => on.check(),
            Self::Window(on) => on.check(),
            Self::Sliding(on) => on.check(),
            Self::Lease(_) => Ok(()),
            Self::Unreadable(error, _) => Err(*error),
        }
    }

    /// Returns whether it is a live lease with ONCE.
    pub fn was_made_before(&self) -> bool {
        matches!(self, Self::Lease(on) if on.was_made_before())
    }

    /// Renews a lease, and charges nothing, because the call was made before. The key of another limit
    /// may hold anything by now.
    ///
    /// # Errors
    /// The server refuses the write.
    pub fn retry(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        Ok(match self {
            Self::Bucket(on) => on.state(),
            Self::Window(on) => on.state(),
            Self::Sliding(on) => on.state(),
            Self::Lease(on) => on.take(call)?,
            Self::Unreadable(_, reply) => *reply,
        })
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
            Self::Unreadable(..) => false,
        }
    }

    #[inline(always)]
    fn out_of_memory(&self) -> Option<Error<'a>> {
        match self {
            Self::Bucket(on) => on.out_of_memory(),
            Self::Window(on) => on.out_of_memory(),
            Self::Sliding(on) => on.out_of_memory(),
            Self::Lease(on) => on.out_of_memory(),
            Self::Unreadable(..) => None,
        }
    }

    #[inline(always)]
    fn take(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let (reply, counts) = match self {
            Self::Bucket(on) => (on.take(call)?, on.counts()),
            Self::Window(on) => (on.take(call)?, on.counts()),
            Self::Sliding(on) => (on.take(call)?, on.counts()),
            Self::Lease(on) => return on.take(call),
            Self::Unreadable(error, _) => return Err(*error),
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
            Self::Unreadable(error, _) => return Err(*error),
        };
        // A limit that had room is not counted as a denial.
        if reply.taken == 0 {
            counts.count_call(0);
        }
        Ok(reply)
    }
}
