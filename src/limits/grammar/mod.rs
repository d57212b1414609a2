//! The grammar of a call, and its errors.

pub mod bucket;
pub mod calendar;
pub mod duration;
pub mod error;
mod hint;
pub mod hold;
pub mod lease;
mod nearest;
pub mod number;
mod option_error;
pub mod options;
pub mod parameter;
pub mod window;
mod words;
