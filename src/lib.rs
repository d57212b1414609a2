//! Rate limits, quotas and concurrency limits as native commands of Redis and Valkey.
//!
//! The crate `redis-rl-limits` decides. `commands` holds one file per command; `server` holds
//! everything that touches the server, and the only unsafe code. `MODULE` declares the module to a
//! server.

// A panic would crash the server and lose everybody's data.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod commands;
mod server;
mod stats;

use commands::waiting;
use redis_rl_limits::bounds::MAX_WAITERS;
use redis_rl_limits::sketch::top::MAX_KEYS;
use server::{Module, Section, Setting};

static MODULE: Module = Module {
    name: c"rl",
    greeting: server::c_str(concat!("redis-rl ", env!("CARGO_PKG_VERSION"), " loaded\0")),
    commands: commands::STANDARD,
    groups: commands::GROUPS,
    optional_commands: commands::OPTIONAL,
    settings: &[
        Setting {
            name: c"top-keys",
            default: 128,
            accepted: 0..=MAX_KEYS as i64,
            get: stats::top_keys,
            set: stats::keep_top_keys,
            apply: None,
        },
        Setting {
            name: c"max-waiters",
            default: waiting::DEFAULT_MOST,
            accepted: 0..=MAX_WAITERS as i64,
            get: waiting::most,
            set: waiting::keep_most,
            apply: Some(waiting::apply_most),
        },
    ],
    info: Section {
        version: server::c_str(concat!(env!("CARGO_PKG_VERSION"), "\0")),
        write: |section| {
            section.number(c"top_keys", stats::top_keys().unsigned_abs());
            section.number(c"top_bytes", stats::top_bytes());
            stats::fields().for_each(|(name, value)| section.number(name, value));
        },
    },
    names: &[&commands::LEASES_MARKER, &commands::HOLDS_MARKER],
    hooks: waiting::HOOKS,
    unload: || {
        stats::keep_top_keys(0);
        waiting::unload();
    },
};

server::entry_points!(MODULE);
