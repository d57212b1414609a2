//! The decision of the calls on several limits: every one is charged, or none.

use crate::commands::error::Error;
use redis_rl_limits::kinds::decision::Reply;

use super::reply::Replies;
use super::small_vec::Few;
use crate::server::Call;

/// A limit of such a call, with its standing.
pub trait Part<'a> {
    /// Returns whether this limit alone would pass.
    fn has_room(&self) -> bool;

    /// Returns the error for a call without memory, if this limit needs new memory.
    fn out_of_memory(&self) -> Option<Error<'a>>;

    /// Takes the request, after room and memory were checked.
    ///
    /// # Errors
    /// The server refuses the write.
    fn take(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>>;

    /// Takes nothing, and returns whether this limit alone would have passed.
    ///
    /// # Errors
    /// The server refuses a write that is necessary after a clock step back.
    fn deny(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>>;
}

/// Takes from every limit if each has room, otherwise from none. On success the reply has `taken`.
///
/// # Errors
/// There is no memory for a new key, or the server refuses a write.
#[inline(always)]
pub fn take_all_or_none<'a, P: Part<'a>>(
    call: &mut Call<'a>,
    parts: &Few<P>,
    taken: i64,
) -> Result<Replies, Error<'a>> {
    if !parts.iter().all(P::has_room) {
        return answer(0, parts, |part| part.deny(call));
    }
    // Check memory once, before the first write: that write may use up the remaining memory, but
    // the others must still succeed.
    if let Some(error) = parts.iter().find_map(P::out_of_memory) {
        // OutOfMemory is the only possible refusal.
        call.check_memory().map_err(|_| error)?;
    }
    answer(taken, parts, |part| part.take(call))
}

/// Collects the reply of each limit.
///
/// # Errors
/// An error of `reply`.
#[inline(always)]
pub fn answer<'a, P>(
    taken: i64,
    parts: &Few<P>,
    mut reply: impl FnMut(&P) -> Result<Reply, Error<'a>>,
) -> Result<Replies, Error<'a>> {
    let mut each = Few::new();
    for part in parts.iter() {
        each.push(reply(part)?);
    }
    Ok(Replies {
        taken,
        each,
        least_wait: 0,
    })
}
