//! The limits of a mixed call: how they are read, and how each kind of them stands, is taken from
//! and is told.

use redis_rl_limits::decision::{Ask, Change, Decision, Limit, Reply, Standing, NEVER};
use redis_rl_limits::error::Error;
use redis_rl_limits::lease::{self, check_token, parse_ttl, End, Verdict};
use redis_rl_limits::options::{Name, Options};
use redis_rl_limits::quota::Quota;
use redis_rl_limits::{bucket, sliding, window};

use super::few::Few;
use super::lease_set::{self, Held, Leases, Look};
use super::limited::{report, Counted, Open};
use crate::server::{Argument, Call};
use crate::stats::{with_top, LEASES};

/// A limit as a call names it.
pub enum Spec<'a> {
    /// `BUCKET rate burst [COST n] [KEEP n]`
    Bucket(bucket::Limit, Ask),
    /// `WINDOW limit window [COST n] [KEEP n]`
    Window(window::Limit, Ask),
    /// The same with a window that slides.
    Sliding(sliding::Limit, Ask),
    /// `LEASE limit ttl token [KEEP n] [ONCE]`
    Lease(Lease<'a>),
}

/// A lease as a call names it.
#[derive(Clone, Copy)]
pub struct Lease<'a> {
    limit: lease::Limit,
    ttl_ms: u64,
    token: &'a Argument<'a>,
    /// Whether a call that was made before with this token is not made again.
    pub once: bool,
}

impl<'a> Spec<'a> {
    /// Reads the limit that `words` begin with; what follows comes back as well.
    ///
    /// # Errors
    /// It is none, or not accepted; `syntax` if words are missing.
    pub fn parse(
        words: &'a [Argument<'a>],
        syntax: &'static str,
    ) -> Result<(Self, &'a [Argument<'a>]), Error<'a>> {
        let usage = Error::Usage(syntax);
        let (kind, words) = words.split_first().ok_or(usage)?;
        let is = |name: &str| kind.bytes().eq_ignore_ascii_case(name.as_bytes());
        if is("BUCKET") {
            let [rate, burst, words @ ..] = words else {
                return Err(usage);
            };
            let limit = bucket::Limit::parse(rate.bytes(), burst.bytes())?;
            let (options, rest) = options(words, Name::OF_MIXED)?;
            Ok((Self::Bucket(limit, options.ask()), rest))
        } else if is("WINDOW") {
            if words.len() < 2 {
                return Err(usage);
            }
            let (quota, words) = Quota::parse(words)?;
            let (options, rest) = options(words, Name::OF_MIXED)?;
            let spec = match quota {
                Quota::Fixed(limit) => Self::Window(limit, options.ask()),
                Quota::Sliding(limit) => Self::Sliding(limit, options.ask()),
            };
            Ok((spec, rest))
        } else if is("LEASE") {
            let [limit, ttl, token, words @ ..] = words else {
                return Err(usage);
            };
            check_token(token.bytes())?;
            let (options, rest) = options(words, Name::OF_MIXED_LEASE)?;
            let lease = Lease {
                limit: lease::Limit::parse(limit.bytes(), options.keep())?,
                ttl_ms: parse_ttl(ttl.bytes())?,
                token,
                once: options.once(),
            };
            Ok((Self::Lease(lease), rest))
        } else {
            Err(Error::Kind(kind.bytes()))
        }
    }
}

/// The options of one limit, up to the next limit.
fn options<'a>(
    words: &'a [Argument<'a>],
    accepted: &'static [Name],
) -> Result<(Options, &'a [Argument<'a>]), Error<'a>> {
    let (options, rest) = Options::parse_prefix(words, accepted)?;
    match rest {
        [word, ..] if !begins_limit(word.bytes()) => {
            Err(Error::UnknownOption(word.bytes(), accepted))
        }
        _ => Ok((options, rest)),
    }
}

fn begins_limit(word: &[u8]) -> bool {
    [&b"BUCKET"[..], b"WINDOW", b"LEASE"]
        .iter()
        .any(|name| word.eq_ignore_ascii_case(name))
}

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
