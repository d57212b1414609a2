//! The module in a real server: one file per command, and one per theme that crosses commands.
//!
//! Runs against `redis-server`, or the server whose path is in `REDIS_RL_SERVER`.

#[path = "../oracle/calendar.rs"]
mod calendar;
#[path = "../common/mod.rs"]
mod common;
#[path = "../oracle/holds.rs"]
mod hold_oracle;
#[path = "../oracle/mod.rs"]
mod oracle;
mod support;
#[path = "../oracle/windows.rs"]
mod windows;

mod all;
mod all_around;
mod all_events;
mod all_known;
mod all_once;
mod all_refused;
mod all_reshard;
mod give;
mod holds;
mod holds_around;
mod holds_clock;
mod holds_full;
mod holds_kill;
mod holds_model;
mod inspect;
mod lease;
mod lease_around;
mod lease_failover;
mod lease_kill;
mod lease_set;
mod mtake;
mod peek;
mod take;
mod take_options;
mod throttle;
mod top;
mod wgive;
mod wpeek;
mod wtake;

mod acl;
mod clients;
mod clock;
mod cluster;
mod cluster_user;
mod counts;
mod docs;
mod effects;
mod errors;
mod events;
mod expiry;
mod failover;
mod held;
mod load;
mod memory;
mod numbers;
mod other_modules;
mod persistence;
mod pressure;
mod redis_cell;
mod release;
mod replication;
mod scripts;
mod traces;
mod upgrade;
mod wait;
mod window_clock;
mod zero;
