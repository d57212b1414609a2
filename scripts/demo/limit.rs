//! The limits: their options, and their commands.
//!
//! A new kind of limit is an entry of [`KINDS`] and an arm of each `match` on [`Algorithm`].

mod algorithm;
mod demand;
mod kinds;

pub use algorithm::{Algorithm, Ask, Limit, Standing};
pub use demand::Demand;
pub use kinds::{bucket, KINDS};
