//! The demo over real HTTP.
//!
//! Alone with `cargo test -p redis-rl-demo`.

mod addresses;
mod admin;
mod admission;
mod callers;
#[path = "../common/mod.rs"]
mod common;
mod dashboard;
mod driver;
mod exporter;
mod faults;
mod fields;
mod hostile;
mod kinds;
mod late;
mod leases;
mod limits;
mod operators;
mod prometheus;
mod protocol;
mod ready;
mod script;
mod stop;
mod stores;
