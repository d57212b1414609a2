//! The limits of redis-rl as pure functions: what is stored, the time and what is asked come in, a
//! decision comes out. Nothing here knows a server or a clock.
//!
//! - [`bounds`], [`number`], [`duration`], [`rate`]: what is accepted, and what it is worth.
//! - [`options`]: the grammar of what follows a command's fixed arguments.
//! - [`decision`]: what every kind of limit has in common.
//! - [`quota`]: the grammar of a window, in front of the options.
//! - [`bucket`], [`window`], [`sliding`], [`lease`]: the kinds of limit; [`usage`]: what both windows share;
//!   [`calendar`]: which window an instant lies in.
//! - [`stored`]: which kind of limit a string holds.
//! - [`error`]: everything that can be wrong with a call, and its words.
//! - [`top`]: the keys denied most; [`hash`]: how keys are told apart fast.

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
pub mod bucket;
pub mod calendar;
pub mod decision;
pub mod distinct;
pub mod duration;
pub mod error;
pub mod hash;
mod hint;
pub mod lease;
pub mod number;
pub mod options;
mod parameter;
pub mod quota;
pub mod rate;
mod show;
pub mod sliding;
pub mod stored;
mod sub_windows;
mod tagged;
pub mod top;
pub mod usage;
pub mod window;
mod words;
