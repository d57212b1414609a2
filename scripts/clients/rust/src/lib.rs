#![doc = include_str!("../README.md")]

mod caller;
mod commands;
mod decision;
mod failure;
mod fallback;
mod fields;
mod layer;
mod limiter;
mod local;
mod rate;
mod reserve;
mod slot;

pub use caller::{Address, Caller, NotANetwork};
pub use commands::{Holds, Leases, Limit, OpenHold, Options, Settlement};
pub use decision::{Decision, Decisions, Source};
pub use failure::{is_outage, Counts, Error, OnError};
pub use fallback::Fallback;
pub use layer::{RateLimit, RateLimited, Takes};
pub use limiter::{Limiter, Settings};
pub use local::Local;
pub use rate::{NotARate, Rate};
pub use reserve::{NotReserved, Reservation, Reserve};
pub use slot::{NotHeld, Slot};

#[cfg(test)]
mod vectors;
