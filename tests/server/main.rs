//! The module inside a real server.

#[path = "../common/mod.rs"]
mod common;

mod node;
mod persistence;
mod replication;
mod takers;
mod traffic;
