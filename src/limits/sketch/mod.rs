//! The keys denied most.

pub mod top;
