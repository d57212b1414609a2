//! The commands on leases.

pub mod acquire;
pub mod list;
pub mod look;
pub mod occupancy;
pub mod release;
pub mod renew;
pub mod set;
pub mod slot;
pub mod waiting;
