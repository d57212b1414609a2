//! Shared by the tests of a real server: commands, groups of servers, and background clients.

pub mod admitted;
pub mod aof;
mod ask;
pub mod cluster;
pub mod crowd;
pub mod holds;
pub mod ledger;
pub mod listener;
pub mod mixed;
pub mod node;
pub mod rounds;
pub mod takers;
pub mod traffic;
pub mod windows;

pub use ask::{call, expires_at, info, knows, now, stored, texts, Ask, Reply, HOUR_MS};
