//! Lines on standard error.
//!
//! A thread of its own writes them, so that a reader who does not read holds up nothing else: what
//! does not fit the queue is dropped and counted.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines that may wait to be written.
const QUEUE: usize = 1024;
/// The timeout for the last lines.
const FLUSH: Duration = Duration::from_millis(500);

enum Entry {
    Line(String),
    /// Everything before this has been written: answer.
    Flush(SyncSender<()>),
}

static WRITER: LazyLock<SyncSender<Entry>> = LazyLock::new(|| {
    let (sender, entries) = sync_channel(QUEUE);
    std::thread::spawn(|| write(entries));
    sender
});
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Writes one line, or drops it; a log that cannot be written is no reason to stop.
pub fn log(line: &str) {
    if WRITER.try_send(Entry::Line(line.to_owned())).is_err() {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until what was logged is written, but not for ever.
pub fn flush() {
    let (sender, done) = sync_channel(1);
    if WRITER.try_send(Entry::Flush(sender)).is_ok() {
        let _ = done.recv_timeout(FLUSH);
    }
}

fn write(entries: Receiver<Entry>) {
    let mut stderr = std::io::stderr();
    for entry in entries {
        match entry {
            Entry::Line(line) => {
                let _ = stderr.write_all((line + "\n").as_bytes());
            }
            Entry::Flush(done) => {
                let _ = done.try_send(());
            }
        }
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let _ = writeln!(stderr, "warning: {dropped} lines were not written here");
        }
    }
}

/// Warnings that may come with every request; at most one per second is logged.
#[derive(Default)]
pub struct Warnings(Mutex<(Option<Instant>, u64)>);

impl Warnings {
    /// Logs `text`, or counts it for the next line.
    pub fn warn(&self, text: &str) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
