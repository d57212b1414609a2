//! A slot for a token. Decides whether the token gets it, and what is then written, replied,
//! counted and notified, for commands on one key and on several.

use crate::commands::error::Error;
use redis_rl_limits::grammar::lease::{self, check_token, parse_ttl};
use redis_rl_limits::grammar::options::Options;
use redis_rl_limits::kinds::decision::Reply;
use redis_rl_limits::kinds::lease::{End, IfHeld, Limit, Room, Verdict};

use super::occupancy::Occupancy;
use super::set::LeaseSet;
use crate::server::{Argument, Call, Raised, Refusal};
use crate::stats::{self, LEASES};

/// A request for a slot: `limit ttl token [KEEP n] [NX]`.
#[derive(Clone, Copy)]
pub struct SlotRequest<'a> {
    limit: Limit,
    ttl_ms: u64,
    /// The token that gets the slot.
    pub token: &'a Argument<'a>,
    if_held: IfHeld,
}

/// The outcome of a request for a slot.
#[derive(Clone, Copy)]
pub enum Outcome {
    /// The token got a slot.
    Granted,
    /// The token had a slot, and keeps it.
    Renewed,
    /// The token got no slot.
    Denied,
}

impl<'a> SlotRequest<'a> {
    /// Parses the arguments.
    ///
    /// # Errors
    /// One of them is not accepted.
    pub fn parse(
        limit: &'a Argument<'a>,
        ttl: &'a Argument<'a>,
        token: &'a Argument<'a>,
        options: &Options,
    ) -> Result<Self, Error<'a>> {
        let limit = lease::limit(limit.bytes(), options.keep())?;
        let ttl_ms = parse_ttl(ttl.bytes())?;
        check_token(token.bytes())?;
        Ok(Self {
            limit,
            ttl_ms,
            token,
            if_held: options.if_held(),
        })
    }

    /// Decides, and grants or renews.
    ///
    /// # Errors
    /// There is no memory for a new lease, or the server refuses the write.
    #[inline(always)]
    pub fn acquire<'k>(&self, set: &mut LeaseSet<'k>) -> Result<(Outcome, Reply), Refusal>
    where
        'a: 'k,
    {
        let held = set.occupancy();
        let has_room = self.limit.room(held.live as u64) == Room::Now;
        let renews = self.if_held == IfHeld::Renew;
        if has_room && renews && held.none_has_ended() && set.check_memory().is_ok() {
            return self.grant_or_renew(set, held);
        }
        let own = set.own(self.token);
        match self.verdict(held, own) {
            Verdict::Deny | Verdict::Held(_) => {
                return Ok((Outcome::Denied, self.denied(set, held, own)));
            }
            Verdict::Renew(_) => {}
            Verdict::Grant => set.check_memory()?,
        }
        self.take(set, held, own)
    }

    /// Returns whether the token gets a slot, given how many are held and its own lease if it has
    /// a live one.
    fn verdict(&self, held: Occupancy, own: Option<End>) -> Verdict {
        self.limit.acquire(held.live as u64, own, self.if_held)
    }

    /// Returns whether the token has a slot after the call.
    pub fn passes(&self, held: Occupancy, own: Option<End>) -> bool {
        matches!(self.verdict(held, own), Verdict::Grant | Verdict::Renew(_))
    }

    /// Grants or renews without reading the token's own lease first, which is cheaper: allowed if
    /// there is room and no lease has ended.
    #[inline(always)]
    fn grant_or_renew<'k>(
        &self,
        set: &mut LeaseSet<'k>,
        held: Occupancy,
    ) -> Result<(Outcome, Reply), Refusal>
    where
        'a: 'k,
    {
        let (raised, last) = set.grant_or_renew(self.token, self.ttl_ms)?;
        let outcome = match raised {
            Raised::Added => Outcome::Granted,
            Raised::WasThere => Outcome::Renewed,
        };
        Ok((outcome, self.taken(set, held, outcome, last)))
    }

    /// Grants a slot or renews the token's own lease, as the caller has decided.
    ///
    /// # Errors
    /// The server refuses the write.
    pub fn take<'k>(
        &self,
        set: &mut LeaseSet<'k>,
        held: Occupancy,
        own: Option<End>,
    ) -> Result<(Outcome, Reply), Refusal>
    where
        'a: 'k,
    {
        let (outcome, last) = match own {
            Some(own) => {
                let last = set.renew(held, own, self.token, self.ttl_ms)?;
                (Outcome::Renewed, last)
            }
            None => {
                let last = set.grant(held, self.token, self.ttl_ms)?;
                (Outcome::Granted, last)
            }
        };
        Ok((outcome, self.taken(set, held, outcome, last)))
    }

    /// Returns the reply to a call whose token has a slot; the last of all leases ends at `last`.
    #[inline(always)]
    fn taken(&self, set: &LeaseSet<'_>, held: Occupancy, outcome: Outcome, last: End) -> Reply {
        let live = match outcome {
            Outcome::Granted => held.live.saturating_add(1),
            Outcome::Renewed | Outcome::Denied => held.live,
        };
        let reset_ms = last.millis_left(set.now_ms());
        self.limit.reply(1, live as u64, 0, reset_ms)
    }

    /// Returns the reply to a call whose token gets no slot. With NX, that may be because it has
    /// its own: then the wait is until that ends.
    pub fn denied(&self, set: &mut LeaseSet<'_>, held: Occupancy, own: Option<End>) -> Reply {
        let wait_ms = match own {
            Some(own) => own.millis_left(set.now_ms()),
            None => set.wait_ms(held, self.limit),
        };
        self.limit
            .reply(0, held.live as u64, wait_ms, set.reset_ms())
    }

    /// Returns the reply to a call that another of its limits denied, although this one would have
    /// passed.
    pub fn passed_over(&self, set: &mut LeaseSet<'_>, held: Occupancy) -> Reply {
        self.limit.reply(1, held.live as u64, 0, set.reset_ms())
    }
}

/// Counts the outcome of a request for a slot of `key`, and notifies subscribers.
pub fn report(call: &Call<'_>, key: &Argument<'_>, outcome: Outcome) {
    let counter = match outcome {
        Outcome::Granted => &LEASES.acquired,
        Outcome::Renewed => &LEASES.renewed,
        Outcome::Denied => {
            LEASES.denied.add(1);
            stats::denied(key.bytes(), call.now());
            return call.notify(c"rl.deny", key);
        }
    };
    counter.add(1);
    call.notify(c"rl.acquire", key);
}
