//! The sketch of the top denied keys.

pub mod top;
