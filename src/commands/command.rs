//! The traits of a command and of its reply, and the documentation of the arguments that most
//! commands share.

use std::marker::PhantomData;

use crate::commands::error::Error;
use redis_rl_limits::grammar::options::Word;
use redis_rl_limits::kinds::decision::Reply;
use redis_rl_limits::kinds::stored;

use crate::server::{self, Argument, Call, Description, Doc, Handler, MAX_LEN};

/// A command: its description, its syntax and its code.
pub trait Command {
    /// Describes the command to the server.
    const DESCRIPTION: Description;
    /// The syntax, for the error of a call with the wrong number of arguments.
    const SYNTAX: &'static str;
    /// The type of its reply.
    type Answer: Answer;

    /// Runs one call.
    ///
    /// # Errors
    /// The call is invalid, or the key cannot be used.
    fn run<'a>(call: &mut Call<'a>) -> Result<Self::Answer, Error<'a>>;
}

/// A reply.
pub trait Answer {
    /// Sends the reply.
    fn send(&self, call: &Call<'_>);
}

/// Returns the entry of a command for the list.
pub const fn served<C: Command>() -> server::Command {
    server::Command::of::<Served<C>>()
}

/// A command, as the server calls it.
pub struct Served<C>(PhantomData<C>);

impl<C: Command> Handler for Served<C> {
    const DESCRIPTION: Description = C::DESCRIPTION;

    fn run(call: &mut Call<'_>) {
        match C::run(call) {
            Ok(answer) => answer.send(call),
            Err(error) => {
                error.count();
                let error = with_what_is_held(call, error);
                call.reply_error(error);
            }
        }
    }
}

/// Completes an error about a key's content with the name of that content.
#[cold]
fn with_what_is_held<'a>(call: &mut Call<'a>, error: Error<'a>) -> Error<'a> {
    let Error::OtherString { key, wanted, .. } = error else {
        return error;
    };
    let mut arguments = call.arguments().iter();
    let found = arguments.find(|argument| argument.bytes() == key);
    let copy = found.and_then(|name| call.peek(name, |len| len <= MAX_LEN).ok()?);
    match copy {
        Some(copy) => {
            let held = stored::name(copy.bytes());
            Error::OtherString { key, held, wanted }
        }
        None => error,
    }
}

impl Answer for Reply {
    fn send(&self, call: &Call<'_>) {
        call.reply_integers(&self.fields());
    }
}

impl Answer for u64 {
    fn send(&self, call: &Call<'_>) {
        call.reply_integer(i64::try_from(*self).unwrap_or(i64::MAX));
    }
}

impl<'a> Word<'a> for Argument<'a> {
    fn bytes(&self) -> &'a [u8] {
        Argument::bytes(self)
    }
}

// The arguments that most commands share.
pub const KEY: Doc = Doc::key(c"key");
pub const RATE: Doc = Doc::string(c"rate");
pub const BURST: Doc = Doc::integer(c"burst");
pub const COST: Doc = Doc::integer(c"cost").after(c"COST").optional();
pub const KEEP: Doc = Doc::integer(c"keep").after(c"KEEP").optional();
pub const LIMIT: Doc = Doc::integer(c"limit");
pub const TTL: Doc = Doc::string(c"ttl");
pub const TOKEN: Doc = Doc::string(c"token");

/// The version that introduced most commands.
pub const FIRST_VERSION: &std::ffi::CStr = c"0.1.0";
/// The version that introduced leases.
pub const LEASES_VERSION: &std::ffi::CStr = c"0.2.0";
/// The version that introduced holds.
pub const HOLDS_VERSION: &std::ffi::CStr = c"0.2.0";
