//! Real servers for the tests, with the module loaded, each in a folder of its own.

// Each test binary compiles its own copy and uses a part of it.
#![allow(dead_code, unused_imports)]

mod build;
mod clock;
mod launch;
mod port;
mod server;
mod valgrind;
pub mod wrong;

use std::time::{Duration, Instant};

pub use build::{module, root};
pub use launch::Launch;
pub use server::Server;

/// More than any condition takes on a busy machine, and less than a person would wait.
const PATIENCE: Duration = Duration::from_secs(120);

/// Returns a port on which nobody listens at the moment, and which no other test receives.
pub fn free_port() -> u16 {
    port::free()
}

/// Waits until `condition` holds.
///
/// # Panics
/// The condition does not hold within [`PATIENCE`].
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, || condition().then_some(()));
}

/// Waits until `look` returns something. The only place where a test sleeps.
///
/// # Panics
/// It returns nothing within [`PATIENCE`].
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "timed out waiting: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
