//! What every kind of limit has in common: what is asked of it, what comes of that, and what is
//! told.

use crate::grammar::error::Error;

/// How much a caller wants, and what is to happen where there is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Tokens, from 1 to [`MAX_TOKENS`](crate::bounds::MAX_TOKENS).
    pub cost: u64,
    /// Tokens that must be left afterwards, up to as many.
    pub keep: u64,
    /// What to do where there are fewer.
    pub mode: Mode,
}

/// What to do where there are fewer tokens than asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Deny.
    Whole,
    /// Take the whole tokens that are there.
    AtMost,
    /// Reserve those that will be there within so many milliseconds, else deny.
    MaxWait(u64),
    /// Take them all the same.
    Force,
}

impl Ask {
    /// So many tokens or none.
    pub fn whole(cost: u64) -> Self {
        Self {
            cost,
            keep: 0,
            mode: Mode::Whole,
        }
    }

    /// The fewest tokens that must be there for any to be taken: [`Mode::Force`] apart.
    pub fn needed(&self) -> u64 {
        let least = match self.mode {
            Mode::AtMost => 1,
            Mode::Whole | Mode::MaxWait(_) | Mode::Force => self.cost,
        };
        least.saturating_add(self.keep)
    }
}

/// The wait for more tokens than there can ever be.
pub const NEVER: i64 = -1;

/// The five integers that tell a caller how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Tokens taken by this call; 0 is denied.
    pub taken: i64,
    /// The most that there can be: a bucket's burst, a window's limit.
    pub limit: i64,
    /// Whole tokens that are left.
    pub remaining: i64,
    /// Milliseconds: after which to go on if taken, else to ask again; [`NEVER`] if the cost can
    /// never be met.
    pub wait_ms: i64,
    /// Milliseconds until all are there again.
    pub reset_ms: i64,
}

impl Reply {
    /// The one place that a reply is made: what follows from these five belongs here.
    pub fn new(taken: i64, limit: i64, remaining: i64, wait_ms: i64, reset_ms: i64) -> Self {
        Self {
            taken,
            limit,
            remaining,
            wait_ms,
            reset_ms,
        }
    }

    /// In the order in which they are sent.
    pub fn fields(&self) -> [i64; 5] {
        let Self {
            taken,
            limit,
            remaining,
            wait_ms,
            reset_ms,
        } = *self;
        [taken, limit, remaining, wait_ms, reset_ms]
    }
}

/// What becomes of the stored state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<S> {
    /// Nothing is written.
    Keep,
    /// Keeps the state. Extends the key's expiry to this time, in milliseconds since 1970, if the key
    /// would otherwise expire before the limit of this call is unused again.
    KeepAlive(i64),
    /// It becomes this, which means nothing any more from then on, in milliseconds since 1970.
    Write(S, i64),
    /// It is removed: what is not there stands for the same.
    Remove,
}

/// What a call comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<S> {
    /// The answer to the caller.
    pub reply: Reply,
    /// What to store.
    pub change: Change<S>,
}

/// What an ordinary string holds for one kind of limit.
pub trait State: Copy {
    /// What it is called in errors: `a rate-limit bucket`.
    const NAME: &'static str;
    /// Bytes of the stored form.
    const SIZE: usize;
    /// The stored form: an array of [`SIZE`](Self::SIZE) bytes.
    type Bytes: AsRef<[u8]>;

    /// Reads the stored form; `None` if the bytes are something else.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;

    /// The stored form.
    fn to_bytes(self) -> Self::Bytes;
}

/// A validated limit, as it comes with a call.
pub trait Limit: Copy {
    /// What is stored of it.
    type State: State;
    /// How it stands at an instant.
    type Standing: Standing<State = Self::State> + Copy;

    /// How `stored` stands at `now`, in nanoseconds since 1970. Where nothing is stored, nothing
    /// has been taken.
    fn stand(self, stored: Option<Self::State>, now: u64) -> Self::Standing;
}

/// How a limit stands at an instant.
pub trait Standing {
    /// What is stored of it.
    type State: State;

    /// Makes sure that the limit is one at this instant.
    ///
    /// # Errors
    /// It is a window that is to end, and has ended.
    fn check(&self) -> Result<(), Error<'static>> {
        Ok(())
    }

    /// Takes what is asked for, or denies it.
    ///
    /// # Errors
    /// [`Mode::Force`] would go beyond what is accepted, or [`check`](Self::check) has one.
    fn take(&self, ask: &Ask) -> Result<Decision<Self::State>, Error<'static>>;

    /// Takes nothing. The reply says in `taken` and `wait_ms` whether, or when, this would be
    /// taken; `remaining` and `reset_ms` are those of now.
    ///
    /// # Errors
    /// That of [`check`](Self::check).
    fn look(&self, ask: &Ask) -> Result<Decision<Self::State>, Error<'static>>;

    /// Whether [`take`](Self::take) would take all that is asked for.
    fn has(&self, ask: &Ask) -> bool;
}
