//! Rate limiting as a native command of Redis and Valkey.
//!
//! [`bucket`] decides and [`limit`] says what may be asked; both are pure. `commands` holds one
//! file per command, `server` everything that touches the server and the only unsafe code.
//! [`MODULE`] is what a server is told when it loads the library.

pub mod bucket;
mod commands;
pub mod error;
pub mod limit;
mod server;

use commands::{give::Give, mtake::MTake, peek::Peek, take::Take, throttle::Throttle};
use server::{Command, Module};

const MODULE: Module = Module {
    name: c"rl",
    version: 100,
    commands: &[
        Command::of::<Take>(),
        Command::of::<Peek>(),
        Command::of::<Give>(),
        Command::of::<MTake>(),
    ],
    on_request: &[Command::of::<Throttle>()],
};
