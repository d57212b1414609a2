//! A limit of any kind in a call on several keys.

use redis_rl_limits::kinds::decision::{Reply, Standing as _};
use redis_rl_limits::kinds::{bucket, sliding, window};

use super::hold_part::HoldPart;
use super::lease_part::LeasePart;
use super::limit_spec::{Spec, StringLimit};
use super::release_part::ReleasePart;
use super::string_part::{StringPart, Wish};
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
    /// `LEASE token`, to be released.
    Release(ReleasePart<'a>),
    /// `HOLD …`
    Hold(HoldPart<'a>),
    /// Whatever the limit, a key that cannot be read, and the reply for a key without a value.
    Unreadable(Error<'a>, Reply),
}

impl<'a> Mixed<'a> {
    /// Reads the standing of a limit.
    #[inline(always)]
    pub fn read(call: &mut Call<'a>, name: KeyName<'a>, spec: &Spec<'a>) -> Self {
        match *spec {
            Spec::String(limit, ask) => Self::string(call, name, limit, Wish::Take(ask)),
            Spec::Lease(lease) => match LeasePart::read(call, name, lease) {
                Ok(on) => Self::Lease(on),
                Err(error) => Self::Unreadable(error, Reply::new(0, 0, 0, 0, 0)),
            },
            Spec::Hold(_) => Self::Hold(HoldPart::undecided(name)),
        }
    }

    /// Reads the standing of a bucket or a window.
    #[inline(always)]
    pub fn string(call: &mut Call<'a>, name: KeyName<'a>, limit: StringLimit, wish: Wish) -> Self {
        match limit {
            StringLimit::Bucket(limit) => Self::on_string(call, name, limit, wish, Self::Bucket),
            StringLimit::Window(limit) => Self::on_string(call, name, limit, wish, Self::Window),
            StringLimit::Sliding(limit) => Self::on_string(call, name, limit, wish, Self::Sliding),
        }
    }

    /// Returns whether it is a bucket or a window.
    pub fn is_string(&self) -> bool {
        matches!(self, Self::Bucket(_) | Self::Window(_) | Self::Sliding(_))
    }

    /// Returns the time that a record stores if the call takes something from a bucket or a window
    /// now.
    pub fn charged_at(&self) -> Option<i64> {
        match self {
            Self::Bucket(on) => on.charged_at(),
            Self::Window(on) => on.charged_at(),
            Self::Sliding(on) => on.charged_at(),
            _ => None,
        }
    }

    /// Refunds what overdue holds charged to a bucket or a window: amounts, each with its time.
    ///
    /// # Errors
    /// The server refuses the write.
    pub fn refund(
        &mut self,
        call: &mut Call<'a>,
        charges: impl Iterator<Item = (u64, i64)>,
    ) -> Result<(), Error<'a>> {
        match self {
            Self::Bucket(on) => on.refund(call, charges),
            Self::Window(on) => on.refund(call, charges),
            Self::Sliding(on) => on.refund(call, charges),
            _ => Ok(()),
        }
    }

    #[inline(always)]
    fn on_string<L: Counted>(
        call: &mut Call<'a>,
        name: KeyName<'a>,
        limit: L,
        wish: Wish,
        kind: fn(StringPart<'a, L>) -> Self,
    ) -> Self {
        match StringPart::read(call, name, limit, wish) {
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
            Self::Lease(_) | Self::Release(_) | Self::Hold(_) => Ok(()),
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
            Self::Release(on) => on.take(call)?,
            Self::Hold(on) => on.take(call)?,
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
            Self::Release(on) => on.has_room(),
            Self::Hold(on) => on.has_room(),
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
            Self::Release(on) => on.out_of_memory(),
            Self::Hold(on) => on.out_of_memory(),
            Self::Unreadable(..) => None,
        }
    }

    #[inline(always)]
    fn take(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let (reply, counts, takes) = match self {
            Self::Bucket(on) => (on.take(call)?, on.counts(), on.takes()),
            Self::Window(on) => (on.take(call)?, on.counts(), on.takes()),
            Self::Sliding(on) => (on.take(call)?, on.counts(), on.takes()),
            Self::Lease(on) => return on.take(call),
            Self::Release(on) => return on.take(call),
            Self::Hold(on) => return on.take(call),
            Self::Unreadable(error, _) => return Err(*error),
        };
        if takes {
            counts.count_call(reply.is_denied());
        }
        Ok(reply)
    }

    fn deny(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let (reply, counts, takes) = match self {
            Self::Bucket(on) => (on.deny(call)?, on.counts(), on.takes()),
            Self::Window(on) => (on.deny(call)?, on.counts(), on.takes()),
            Self::Sliding(on) => (on.deny(call)?, on.counts(), on.takes()),
            Self::Lease(on) => return on.deny(call),
            Self::Release(on) => return on.deny(call),
            Self::Hold(on) => return on.deny(call),
            Self::Unreadable(error, _) => return Err(*error),
        };
        // A limit that had room is not counted as a denial.
        if reply.is_denied() && takes {
            counts.count_call(true);
        }
        Ok(reply)
    }
}
