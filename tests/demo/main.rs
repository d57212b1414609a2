//! The demo over real HTTP.
//!
//! Alone with `cargo test -p redis-rl-demo`.

mod addresses;
mod admin;
#[path = "../common/mod.rs"]
mod common;
mod dashboard;
mod driver;
mod faults;
mod hostile;
mod limits;
