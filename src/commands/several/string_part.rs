//! A limit in a call on several keys that is stored in a string, with its standing.

use crate::commands::error::Error;
use redis_rl_limits::kinds::decision::{Ask, Change, Limit, Reply, Standing};

use super::take_all::Part;
use crate::commands::string_key::{report, Counted, Open};
use crate::server::{Call, KeyName};
use crate::stats::Takes;

/// The limit with its standing.
pub struct StringPart<'a, L: Limit> {
    name: KeyName<'a>,
    ask: Ask,
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
        ask: Ask,
    ) -> Result<Self, Error<'a>> {
        let (mut open, standing) = Open::new(call, name, limit)?;
        Ok(Self {
            name,
            ask,
            standing,
            is_new: !open.key.exists(),
            expires_at: open.key.exists().then(|| open.key.expires_at()).flatten(),
        })
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
        Ok(self.standing.check()?)
    }

    /// Returns the state as a reply that takes nothing and waits for nothing.
    pub fn state(&self) -> Reply {
        self.standing.state()
    }

    /// Stores the decided change. The key is opened again: it could not stay open while others were
    /// read, because opening one key may remove another (see [`Key`](crate::server::Key)).
    #[inline(always)]
    fn store(&self, call: &mut Call<'a>, change: Change<L::State>) -> Result<(), Error<'a>> {
        match change {
            Change::Keep => Ok(()),
            Change::KeepAlive(at_ms) if self.expires_at.is_none_or(|at| at >= at_ms) => Ok(()),
            change => Open::<L>::again(call, self.name)?.store_with_memory(change),
        }
    }
}

impl<'a, L: Counted> Part<'a> for StringPart<'a, L> {
    #[inline(always)]
    fn has_room(&self) -> bool {
        self.standing.has(&self.ask)
    }

    #[inline(always)]
    fn out_of_memory(&self) -> Option<Error<'a>> {
        self.is_new.then_some(Error::OutOfMemory(self.name.bytes))
    }

    #[inline(always)]
    fn take(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        let decision = self.standing.take(&self.ask)?;
        self.store(call, decision.change)?;
        report(call, self.name, &decision.reply, L::COUNTS);
        Ok(decision.reply)
    }

    /// Denies this limit: if it has too little, as a call of its own would be; if it has enough,
    /// without counting a denial.
    fn deny(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        if !self.has_room() {
            return self.take(call);
        }
        let decision = self.standing.look(&self.ask)?;
        self.store(call, decision.change)?;
        Ok(decision.reply)
    }
}
