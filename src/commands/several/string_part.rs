//! A limit of a call on several keys that is kept in a string, with how it stands.

use redis_rl_limits::grammar::error::Error;
use redis_rl_limits::kinds::decision::{Ask, Change, Limit, Reply, Standing};

use super::take_all::Part;
use crate::commands::string_key::{report, Counted, Open};
use crate::server::{Call, KeyName};
use crate::stats::Takes;

/// The limit.
pub struct StringPart<'a, L: Limit> {
    name: KeyName<'a>,
    ask: Ask,
    standing: L::Standing,
    is_new: bool,
    /// When the key expires, in milliseconds since 1970, if it does.
    expires_at: Option<i64>,
}

impl<'a, L: Counted> StringPart<'a, L> {
    /// Reads how it stands.
    ///
    /// # Errors
    /// The key holds something else, or the limit is none at this instant.
    #[inline(always)]
    pub fn read(
        call: &mut Call<'a>,
        name: KeyName<'a>,
        limit: L,
        ask: Ask,
    ) -> Result<Self, Error<'a>> {
        let (mut open, standing) = Open::new(call, name, limit)?;
        standing.check()?;
        Ok(Self {
            name,
            ask,
            standing,
            is_new: !open.key.exists(),
            expires_at: open.key.exists().then(|| open.key.expires_at()).flatten(),
        })
    }

    /// Where it is counted.
    pub fn counts(&self) -> &'static Takes {
        L::COUNTS
    }

    /// How it stands: whether, or when, what was asked for would be taken.
    ///
    /// # Errors
    /// None, as the limit is one at this instant.
    pub fn look(&self) -> Result<Reply, Error<'a>> {
        Ok(self.standing.look(&self.ask)?.reply)
    }

    /// Makes the change that was decided on. The key is opened once more: while others were read
    /// it could not stay open, since opening one key may remove another (see
    /// [`Key`](crate::server::Key)).
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

    /// What has too little is denied as by a call of its own; what has enough has nothing to tell.
    fn deny(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>> {
        if !self.has_room() {
            return self.take(call);
        }
        let decision = self.standing.look(&self.ask)?;
        self.store(call, decision.change)?;
        Ok(decision.reply)
    }
}
