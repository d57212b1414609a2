//! The module in a real server, one file per theme.
//!
//! Runs against `redis-server`, or the server whose path is in `REDIS_RL_SERVER`.

#[path = "../common/mod.rs"]
mod common;

mod around;
mod bucket;
mod calls;
mod clients;
mod clock;
mod denied;
mod errors;
mod load;
mod memory;
mod node;
mod persistence;
mod replication;
mod takers;
mod traffic;
mod upgrade;
