//! The module in a real server, one file per theme.
//!
//! Runs against `redis-server`, or the server whose path is in `REDIS_RL_SERVER`.

#[path = "../common/mod.rs"]
mod common;
#[path = "../oracle/mod.rs"]
mod oracle;

mod admitted;
mod around;
mod bucket;
mod calls;
mod cell;
mod clients;
mod clock;
mod cluster;
mod crowd;
mod denied;
mod errors;
mod failover;
mod ledger;
mod load;
mod memory;
mod mtake;
mod node;
mod options;
mod peek;
mod persistence;
mod pressure;
mod replication;
mod rounds;
mod takers;
mod throttle;
mod traffic;
mod upgrade;
mod watch;
