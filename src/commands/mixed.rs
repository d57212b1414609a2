//! The limits of a mixed call: how each kind of them stands, is taken from and is told.

use redis_rl_limits::decision::{Ask, Change, Decision, Limit, Reply, Standing, NEVER};
use redis_rl_limits::error::Error;
use redis_rl_limits::lease::{End, Verdict};
use redis_rl_limits::{bucket, sliding, window};

use super::few::Few;
use super::lease_look::Look;
use super::lease_set::{self, Held, Leases};
use super::limited::{report, Counted, Open};
use super::spec::{Lease, Spec};
use crate::server::{Argument, Call};
use crate::stats::{with_top, LEASES};

/// A limit of a call, with how it stands.
pub struct Part<'a> {
    name: &'a Argument<'a>,
    stands: Stands<'a>,
}

enum Stands<'a> {
    Bucket(OnString<bucket::Limit>),
    Window(OnString<window::Limit>),
    Sliding(OnString<sliding::Limit>),
    Lease(Lease<'a>, Held, Option<End>),
}

/// How a limit stands that is kept in a string.
struct OnString<L: Limit> {
    limit: L,
    ask: Ask,
    standing: L::Standing,
    is_new: bool,
}

impl<'a> Part<'a> {
    /// Reads how a limit stands.
    ///
    /// # Errors
    /// The key holds something else.
    pub fn read(
        call: &mut Call<'a>,
        name: &'a Argument<'a>,
        spec: &Spec<'a>,
    ) -> Result<Self, Error<'a>> {
        let stands = match *spec {
            Spec::Bucket(limit, ask) => Stands::Bucket(OnString::read(call, name, limit, ask)?),
            Spec::Window(limit, ask) => Stands::Window(OnString::read(call, name, limit, ask)?),
            Spec::Sliding(limit, ask) => Stands::Sliding(OnString::read(call, name, limit, ask)?),
            Spec::Lease(lease) => {
                let mut leases = Leases::open(call, name)?;
                let (held, own) = (leases.held(), leases.own(lease.token));
                Stands::Lease(lease, held, own)
            }
        };
        Ok(Self { name, stands })
    }

    /// Whether it alone would pass.
    pub fn has_room(&self) -> bool {
        match &self.stands {
            Stands::Bucket(on) => on.standing.has(&on.ask),
            Stands::Window(on) => on.standing.has(&on.ask),
            Stands::Sliding(on) => on.standing.has(&on.ask),
            Stands::Lease(lease, held, own) => {
                !matches!(verdict(lease, held, *own), Verdict::Deny(_))
            }
        }
    }

    /// The lease, and whether its token holds a slot already.
    pub fn lease(&self) -> Option<(&Lease<'a>, bool)> {
        match &self.stands {
            Stands::Lease(lease, _, own) => Some((lease, own.is_some())),
            _ => None,
        }
    }

    /// The error of a call that finds no memory, if this limit needs new memory.
    pub fn out_of_memory(&self) -> Option<Error<'a>> {
        let key = self.name.bytes();
        let on_string = |is_new: bool| is_new.then_some(Error::OutOfMemory(key));
        match &self.stands {
            Stands::Bucket(on) => on_string(on.is_new),
            Stands::Window(on) => on_string(on.is_new),
            Stands::Sliding(on) => on_string(on.is_new),
            Stands::Lease(_, _, own) => own.is_none().then_some(Error::NoMemoryForLease(key)),
        }
    }

    /// Takes what was asked for, of which is known that it is there and that there is memory.
    ///
    /// # Errors
    /// The server refuses the write.
    pub fn take(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        match &self.stands {
            Stands::Bucket(on) => on.take(call, self.name),
            Stands::Window(on) => on.take(call, self.name),
            Stands::Sliding(on) => on.take(call, self.name),
            Stands::Lease(lease, held, _) => self.acquire(call, lease, held),
        }
    }

    /// Takes nothing, and tells how the limit stands. A lease is renewed if the call was made
    /// before.
    ///
    /// # Errors
    /// The server refuses the write.
    pub fn retry(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let untouched = |reply: Reply| Reply {
            taken: 0,
            wait_ms: 0,
            ..reply
        };
        match &self.stands {
            Stands::Bucket(on) => Ok(untouched(on.look()?.reply)),
            Stands::Window(on) => Ok(untouched(on.look()?.reply)),
            Stands::Sliding(on) => Ok(untouched(on.look()?.reply)),
            Stands::Lease(lease, held, _) => self.acquire(call, lease, held),
        }
    }

    /// Takes nothing, and tells whether this limit alone would have passed.
    ///
    /// # Errors
    /// The server refuses to write what a clock that stepped back makes necessary.
    pub fn deny(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        match &self.stands {
            Stands::Bucket(on) => on.deny(call, self.name),
            Stands::Window(on) => on.deny(call, self.name),
            Stands::Sliding(on) => on.deny(call, self.name),
            Stands::Lease(lease, held, own) => self.deny_lease(call, lease, held, *own),
        }
    }

    fn acquire(
        &self,
        call: &mut Call<'a>,
        lease: &Lease<'a>,
        held: &Held,
    ) -> Result<Reply, Error<'a>> {
        let mut leases = Leases::open(call, self.name)?;
        let held = leases.held_again(held);
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
        let last = last.map_err(|refusal| lease_set::refused(refusal, self.name))?;
        let reset_ms = last.millis_left(leases.now_ms());
        drop(leases);
        call.notify(c"rl.acquire", self.name);
        Ok(lease.limit.reply(1, live as u64, 0, reset_ms))
    }

    fn deny_lease(
        &self,
        call: &mut Call<'a>,
        lease: &Lease<'a>,
        held: &Held,
        own: Option<End>,
    ) -> Result<Reply, Error<'a>> {
        let mut look = Look::at(call, self.name)?;
        let (taken, wait_ms) = match verdict(lease, held, own) {
            Verdict::Deny(ended) => (0, ended.map_or(NEVER, |ended| look.wait_ms(ended))),
            Verdict::Grant | Verdict::Renew(_) => (1, 0),
        };
        let reset_ms = look.reset_ms();
        drop(look);
        if taken == 0 {
            LEASES.denied.add(1);
            with_top(|top| top.denied(self.name.bytes(), call.now()));
            call.notify(c"rl.deny", self.name);
        }
        Ok(lease
            .limit
            .reply(taken, held.live as u64, wait_ms, reset_ms))
    }
}

fn verdict(lease: &Lease<'_>, held: &Held, own: Option<End>) -> Verdict {
    lease.limit.acquire(held.live as u64, own)
}

impl<L: Counted> OnString<L> {
    fn read<'a>(
        call: &mut Call<'a>,
        name: &'a Argument<'a>,
        limit: L,
        ask: Ask,
    ) -> Result<Self, Error<'a>> {
        let open = Open::new(call, name, limit)?;
        // Of a window that is to end at a time that has passed, the error comes first.
        open.standing.look(&ask)?;
        Ok(Self {
            limit,
            ask,
            standing: open.standing,
            is_new: !open.key.exists(),
        })
    }

    fn look(&self) -> Result<Decision<L::State>, Error<'static>> {
        self.standing.look(&self.ask)
    }

    fn take<'a>(&self, call: &mut Call<'a>, name: &'a Argument<'a>) -> Result<Reply, Error<'a>> {
        let decision = self.standing.take(&self.ask)?;
        self.store(call, name, decision.change)?;
        L::COUNTS.count_call(decision.reply.taken);
        report(call, name, &decision.reply, L::COUNTS);
        Ok(decision.reply)
    }

    fn deny<'a>(&self, call: &mut Call<'a>, name: &'a Argument<'a>) -> Result<Reply, Error<'a>> {
        let decision = self.look()?;
        self.store(call, name, decision.change)?;
        // A limit that has enough has nothing to tell.
        if decision.reply.taken == 0 {
            L::COUNTS.count_call(0);
            report(call, name, &decision.reply, L::COUNTS);
        }
        Ok(decision.reply)
    }

    /// Makes the change that was decided on. The key is opened once more: while others were read
    /// it could not stay open (see [`Key`](crate::server::Key)).
    fn store<'a>(
        &self,
        call: &mut Call<'a>,
        name: &'a Argument<'a>,
        change: Change<L::State>,
    ) -> Result<(), Error<'a>> {
        match change {
            Change::Keep => Ok(()),
            change => Open::new(call, name, self.limit)?.store_with_memory(change),
        }
    }
}

/// Makes sure that there is memory for what a call makes new.
///
/// # Errors
/// There is none.
pub fn check_memory<'a>(call: &Call<'a>, parts: &Few<Part<'a>>) -> Result<(), Error<'a>> {
    let Some(error) = parts.iter().find_map(Part::out_of_memory) else {
        return Ok(());
    };
    // The only refusal that there is.
    call.check_memory().map_err(|_| error)
}
