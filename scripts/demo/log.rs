//! Lines on standard error.

use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Writes one line; a log that cannot be written is no reason to stop.
pub fn log(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Warnings that may come with every request, of which one a second is logged.
#[derive(Default)]
pub struct Warnings(Mutex<(Option<Instant>, u64)>);

impl Warnings {
    /// Logs `text`, or counts it for the next line.
    pub fn warn(&self, text: &str) {
        let mut state = self.0.lock().expect("no panic while counting");
        let (last, unsaid) = &mut *state;
        if last.is_some_and(|at| at.elapsed() < Duration::from_secs(1)) {
            *unsaid += 1;
            return;
        }
        *last = Some(Instant::now());
        match std::mem::take(unsaid) {
            0 => log(&format!("warning: {text}")),
            n => log(&format!(
                "warning: {text} ({n} more since the last warning)"
            )),
        }
    }
}
