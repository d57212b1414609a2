//! The commands on a window.

pub mod arguments;
pub mod give;
pub mod peek;
pub mod take;
