//! One file per command, each the same beats: parse, decide, store, reply.

#![forbid(unsafe_code)]

pub mod take;
