//! The hold of a call: whether there is a place for its record, and what the call replies for it.

use crate::commands::error::Error;
use crate::commands::hold_error::Fault;
use redis_rl_limits::kinds::decision::Reply;
use redis_rl_limits::kinds::hold;

use super::take_all::Part;
use crate::server::{Call, KeyName};
use crate::stats;

/// The hold. Its record is written after the limits of the call were charged.
pub struct HoldPart<'a> {
    /// The holds key.
    pub name: KeyName<'a>,
    /// Whether the call would add a record.
    pub is_new: bool,
    /// Whether the call needs no place, or there is one.
    pub has_place: bool,
    /// The reply of a call that takes.
    pub taken: Reply,
    /// The reply of a call that is denied.
    pub denied: Reply,
}

impl<'a> HoldPart<'a> {
    /// Creates a part whose hold has not been read yet.
    pub fn undecided(name: KeyName<'a>) -> Self {
        Self {
            name,
            is_new: false,
            has_place: true,
            taken: hold::reply(None, 0),
            denied: hold::reply(None, 0),
        }
    }
}

impl<'a> Part<'a> for HoldPart<'a> {
    fn has_room(&self) -> bool {
        self.has_place
    }

    fn out_of_memory(&self) -> Option<Error<'a>> {
        let fault = Fault::NoMemory(self.name.bytes);
        self.is_new.then_some(fault.into())
    }

    fn take(&self, _call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        Ok(self.taken)
    }

    fn deny(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        if !self.has_place {
            stats::denied(self.name.bytes, call.now());
            call.notify(c"rl.deny", self.name.argument);
        }
        Ok(self.denied)
    }
}
