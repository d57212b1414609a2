//! A key that holds a sorted set.

mod by_rank;
pub mod read;
pub mod write;
