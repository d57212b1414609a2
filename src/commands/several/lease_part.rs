//! A lease of a call on several keys, which is kept in a sorted set, with how it stands.

use redis_rl_limits::grammar::error::Error;
use redis_rl_limits::kinds::decision::{Reply, NEVER};
use redis_rl_limits::kinds::lease::{End, Verdict};

use super::limit_spec::Lease;
use super::take_all::Part;
use crate::commands::lease::set::{self, Held, Leases};
use crate::server::{Call, KeyName};
use crate::stats::{self, LEASES};

/// The lease.
pub struct OnSet<'a> {
    name: KeyName<'a>,
    lease: Lease<'a>,
    held: Held,
    own: Option<End>,
}

impl<'a> OnSet<'a> {
    /// Reads how it stands.
    ///
    /// # Errors
    /// The key holds something else.
    pub fn read(
        call: &mut Call<'a>,
        name: KeyName<'a>,
        lease: Lease<'a>,
    ) -> Result<Self, Error<'a>> {
        let mut leases = Leases::open(call, name.argument)?;
        Ok(Self {
            name,
            lease,
            held: leases.held(),
            own: leases.own(lease.token),
        })
    }

    /// Whether it says ONCE, and its token holds a slot already.
    pub fn was_made_before(&self) -> bool {
        self.lease.once && self.own.is_some()
    }

    fn verdict(&self) -> Verdict {
        self.lease.limit.acquire(self.held.live as u64, self.own)
    }
}

impl<'a> Part<'a> for OnSet<'a> {
    fn has_room(&self) -> bool {
        !matches!(self.verdict(), Verdict::Deny(_))
    }

    fn out_of_memory(&self) -> Option<Error<'a>> {
        let is_new = self.own.is_none();
        is_new.then_some(Error::NoMemoryForLease(self.name.bytes))
    }

    fn take(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let Self { name, lease, .. } = self;
        let mut leases = Leases::open(call, name.argument)?;
        let held = leases.held_again(&self.held);
        let (live, last) = match leases.own(lease.token) {
            Some(own) => {
                LEASES.renewed.add(1);
                let last = leases.renew(&held, own, lease.token, lease.ttl_ms);
                (held.live, last)
            }
            None => {
                LEASES.acquired.add(1);
                let last = leases.grant(&held, lease.token, lease.ttl_ms);
                (held.live.saturating_add(1), last)
            }
        };
        let last = last.map_err(|refusal| set::refused(refusal, name.argument))?;
        let reset_ms = last.millis_left(leases.now_ms());
        drop(leases);
        call.notify(c"rl.acquire", name.argument);
        Ok(lease.limit.reply(1, live as u64, 0, reset_ms))
    }

    fn deny(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        // As it was read, since a look may take for gone what was added by hand.
        let mut leases = Leases::open(call, self.name.argument)?;
        let held = leases.held_again(&self.held);
        let (taken, wait_ms) = match self.verdict() {
            Verdict::Deny(ended) => {
                let wait_ms = ended.map_or(NEVER, |ended| leases.wait_ms(&held, ended));
                (0, wait_ms)
            }
            Verdict::Grant | Verdict::Renew(_) => (1, 0),
        };
        let reset_ms = leases.reset_ms();
        drop(leases);
        if taken == 0 {
            LEASES.denied.add(1);
            stats::denied(self.name.bytes, call.now());
            call.notify(c"rl.deny", self.name.argument);
        }
        let live = self.held.live as u64;
        Ok(self.lease.limit.reply(taken, live, wait_ms, reset_ms))
    }
}
