//! The common parts of all kinds of limit: the request, the decision and the reply.

use crate::kinds::error::Error;

/// The amount that a caller requests, and what happens if there is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Tokens to take, at most [`MAX_COST`](crate::bounds::MAX_COST).
    pub cost: u64,
    /// Tokens that must remain afterwards, at most [`MAX_KEEP`](crate::bounds::MAX_KEEP).
    pub keep: u64,
    /// The behaviour if there are fewer.
    pub mode: Mode,
}

/// The behaviour if there are fewer tokens than requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Deny.
    Whole,
    /// Take the whole tokens that are available.
    AtMost,
    /// Reserve the tokens if they will be available within this many milliseconds, otherwise deny.
    MaxWait(u64),
    /// Take them anyway, into debt.
    Force,
}

impl Ask {
    /// Requests `cost` tokens or none.
    pub fn whole(cost: u64) -> Self {
        Self {
            cost,
            keep: 0,
            mode: Mode::Whole,
        }
    }

    /// Returns the fewest tokens that must be available for any to be taken, except with
    /// [`Mode::Force`].
    pub fn needed(&self) -> u64 {
        let least = match self.mode {
            Mode::AtMost => self.cost.min(1),
            Mode::Whole | Mode::MaxWait(_) | Mode::Force => self.cost,
        };
        least.saturating_add(self.keep)
    }
}

/// The wait for more tokens than the limit can hold.
pub const NEVER: i64 = -1;

/// The five integers of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Tokens taken by this call; 0 if denied.
    pub taken: i64,
    /// The burst of a bucket, or the limit of a window.
    pub limit: i64,
    /// Whole tokens left.
    pub remaining: i64,
    /// If taken, the milliseconds to wait before proceeding; if denied, until a retry; [`NEVER`] if
    /// the cost can never be met.
    pub wait_ms: i64,
    /// Milliseconds until the limit is unused.
    pub reset_ms: i64,
}

impl Reply {
    /// Creates a reply. This is the only place that does, so anything that follows from the five
    /// integers belongs here.
    pub fn new(taken: i64, limit: i64, remaining: i64, wait_ms: i64, reset_ms: i64) -> Self {
        Self {
            taken,
            limit,
            remaining,
            wait_ms,
            reset_ms,
        }
    }

    /// Returns whether the call was denied. A successful take with a cost of 0 takes nothing either, but
    /// has no wait.
    #[inline(always)]
    pub fn is_denied(&self) -> bool {
        self.taken == 0 && self.wait_ms != 0
    }

    /// Returns the integers in the order of the reply.
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

/// The change of the stored state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<S> {
    /// Writes nothing.
    Keep,
    /// Keeps the state. Extends the key's expiry if the key would otherwise expire before this time, in
    /// milliseconds since 1970, at which the limit of this call is unused again.
    KeepAlive(i64),
    /// Stores this state, whose key must not expire before this time, in milliseconds since 1970, and
    /// not later than [`Limit::slack_ms`] after it.
    Write(S, i64),
    /// Removes the state: a missing key means the same.
    Remove,
}

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<S> {
    /// The reply to the caller.
    pub reply: Reply,
    /// The change to store.
    pub change: Change<S>,
}

/// The state of one kind of limit, stored in an ordinary string.
pub trait State: Copy {
    /// Its name in errors: `a rate-limit bucket`.
    const NAME: &'static str;
    /// The length of the stored form.
    const SIZE: usize;
    /// The stored form: an array of [`SIZE`](Self::SIZE) bytes.
    type Bytes: AsRef<[u8]>;

    /// Parses the stored form; `None` if the bytes are something else.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;

    /// Returns the stored form.
    fn to_bytes(self) -> Self::Bytes;
}

/// A validated limit of a call.
pub trait Limit: Copy {
    /// Its stored state.
    type State: State;
    /// Its standing at one time.
    type Standing: Standing<State = Self::State> + Copy;

    /// Returns the standing of `stored` at `now`, in nanoseconds since 1970. Without a stored
    /// state, nothing has been taken.
    fn stand(self, stored: Option<Self::State>, now: u64) -> Self::Standing;

    /// Returns the milliseconds that a key may live longer than its state counts. Calls whose expiry is
    /// within them need not change it.
    fn slack_ms(self) -> i64 {
        0
    }
}

/// The standing of a limit at one time.
pub trait Standing {
    /// Its stored state.
    type State: State;

    /// Checks that the limit is valid at this time.
    ///
    /// # Errors
    /// It is an UNTIL window whose end has passed.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Takes the requested tokens, or denies the request.
    ///
    /// # Errors
    /// [`Mode::Force`] would go beyond what is accepted, or [`check`](Self::check) has one.
    fn take(&self, ask: &Ask) -> Result<Decision<Self::State>, Error>;

    /// Returns the state as a reply that takes nothing and waits for nothing.
    fn state(&self) -> Reply;

    /// Takes nothing. In the reply, `taken` and `wait_ms` indicate whether, or when, a take would
    /// succeed; `remaining` and `reset_ms` describe the state as it is now.
    ///
    /// # Errors
    /// As for [`check`](Self::check).
    fn look(&self, ask: &Ask) -> Result<Decision<Self::State>, Error>;

    /// Returns whether [`take`](Self::take) would take the whole request.
    fn has(&self, ask: &Ask) -> bool;
}
