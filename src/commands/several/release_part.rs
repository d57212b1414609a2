//! A lease that a settlement releases.

use crate::commands::error::Error;
use redis_rl_limits::kinds::decision::Reply;

use super::take_all::Part;
use crate::commands::lease::release::release;
use crate::commands::lease::set::LeaseSet;
use crate::server::{Argument, Call};

/// The lease.
pub struct ReleasePart<'a> {
    key: &'a Argument<'a>,
    token: &'a Argument<'a>,
}

impl<'a> ReleasePart<'a> {
    /// Checks that the key holds leases or nothing.
    ///
    /// # Errors
    /// It holds something else.
    pub fn read(
        call: &mut Call<'a>,
        key: &'a Argument<'a>,
        token: &'a Argument<'a>,
    ) -> Result<Self, Error<'a>> {
        LeaseSet::open(call, key)?;
        Ok(Self { key, token })
    }
}

impl<'a> Part<'a> for ReleasePart<'a> {
    fn has_room(&self) -> bool {
        true
    }

    fn out_of_memory(&self) -> Option<Error<'a>> {
        None
    }

    fn take(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let released = release(call, self.key, std::slice::from_ref(self.token))?;
        Ok(Reply::new(i64::from(released > 0), 0, 0, 0, 0))
    }

    fn deny(&self, _call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        Ok(Reply::new(0, 0, 0, 0, 0))
    }
}
