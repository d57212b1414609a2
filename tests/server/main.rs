//! The module in a real server, one file per theme.
//!
//! Runs against `redis-server`, or the server whose path is in `REDIS_RL_SERVER`.

#[path = "../common/mod.rs"]
mod common;
#[path = "../oracle/mod.rs"]
mod oracle;

mod around;
mod bucket;
mod calls;
mod cell;
mod clients;
mod clock;
mod denied;
mod errors;
mod load;
mod mtake;
mod node;
mod options;
mod peek;
mod persistence;
mod replication;
mod takers;
mod throttle;
mod traffic;
mod watch;
