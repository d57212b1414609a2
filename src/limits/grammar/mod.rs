//! The grammar of a call, and its errors.

pub mod distinct;
pub mod duration;
pub mod error;
mod hint;
pub mod number;
pub mod options;
mod parameter;
mod show;
pub mod window;
mod words;
