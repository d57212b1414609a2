//! A slot for a token. Decides whether the token gets it, and what is then written, replied,
//! counted and notified, for commands on one key and on several.

use crate::commands::error::Error;
use redis_rl_limits::grammar::lease::{self, check_token, ttl_before};
use redis_rl_limits::grammar::options::Options;
use redis_rl_limits::kinds::decision::Reply;
use redis_rl_limits::kinds::lease::{End, IfHeld, Limit, Room, Verdict};
use redis_rl_limits::waiting::queue::MAX_GRANTS;

use super::occupancy::Occupancy;
use super::set::LeaseSet;
use super::waiting::{self, Ahead, Terms};
use crate::server::{Argument, Call, Names, Raised, Refusal};
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
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The token got a slot.
    Granted,
    /// The token had a slot, and keeps it.
    Renewed,
    /// The token got no slot.
    Denied,
    /// The token got no new slot, because it has one (NX).
    Held,
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
        let ttl_ms = ttl_before(ttl.bytes(), token.bytes())?;
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
    pub fn acquire<'k>(
        &self,
        set: &mut LeaseSet<'k>,
        names: &'k Names,
    ) -> Result<(Outcome, Reply), Refusal>
    where
        'a: 'k,
    {
        let held = set.occupancy();
        if waiting::is_busy() {
            return self.acquire_behind(set, held, names);
        }
        let has_room = self.limit.room(held.live as u64) == Room::Now;
        let renews = self.if_held == IfHeld::Renew;
        if has_room && renews && held.none_has_ended() && set.check_memory().is_ok() {
            return self.grant_or_renew(set, held);
        }
        let own = set.own(self.token);
        match self.verdict(held, own) {
            Verdict::Deny => return Ok((Outcome::Denied, self.denied(set, held, own))),
            Verdict::Held(_) => return Ok((Outcome::Held, self.denied(set, held, own))),
            Verdict::Renew(_) => {}
            Verdict::Grant => set.check_memory()?,
        }
        self.take(set, held, own)
    }

    /// Decides where callers may wait for the key: those that could have a slot now come first.
    #[cold]
    fn acquire_behind<'k>(
        &self,
        set: &mut LeaseSet<'k>,
        held: Occupancy,
        names: &'k Names,
    ) -> Result<(Outcome, Reply), Refusal>
    where
        'a: 'k,
    {
        let own = set.own(self.token);
        let ahead = waiting::ahead(set, self.token.bytes());
        if !self.passes(held, own, ahead) {
            let reply = self.denied(set, held, own);
            let is_held = own.is_some() || ahead.is_some_and(|ahead| ahead.has_own);
            let outcome = match is_held {
                true => Outcome::Held,
                false => Outcome::Denied,
            };
            return Ok((outcome, reply));
        }
        if own.is_none() {
            set.check_memory()?;
        }
        self.take_behind(set, own, names)
    }

    /// Serves those who come first, then grants a slot or renews the token's own lease, as the
    /// caller has decided, and answers those who wait with the same token.
    ///
    /// # Errors
    /// The server refuses the write.
    #[cold]
    pub fn take_behind<'k>(
        &self,
        set: &mut LeaseSet<'k>,
        own: Option<End>,
        names: &'k Names,
    ) -> Result<(Outcome, Reply), Refusal>
    where
        'a: 'k,
    {
        if own.is_none() {
            waiting::serve(set, names, MAX_GRANTS)?;
        }
        let held = set.occupancy();
        let own = set.own(self.token);
        let taken = self.take(set, held, own)?;
        waiting::answer_all(set, self.token)?;
        Ok(taken)
    }

    /// Returns the terms under which the caller waits.
    pub fn terms(&self) -> Terms {
        Terms {
            limit: self.limit,
            ttl_ms: self.ttl_ms,
            if_held: self.if_held,
        }
    }

    /// Returns whether the token gets a slot, given how many are held and its own lease if it has
    /// a live one.
    fn verdict(&self, held: Occupancy, own: Option<End>) -> Verdict {
        self.limit.acquire(held.live as u64, own, self.if_held)
    }

    /// Returns whether the token has a slot after the call. Slots for the waiters ahead count as
    /// held, unless one of them goes to the token itself.
    pub fn passes(&self, held: Occupancy, own: Option<End>, ahead: Option<Ahead>) -> bool {
        let renews = self.if_held == IfHeld::Renew;
        match ahead.filter(|_| own.is_none()) {
            None => matches!(self.verdict(held, own), Verdict::Grant | Verdict::Renew(_)),
            Some(ahead) if ahead.has_own => renews,
            Some(ahead) => !ahead.is_cut && self.limit.room(ahead.live) == Room::Now,
        }
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
            Outcome::Renewed | Outcome::Denied | Outcome::Held => held.live,
        };
        let reset_ms = last.millis_left(set.now_ms());
        self.limit.reply(1, live as u64, 0, reset_ms)
    }

    /// Returns the reply to a call whose token gets no slot. With NX, that may be because it has
    /// its own: then the wait is until that ends.
    pub fn denied(&self, set: &mut LeaseSet<'_>, held: Occupancy, own: Option<End>) -> Reply {
        let wait_ms = match own {
            Some(own) => own.millis_left(set.now_ms()),
            // If a slot is free, it is a waiter's.
            None => match set.wait_ms(held, self.limit) {
                0 => 1,
                wait_ms => wait_ms,
            },
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
    if waiting::is_busy() {
        waiting::report(call, key);
    }
    let counter = match outcome {
        Outcome::Granted => &LEASES.acquired,
        Outcome::Renewed => &LEASES.renewed,
        Outcome::Denied | Outcome::Held => {
            LEASES.denied.add(1);
            stats::denied(key.bytes(), call.now());
            return call.notify(c"rl.deny", key);
        }
    };
    counter.add(1);
    call.notify(c"rl.acquire", key);
}
