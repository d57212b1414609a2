//! A limit in a call on several keys that is stored in a string, with its standing.

use crate::commands::error::Error;
use redis_rl_limits::kinds;
use redis_rl_limits::kinds::decision::{Ask, Change, Decision, Limit, Reply, Standing};
use redis_rl_limits::kinds::hold::Holdable;

use super::take_all::Part;
use crate::commands::string_key::{report, Counted, Open};
use crate::server::{Call, KeyName};
use crate::stats::Takes;

/// The request of a call to a limit.
#[derive(Clone, Copy)]
pub enum Wish {
    /// To take this, or to be denied.
    Take(Ask),
    /// Hold `amount` instead of the `held` that was charged at `charged_at`.
    Hold {
        held: u64,
        amount: u64,
        charged_at: i64,
    },
}

impl Wish {
    /// Change nothing.
    pub const NOTHING: Self = Self::Hold {
        held: 0,
        amount: 0,
        charged_at: 0,
    };
}

/// The limit with its standing.
pub struct StringPart<'a, L: Limit> {
    name: KeyName<'a>,
    limit: L,
    wish: Wish,
    standing: L::Standing,
    is_new: bool,
    /// The key's expiry in milliseconds since 1970, if it has one.
    expires_at: Option<i64>,
}

impl<'a, L: Counted> StringPart<'a, L> {
    /// Reads the standing.
    ///
    /// # Errors
    /// The key holds something else.
    #[inline(always)]
    pub fn read(
        call: &mut Call<'a>,
        name: KeyName<'a>,
        limit: L,
        wish: Wish,
    ) -> Result<Self, Error<'a>> {
        let (mut open, standing) = Open::new(call, name, limit)?;
        Ok(Self {
            name,
            limit,
            wish,
            standing,
            is_new: !open.key.exists(),
            expires_at: open.key.exists().then(|| open.key.expires_at()).flatten(),
        })
    }

    /// Returns whether the call takes something or is denied.
    pub fn takes(&self) -> bool {
        matches!(self.wish, Wish::Take(_))
    }

    /// Returns its counters.
    pub fn counts(&self) -> &'static Takes {
        L::COUNTS
    }

    /// Checks that the limit is valid at this time.
    ///
    /// # Errors
    /// It is an UNTIL window whose end has passed.
    pub fn check(&self) -> Result<(), Error<'a>> {
        match (self.standing.check(), self.wish) {
            // A held amount is not taken from the window that the call names.
            (Err(kinds::error::Error::Until { end, now }), Wish::Hold { .. }) if end <= now => {
                Ok(())
            }
            (checked, _) => Ok(checked?),
        }
    }

    /// Returns the state as a reply that takes nothing and waits for nothing.
    pub fn state(&self) -> Reply {
        self.standing.state()
    }

    #[inline(always)]
    fn decide(&self) -> Result<Decision<L::State>, Error<'a>> {
        Ok(match self.wish {
            Wish::Take(ask) => self.standing.take(&ask)?,
            Wish::Hold {
                held,
                amount,
                charged_at,
            } => self.standing.hold_instead(held, amount, charged_at),
        })
    }

    /// Returns the time that a record stores if the call takes something now; `None` if it takes
    /// nothing.
    pub fn charged_at(&self) -> Option<i64> {
        match self.wish {
            Wish::Take(ask) => Some(self.standing.charged_at(ask.cost)),
            Wish::Hold { .. } => None,
        }
    }

    /// Refunds what overdue holds charged: amounts, each with its time.
    ///
    /// # Errors
    /// The server refuses the write.
    pub fn refund(
        &mut self,
        call: &mut Call<'a>,
        charges: impl Iterator<Item = (u64, i64)>,
    ) -> Result<(), Error<'a>> {
        let mut refunded: u64 = 0;
        let mut last = Change::Keep;
        for (held, charged_at) in charges {
            let Decision { reply, change } = self.standing.hold_instead(held, 0, charged_at);
            refunded = refunded.saturating_add(reply.taken.unsigned_abs());
            match change {
                Change::Keep | Change::KeepAlive(_) => continue,
                Change::Write(state, at_ms) => {
                    self.standing = self.limit.stand(Some(state), call.now());
                    // The key expires then, or later.
                    self.expires_at = Some(at_ms);
                }
                Change::Remove => {
                    self.standing = self.limit.stand(None, call.now());
                    (self.is_new, self.expires_at) = (true, None);
                }
            }
            last = change;
        }
        self.store(call, last)?;
        if refunded > 0 {
            L::COUNTS.given.add(refunded);
            call.notify(c"rl.give", self.name.argument);
        }
        Ok(())
    }

    fn report_settled(&self, call: &Call<'_>, reply: &Reply) {
        let moved = reply.taken.unsigned_abs();
        if reply.taken < 0 {
            L::COUNTS.given.add(moved);
            call.notify(c"rl.give", self.name.argument);
        } else if reply.taken > 0 {
            if !self.standing.has(&Ask::whole(moved)) {
                L::COUNTS.forced.add(moved);
            }
            report(call, self.name, reply, L::COUNTS);
        }
    }

    /// Stores the decided change. The key is opened again: it could not stay open while others were
    /// read, because opening one key may remove another (see [`Key`](crate::server::Key)).
    #[inline(always)]
    fn store(&self, call: &mut Call<'a>, change: Change<L::State>) -> Result<(), Error<'a>> {
        match change {
            Change::Keep => Ok(()),
            Change::KeepAlive(at_ms) if self.expires_at.is_none_or(|at| at >= at_ms) => Ok(()),
            change => Open::again(call, self.name, self.limit)?.store_with_memory(change),
        }
    }
}

impl<'a, L: Counted> Part<'a> for StringPart<'a, L> {
    #[inline(always)]
    fn has_room(&self) -> bool {
        match self.wish {
            Wish::Take(ask) => self.standing.has(&ask),
            Wish::Hold { .. } => true,
        }
    }

    #[inline(always)]
    fn out_of_memory(&self) -> Option<Error<'a>> {
        let takes = matches!(self.wish, Wish::Take(_));
        (self.is_new && takes).then_some(Error::OutOfMemory(self.name.bytes))
    }

    #[inline(always)]
    fn take(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let decision = self.decide()?;
        self.store(call, decision.change)?;
        match self.wish {
            Wish::Take(_) => report(call, self.name, &decision.reply, L::COUNTS),
            Wish::Hold { .. } => self.report_settled(call, &decision.reply),
        }
        Ok(decision.reply)
    }

    /// Denies this limit: if it has too little, as a call of its own would be; if it has enough,
    /// without counting a denial.
    fn deny(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        if !self.has_room() {
            return self.take(call);
        }
        let decision = match self.wish {
            Wish::Take(ask) => self.standing.look(&ask)?,
            Wish::Hold { .. } => self.decide()?,
        };
        self.store(call, decision.change)?;
        Ok(decision.reply)
    }
}
