//! The callers that wait for a slot: one queue for each key, and all of them.

pub mod queue;
pub mod queues;
