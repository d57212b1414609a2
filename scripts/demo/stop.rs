//! Shutdown signals: Ctrl-C and SIGTERM.

use std::io;
use std::pin::pin;

use futures_util::future::select;
use tokio::signal::unix::{signal, SignalKind};
use tokio_util::sync::CancellationToken;

use crate::log::flush;

/// Returns a token that the first signal cancels. The second signal ends the demo at once.
pub fn on_signals() -> io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stopping = CancellationToken::new();
    let token = stopping.clone();
    tokio::spawn(async move {
        for last in [false, true] {
            select(pin!(interrupt.recv()), pin!(terminate.recv())).await;
            if last {
                flush();
                std::process::exit(1);
            }
            stopping.cancel();
        }
    });
    Ok(token)
}
