//! Windows, held to oracles that share no line with them: what must be true of every limit,
//! length, offset, anchor, state and clock.
//!
//! `PROPTEST_CASES` sets how many cases each property is tried on.

#[path = "../../oracle/calendar.rs"]
mod calendar;
#[path = "../../oracle/windows.rs"]
mod oracle;

mod calls;
mod cases;
mod dates;
mod exact;
mod fixed;
mod grammar;
mod histories;
mod holds;
mod named;
mod regressions;
mod sliding;
mod world;
