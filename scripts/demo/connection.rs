//! One connection to Redis, shared by all requests, that mends itself.
//!
//! A request never waits for a connection to be made: while there is none, it is told so at once.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value};
use tokio::sync::{watch, Notify};
use tokio::time::{sleep, timeout};

use crate::address::{Address, Connection};
use crate::log::log;

/// How long one server may take to answer, if requests do not wait for it even longer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks at whether the server is there.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(100);

/// The shared end of the connection.
pub struct Link {
    current: watch::Receiver<Option<Connection>>,
    suspect: Arc<Notify>,
}

impl Link {
    /// Keeps a connection to `address` from now on, on which requests wait for `timeout`.
    pub fn open(address: Address, timeout: Duration) -> Self {
        let (sender, current) = watch::channel(None);
        let suspect = Arc::new(Notify::new());
        let patience = PATIENCE.max(timeout);
        tokio::spawn(keep(address, patience, sender, suspect.clone()));
        Self { current, suspect }
    }

    /// Sends `command`, which is about `key`.
    ///
    /// # Errors
    /// What the server says, or that there is none.
    pub async fn call(&self, command: Cmd, key: impl AsRef<[u8]>) -> RedisResult<Value> {
        let reply = self.connection()?.send(command, key).await;
        // A refusal too may mean that the server is not what it was: a replica, say.
        if reply.is_err() {
            self.suspect.notify_one();
        }
        reply
    }

    /// Sends `command` to every server that takes writes.
    ///
    /// # Errors
    /// As [`Link::call`].
    pub async fn call_all(&self, command: Cmd) -> RedisResult<Vec<Value>> {
        self.connection()?.send_to_all(command).await
    }

    /// Whether there is a connection now.
    pub fn is_up(&self) -> bool {
        self.current.borrow().is_some()
    }

    fn connection(&self) -> RedisResult<Connection> {
        let none = || RedisError::from((ErrorKind::Io, "no connection to Redis"));
        self.current.borrow().clone().ok_or_else(none)
    }
}

/// Connects, watches, connects again, for as long as there is a [`Link`].
async fn keep(
    mut address: Address,
    patience: Duration,
    current: watch::Sender<Option<Connection>>,
    suspect: Arc<Notify>,
) {
    let mut last_failure = String::new();
    while !current.is_closed() {
        // Sentinels and all.
        match timeout(3 * patience, address.connect(patience))
            .await
            .unwrap_or_else(|_| late())
        {
            Ok(connection) => {
                last_failure.clear();
                log("Connected to Redis");
                current.send_replace(Some(connection.clone()));
                let failure = until_lost(connection, 3 * patience, &suspect).await;
                current.send_replace(None);
                log(&format!("warning: lost the connection to Redis: {failure}"));
            }
            Err(failure) => {
                let failure = failure.to_string();
                if failure != last_failure {
                    log(&format!("warning: no connection to Redis: {failure}"));
                    last_failure = failure;
                }
                sleep(RETRY).await;
            }
        }
    }
}

async fn until_lost(
    mut connection: Connection,
    patience: Duration,
    suspect: &Notify,
) -> RedisError {
    loop {
        let _ = timeout(HEARTBEAT, suspect.notified()).await;
        match timeout(patience, connection.check())
            .await
            .unwrap_or_else(|_| late())
        {
            Ok(()) => sleep(RETRY).await,
            Err(failure) => return failure,
        }
    }
}

fn late<T>() -> RedisResult<T> {
    Err(RedisError::from((ErrorKind::Io, "no answer in time")))
}
