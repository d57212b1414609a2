//! The commands on several limits: all of them or none.

pub mod all;
mod hold_part;
pub mod holds;
pub mod holds_key;
mod lease_part;
mod limit_spec;
pub mod mtake;
mod numkeys;
mod part;
mod release_part;
mod reply;
mod reserve;
pub mod settle;
mod settle_spec;
mod small_vec;
mod string_part;
mod take_all;
