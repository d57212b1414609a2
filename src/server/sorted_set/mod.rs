//! A key that holds a sorted set.

mod by_rank;
mod changes;
pub mod read;
pub mod write;
