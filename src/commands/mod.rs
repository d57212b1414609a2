//! One file per command, each the same beats: parse, decide, store, answer. What all commands on
//! one string share is in [`limited`], what those on leases share in [`lease_set`].

#![forbid(unsafe_code)]

mod acquire;
mod all;
mod expiries;
mod few;
mod give;
mod lease_look;
pub mod lease_set;
mod leases;
mod limited;
mod mixed;
mod mtake;
mod numkeys;
mod on_set;
mod on_string;
mod peek;
mod release;
mod renew;
mod replies;
mod several;
mod spec;
mod take;
mod throttle;
mod top;
mod wgive;
mod window;
mod wpeek;
mod wtake;

use std::marker::PhantomData;

use redis_rl_limits::decision::Reply;
use redis_rl_limits::error::Error;
use redis_rl_limits::options::Word;
use redis_rl_limits::stored;

use crate::server::{self, Argument, Call, Description, Doc, Group, Handler, MAX_LEN};
use crate::stats;

/// The commands that every server has.
pub const STANDARD: &[server::Command] = &[
    served::<take::Take>(),
    served::<peek::Peek>(),
    served::<give::Give>(),
    served::<mtake::MTake>(),
    served::<wtake::WTake>(),
    served::<wpeek::WPeek>(),
    served::<wgive::WGive>(),
    served::<top::Top>(),
];

/// Those that need more of the server.
pub const GROUPS: &[Group] = &[Group {
    name: c"RL.ACQUIRE, RL.RENEW, RL.RELEASE, RL.LEASES and RL.ALL",
    needs: server::SET_COMMANDS,
    commands: &[
        served::<acquire::Acquire>(),
        served::<renew::Renew>(),
        served::<release::Release>(),
        served::<leases::Leases>(),
        served::<all::All>(),
    ],
}];

/// Those that are there only if the module is loaded with their name as an argument.
pub const OPTIONAL: &[server::Command] = &[served::<throttle::Throttle>()];

const fn served<C: Command>() -> server::Command {
    server::Command::of::<Served<C>>()
}

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
const KEY: Doc = Doc::key(c"key");
const RATE: Doc = Doc::string(c"rate");
const BURST: Doc = Doc::integer(c"burst");
const COST: Doc = Doc::integer(c"cost").after(c"COST").optional();
const KEEP: Doc = Doc::integer(c"keep").after(c"KEEP").optional();
const LIMIT: Doc = Doc::integer(c"limit");
const TTL: Doc = Doc::string(c"ttl");
const TOKEN: Doc = Doc::string(c"token");

/// The version that brought most commands.
const FIRST_VERSION: &std::ffi::CStr = c"0.1.0";
/// The version that brought leases.
const LEASES_VERSION: &std::ffi::CStr = c"0.2.0";
