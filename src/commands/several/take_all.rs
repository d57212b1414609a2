//! What the calls on several limits share: every one is charged, or none.

use redis_rl_limits::grammar::error::Error;
use redis_rl_limits::kinds::decision::Reply;

use super::reply::Replies;
use super::small_vec::Few;
use crate::server::Call;

/// A limit of such a call, with how it stands.
pub trait Part<'a> {
    /// Whether it alone would pass.
    fn has_room(&self) -> bool;

    /// The error of a call that finds no memory, if this limit needs new memory.
    fn out_of_memory(&self) -> Option<Error<'a>>;

    /// Takes what was asked for, of which is known that it is there and that there is memory.
    ///
    /// # Errors
    /// The server refuses the write.
    fn take(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>>;

    /// Takes nothing, and tells whether this limit alone would have passed.
    ///
    /// # Errors
    /// The server refuses to write what a clock that stepped back makes necessary.
    fn deny(&self, call: &mut Call<'a>) -> Result<Reply, Error<'a>>;
}

/// Takes from every limit if each has room, else from none; `taken` is what it says if it did.
///
/// # Errors
/// There is no memory for what is new, or the server refuses a write.
#[inline(always)]
pub fn take_all_or_none<'a, P: Part<'a>>(
    call: &mut Call<'a>,
    parts: &Few<P>,
    taken: i64,
) -> Result<Replies, Error<'a>> {
    if !parts.iter().all(P::has_room) {
        return answer(0, parts, |part| part.deny(call));
    }
    // Asked for all before the first is written, and not again: the first ones may take the last
    // of the memory, and the others must be written too.
    if let Some(error) = parts.iter().find_map(P::out_of_memory) {
        // The only refusal that there is.
        call.check_memory().map_err(|_| error)?;
    }
    answer(taken, parts, |part| part.take(call))
}

/// What `reply` makes of each limit.
///
/// # Errors
/// Its own.
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
    Ok(Replies { taken, each })
}
