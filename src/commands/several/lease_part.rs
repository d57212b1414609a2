//! A lease in a call on several keys, with the occupancy of its key.

use crate::commands::error::Error;
use redis_rl_limits::kinds::decision::Reply;
use redis_rl_limits::kinds::lease::End;

use super::limit_spec::LeaseSpec;
use super::take_all::Part;
use crate::commands::lease::occupancy::{refused, Occupancy};
use crate::commands::lease::set::LeaseSet;
use crate::commands::lease::slot::{report, Outcome};
use crate::commands::lease::waiting::{self, Ahead};
use crate::server::{Call, KeyName};

/// The lease.
pub struct LeasePart<'a> {
    name: KeyName<'a>,
    spec: LeaseSpec<'a>,
    held: Occupancy,
    own: Option<End>,
    ahead: Option<Ahead>,
}

impl<'a> LeasePart<'a> {
    /// Reads the occupancy.
    ///
    /// # Errors
    /// The key holds something else.
    pub fn read(
        call: &mut Call<'a>,
        name: KeyName<'a>,
        spec: LeaseSpec<'a>,
    ) -> Result<Self, Error<'a>> {
        let mut set = LeaseSet::open(call, name.argument)?;
        let token = spec.request.token;
        let ahead = match waiting::is_busy() {
            true => waiting::ahead(&mut set, token.bytes()),
            false => None,
        };
        Ok(Self {
            name,
            spec,
            held: set.occupancy(),
            own: set.own(token),
            ahead,
        })
    }

    /// Returns whether it has ONCE and its token already holds a slot.
    pub fn was_made_before(&self) -> bool {
        self.spec.once && self.own.is_some()
    }
}

impl<'a> Part<'a> for LeasePart<'a> {
    fn has_room(&self) -> bool {
        self.spec.request.passes(self.held, self.own, self.ahead)
    }

    fn out_of_memory(&self) -> Option<Error<'a>> {
        let is_new = self.own.is_none();
        is_new.then_some(Error::NoMemoryForLease(self.name.bytes))
    }

    fn take(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let request = self.spec.request;
        let names = call.names();
        let mut set = LeaseSet::open(call, self.name.argument)?;
        let held = set.occupancy_again(self.held);
        let own = set.own(request.token);
        let taken = match waiting::is_busy() {
            true => request.take_behind(&mut set, own, &names),
            false => request.take(&mut set, held, own),
        };
        let (outcome, reply) = taken.map_err(|refusal| refused(refusal, self.name.argument))?;
        drop(set);
        report(call, self.name.argument, outcome);
        Ok(reply)
    }

    fn deny(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        // Opened in the same way as before: a peek would ignore members added by hand to an expired
        // key.
        let mut set = LeaseSet::open(call, self.name.argument)?;
        let held = set.occupancy_again(self.held);
        if self.has_room() {
            return Ok(self.spec.request.passed_over(&mut set, held));
        }
        let reply = self.spec.request.denied(&mut set, held, self.own);
        drop(set);
        report(call, self.name.argument, Outcome::Denied);
        Ok(reply)
    }
}
