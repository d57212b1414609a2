//! The grammar of a call, and what can be wrong with it.

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
