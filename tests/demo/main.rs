//! The demo over real HTTP.
//!
//! Alone with `cargo build --example demo && cargo test --test demo`.

mod addresses;
mod admin;
#[path = "../common/mod.rs"]
mod common;
mod dashboard;
mod driver;
mod faults;
mod hostile;
mod limits;
