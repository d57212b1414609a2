//! The limits of redis-rl as pure functions: the stored state, the time and the request go in, a
//! decision comes out. Nothing here knows a server or a clock.
//!
//! - [`bounds`]: the accepted ranges, and the constants that all kinds share.
//! - [`kinds`]: the kinds of limit, and their common traits.
//! - [`grammar`]: the text of a call, its errors and their texts.
//! - [`waiting`]: the callers that wait for a slot, in the order in which they are served.
//! - [`show`]: input and bounds in error texts.
//! - [`sketch`]: the top denied keys; [`keys`]: fast comparison of keys.

#![forbid(unsafe_code)]
// A panic would crash the server and lose everybody's data.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]

pub mod bounds;
pub mod decimal;
pub mod grammar;
pub mod keys;
pub mod kinds;
pub mod show;
pub mod sketch;
pub mod waiting;
