//! The limits of redis-rl as pure functions: what is stored, the time and what is asked come in, a
//! decision comes out. Nothing here knows a server or a clock.
//!
//! [`limit`] says what may be asked, [`bucket`] decides, [`error`] has the words for what is
//! wrong, and [`top`] counts who is denied most.

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

pub mod bucket;
pub mod error;
pub mod limit;
pub mod top;
