//! The limits of redis-rl as pure functions: what is stored, the time and what is asked come in, a
//! decision comes out. Nothing here knows a server or a clock.
//!
//! - [`bounds`]: what is accepted, and the constants that every kind shares.
//! - [`kinds`]: the kinds of limit, and what they have in common.
//! - [`grammar`]: a call as text, everything that can be wrong with it, and the words for that.
//! - [`sketch`]: the keys denied most; [`hash`]: how keys are told apart fast.

#![forbid(unsafe_code)]
// A panic would take the server and everybody's data with it.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]

pub mod bounds;
pub mod grammar;
pub mod hash;
pub mod kinds;
pub mod sketch;
