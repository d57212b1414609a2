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

/// Until when open requests may go on, once a signal has come. Clones hear the same.
#[derive(Clone)]
pub struct Stopping(watch::Receiver<Option<Instant>>);

impl Stopping {
    /// Listens from now on. Open requests may go on for `grace` after the first signal; a second one
    /// ends the demo at once.
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

    /// Waits for the first signal, then returns until when open requests may go on.
    pub fn asked(&self) -> impl Future<Output = Instant> {
        let mut receiver = self.0.clone();
        async move {
            let end = receiver.wait_for(Option::is_some).await;
            match end.ok().and_then(|end| *end) {
                Some(end) => end,
                None => pending().await,
            }
        }
    }

    /// Returns whether a signal has arrived.
    pub fn is_asked(&self) -> bool {
        self.0.borrow().is_some()
    }
}
