//! The bucket's arithmetic, held to an oracle in exact arithmetic: what must be true of every
//! rate, burst, cost, state and clock.
//!
//! `PROPTEST_CASES` sets how many cases each property is tried on.

#[path = "../oracle/mod.rs"]
mod oracle;

mod advice;
mod boundaries;
mod calls;
mod cases;
mod histories;
mod holds;
mod hostile;
mod keys;
mod numbers;
mod options;
mod rates;
mod rejected;
mod waits;
mod world;
#[path = "../common/wrong.rs"]
mod wrong;
