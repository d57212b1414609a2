//! Shutdown signals: Ctrl-C and SIGTERM.

use std::future::{pending, Future};
use std::io;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::select;
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::log::flush;

/// Announces the time until which open requests may continue. Clones receive the same.
#[derive(Clone)]
pub struct Stopping(watch::Receiver<Option<Instant>>);

impl Stopping {
    /// Listens from now on, so that no server is left behind however early the signal comes. Those
    /// who are here then may stay for `grace`; a second signal ends the demo at once.
    pub fn on_signals(grace: Duration) -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            for last in [false, true] {
                select(pin!(interrupt.recv()), pin!(terminate.recv())).await;
                if last {
                    flush();
                    std::process::exit(1);
                }
                sender.send_replace(Some(Instant::now() + grace));
            }
        });
        Ok(Self(receiver))
    }

    /// Waits for a shutdown signal; returns the time until which open requests may continue.
    pub fn asked(&self) -> impl Future<Output = Instant> {
        self.until(|_| true)
    }

    /// Waits until it is certain that the demo ends before that time.
    pub fn ends_before(&self, time: Instant) -> impl Future<Output = Instant> {
        self.until(move |end| end < time)
    }

    /// Returns whether a shutdown was requested.
    pub fn is_asked(&self) -> bool {
        self.0.borrow().is_some()
    }

    fn until(&self, matters: impl Fn(Instant) -> bool) -> impl Future<Output = Instant> {
        let mut receiver = self.0.clone();
        async move {
            let end = receiver.wait_for(|end| end.is_some_and(&matters)).await;
            match end.ok().and_then(|end| *end) {
                Some(end) => end,
                None => pending().await,
            }
        }
    }
}
