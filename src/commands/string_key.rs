//! The common part of the commands on one string key, for every kind of limit that it may hold.

use crate::commands::bucket::known_limits;
use crate::commands::error::Error;
use redis_rl_limits::grammar;
use redis_rl_limits::kinds::bucket;
use redis_rl_limits::kinds::decision::{
    Ask, Change, Decision, Limit, Mode, Reply, Standing, State,
};
use redis_rl_limits::kinds::hold::Holdable;
use redis_rl_limits::kinds::stored::Stored;

use crate::server::{Argument, Call, Key, KeyName, Refusal};
use crate::stats::{self, Takes};

/// A kind of limit with counters in `INFO`. Its state is one of [`Stored`], which every command must
/// recognise in a key.
pub trait Counted: Limit<Standing: Holdable, State: Into<Stored>> {
    /// Its counters.
    const COUNTS: &'static Takes;
}

impl Counted for bucket::Limit {
    const COUNTS: &'static Takes = &stats::BUCKETS;
}

/// Parses `key rate burst …` and returns the key, the limit and the rest.
///
/// # Errors
/// An argument is missing, or the rate or the burst is not accepted.
#[inline(always)]
pub fn key_and_bucket<'a>(
    call: &Call<'a>,
    syntax: &'static str,
) -> Result<(KeyName<'a>, bucket::Limit, &'a [Argument<'a>]), Error<'a>> {
    let [key, rate, burst, options @ ..] = call.arguments() else {
        return Err(Error::Usage(syntax));
    };
    let limit = known_limits::limit(rate.bytes(), burst.bytes())
        .map_err(|error| grammar::bucket::misplaced(key.bytes(), error))?;
    Ok((KeyName::of(key), limit, options))
}

/// Takes the requested tokens, or denies the call.
///
/// # Errors
/// The key holds something else, the debt would be too large, or the server refuses the write.
#[inline(always)]
pub fn take<'a, L: Counted>(
    call: &mut Call<'a>,
    name: KeyName<'a>,
    limit: L,
    ask: &Ask,
) -> Result<Reply, Error<'a>> {
    let (mut open, standing) = Open::new(call, name, limit)?;
    let decision = standing.take(ask)?;
    open.store(decision.change)?;
    drop(open);

    let reply = decision.reply;
    L::COUNTS.count_call(reply.is_denied());
    if ask.mode == Mode::Force && !standing.has(ask) {
        L::COUNTS.forced.add(reply.taken.unsigned_abs());
    }
    report(call, name, &reply, L::COUNTS);
    Ok(reply)
}

/// Replies with the standing of a limit, without changing anything.
///
/// # Errors
/// The key holds something else, or cannot be read.
pub fn look<'a, L: Counted>(
    call: &mut Call<'a>,
    name: KeyName<'a>,
    limit: L,
    ask: &Ask,
) -> Result<Reply, Error<'a>> {
    let now = call.now();
    let held = call
        .peek(name.argument, Stored::is_size)
        .map_err(|refusal| refused::<L>(refusal, name))?;
    let stored = match &held {
        Some(copy) => match L::State::from_bytes(copy.bytes()) {
            Some(state) => Some(state),
            None if is_ended_window(copy.bytes(), now) => None,
            None => return Err(refused::<L>(Refusal::OtherLength, name)),
        },
        None => None,
    };
    let reply = limit.stand(stored, call.now()).look(ask)?.reply;
    L::COUNTS.peeks.add(1);
    Ok(reply)
}

/// Returns whether a key that does not hold the requested limit counts as absent: it has expired, or
/// holds a window that has ended.
#[cold]
fn counts_as_nothing(key: &mut Key<'_>, now: u64) -> bool {
    let has_ended = match key.read(Stored::is_size) {
        Ok(Some(bytes)) => is_ended_window(bytes, now),
        _ => false,
    };
    has_ended || key.has_expired(|| false)
}

fn is_ended_window(bytes: &[u8], now: u64) -> bool {
    Stored::from_bytes(bytes).is_some_and(|stored| stored.has_ended(now))
}

/// Refunds, as `give` decides from the standing of the limit.
///
/// # Errors
/// The key holds something else, or the server refuses the write.
pub fn give<'a, L: Counted>(
    call: &mut Call<'a>,
    name: KeyName<'a>,
    limit: L,
    give: impl FnOnce(&L::Standing) -> Decision<L::State>,
) -> Result<Reply, Error<'a>> {
    let (mut open, standing) = Open::new(call, name, limit)?;
    let decision = give(&standing);
    open.store(decision.change)?;
    drop(open);

    if decision.reply.taken > 0 {
        L::COUNTS.given.add(decision.reply.taken.unsigned_abs());
        call.notify(c"rl.give", name.argument);
    }
    Ok(decision.reply)
}

/// An open key with the standing of its limit, to be changed.
pub struct Open<'k, 'a, L> {
    /// The key.
    pub key: Key<'k>,
    name: KeyName<'a>,
    limit: L,
}

impl<'k, 'a: 'k, L: Counted> Open<'k, 'a, L> {
    /// Opens a key and reads the standing of its limit.
    ///
    /// # Errors
    /// It does not hold such a limit.
    #[inline(always)]
    pub fn new(
        call: &'k mut Call<'_>,
        name: KeyName<'a>,
        limit: L,
    ) -> Result<(Self, L::Standing), Error<'a>> {
        let is_size = |len| len == L::State::SIZE;
        Self::with(call, name, limit, is_size, L::State::from_bytes)
    }

    /// Opens a key again, to apply the decision made from [`new`](Self::new).
    ///
    /// # Errors
    /// It no longer holds such a limit.
    pub fn again(call: &'k mut Call<'_>, name: KeyName<'a>, limit: L) -> Result<Self, Error<'a>> {
        let now = call.now();
        let mut key = call.open(name.argument);
        if key.is_read() {
            return Ok(Self { key, name, limit });
        }
        match key.read(|len| len == L::State::SIZE).map(drop) {
            Err(Refusal::OtherLength) if counts_as_nothing(&mut key, now) => {}
            read => read.map_err(|refusal| refused::<L>(refusal, name))?,
        }
        Ok(Self { key, name, limit })
    }

    /// Opens a key and parses its string with the caller's function, if the string has an accepted
    /// length.
    ///
    /// # Errors
    /// It holds something else.
    #[inline(always)]
    pub fn with(
        call: &'k mut Call<'_>,
        name: KeyName<'a>,
        limit: L,
        accepted: impl Fn(usize) -> bool,
        decode: impl FnOnce(&[u8]) -> Option<L::State>,
    ) -> Result<(Self, L::Standing), Error<'a>> {
        let now = call.now();
        let mut key = call.open(name.argument);
        let stored = match key.read(accepted).map(|held| held.map(decode)) {
            Ok(None) => None,
            Ok(Some(Some(state))) => Some(state),
            Ok(Some(None)) | Err(Refusal::OtherLength) if counts_as_nothing(&mut key, now) => None,
            Ok(Some(None)) => return Err(refused::<L>(Refusal::OtherLength, name)),
            Err(refusal) => return Err(refused::<L>(refusal, name)),
        };
        // An expired limit is unused, even if the server still has it.
        let stored = stored.filter(|&state| !key.has_expired(|| state.into().lasts(now)));
        Ok((Self { key, name, limit }, limit.stand(stored, now)))
    }

    /// Stores the decided change, if there is memory for it.
    ///
    /// # Errors
    /// There is no memory, or the server refuses the write.
    #[inline(always)]
    pub fn store(&mut self, change: Change<L::State>) -> Result<(), Error<'a>> {
        if let Change::Write(..) = change {
            self.key
                .check_memory()
                .map_err(|refusal| refused::<L>(refusal, self.name))?;
        }
        self.store_with_memory(change)
    }

    /// Stores the decided change. The caller must have checked the memory.
    ///
    /// # Errors
    /// The server refuses the write.
    #[inline(always)]
    pub fn store_with_memory(&mut self, change: Change<L::State>) -> Result<(), Error<'a>> {
        let stored = match change {
            Change::Keep => return Ok(()),
            Change::KeepAlive(at_ms) => {
                self.key.keep_until(at_ms, || self.limit.slack_ms());
                return Ok(());
            }
            Change::Write(state, at_ms) => {
                L::COUNTS.created.add((!self.key.exists()).into());
                let bytes = state.to_bytes();
                self.key
                    .write(bytes.as_ref(), at_ms, || self.limit.slack_ms())
            }
            Change::Remove => self.key.remove(),
        };
        stored.map_err(|refusal| refused::<L>(refusal, self.name))
    }
}

/// Counts a take or a denial of a limit, and sends its event.
#[inline(always)]
pub fn report(call: &Call<'_>, name: KeyName<'_>, reply: &Reply, counts: &Takes) {
    if reply.taken > 0 {
        counts.count_taken(reply);
        call.notify(c"rl.take", name.argument);
    } else if reply.is_denied() {
        stats::denied(name.bytes, call.now());
        call.notify(c"rl.deny", name.argument);
    }
}

/// Converts a refusal to the error of a command on this kind of limit.
#[cold]
pub fn refused<'a, L: Limit>(refusal: Refusal, name: KeyName<'a>) -> Error<'a> {
    let key = name.bytes;
    match refusal {
        Refusal::WrongType => Error::WrongType(key),
        Refusal::OtherLength => Error::OtherString {
            key,
            held: "another string",
            wanted: L::State::NAME,
        },
        Refusal::OutOfMemory => Error::OutOfMemory(key),
        Refusal::ReadFailed => Error::ReadFailed(key),
        Refusal::WriteFailed => Error::WriteFailed(key),
    }
}
