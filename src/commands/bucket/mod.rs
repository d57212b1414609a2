//! The commands on a bucket.

pub mod give;
pub mod known_limits;
pub mod peek;
pub mod take;
pub mod throttle;
