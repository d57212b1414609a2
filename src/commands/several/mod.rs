//! The commands on several limits: all of them or none.

pub mod all;
mod lease_part;
mod limit_spec;
pub mod mtake;
mod numkeys;
mod part;
mod reply;
mod small_vec;
mod string_part;
mod take_all;
