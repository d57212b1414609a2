//! What a command is, what it answers, and the documentation of the arguments that most have.

use std::marker::PhantomData;

use redis_rl_limits::grammar::error::Error;
use redis_rl_limits::grammar::options::Word;
use redis_rl_limits::kinds::decision::Reply;
use redis_rl_limits::kinds::stored;

use crate::server::{self, Argument, Call, Description, Doc, Handler, MAX_LEN};
use crate::stats;

/// A command: its description, and what it answers.
pub trait Command {
    /// What the server is told of it.
    const DESCRIPTION: Description;
    /// How a call looks, for those that do not.
    const SYNTAX: &'static str;
    /// What it answers.
    type Answer: Answer;

    /// Does what a call asks for.
    ///
    /// # Errors
    /// Anything that is wrong with the call or the key.
    fn run<'a>(call: &mut Call<'a>) -> Result<Self::Answer, Error<'a>>;
}

/// What a command answers.
pub trait Answer {
    /// Sends it.
    fn send(&self, call: &Call<'_>);
}

/// The entry of a command in the list.
pub const fn served<C: Command>() -> server::Command {
    server::Command::of::<Served<C>>()
}

/// A command as the server calls it.
pub struct Served<C>(PhantomData<C>);

impl<C: Command> Handler for Served<C> {
    const DESCRIPTION: Description = C::DESCRIPTION;

    fn run(call: &mut Call<'_>) {
        match C::run(call) {
            Ok(answer) => answer.send(call),
            Err(error) => {
                stats::failed(&error);
                let error = with_what_is_held(call, error);
                call.reply_error(error);
            }
        }
    }
}

/// The error that says what the key holds, if it is about that.
#[cold]
fn with_what_is_held<'a>(call: &mut Call<'a>, error: Error<'a>) -> Error<'a> {
    let Error::Held { key, wanted, .. } = error else {
        return error;
    };
    let mut arguments = call.arguments().iter();
    let found = arguments.find(|argument| argument.bytes() == key);
    let copy = found.and_then(|name| call.peek(name, |len| len <= MAX_LEN).ok()?);
    match copy {
        Some(copy) => {
            let held = stored::name(copy.bytes());
            Error::Held { key, held, wanted }
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

// The arguments that most commands have.
pub const KEY: Doc = Doc::key(c"key");
pub const RATE: Doc = Doc::string(c"rate");
pub const BURST: Doc = Doc::integer(c"burst");
pub const COST: Doc = Doc::integer(c"cost").after(c"COST").optional();
pub const KEEP: Doc = Doc::integer(c"keep").after(c"KEEP").optional();
pub const LIMIT: Doc = Doc::integer(c"limit");
pub const TTL: Doc = Doc::string(c"ttl");
pub const TOKEN: Doc = Doc::string(c"token");

/// The version that brought most commands.
pub const FIRST_VERSION: &std::ffi::CStr = c"0.1.0";
/// The version that brought leases.
pub const LEASES_VERSION: &std::ffi::CStr = c"0.2.0";
