//! Keys compared and hashed fast.

pub mod distinct;
pub mod hash;
