//! The kinds of limit: the stored state, the time and the request go in, a decision comes out.

pub mod bucket;
pub mod calendar;
pub mod decision;
pub mod error;
pub mod hold;
pub mod lease;
pub mod rate;
pub mod sliding;
pub mod stored;
mod sub_windows;
mod tagged;
pub mod usage;
pub mod window;
