//! One connection, shared by all requests, that reconnects by itself.
//!
//! A request never waits for a connection: without one, it gets an error at once.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value};
use tokio::sync::{watch, Notify};
use tokio::time::{sleep, timeout};

use crate::address::Address;
use crate::connection::{advised, is_about_server, Connection};
use crate::log::log;

/// The minimum timeout of one server.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two checks of the server.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(100);
/// The same for a server that answers but cannot help: an operator must act first.
const RETRY_USELESS: Duration = Duration::from_secs(1);

/// The shared end of the connection.
pub struct Link {
    current: watch::Receiver<Result<Connection, String>>,
    suspect: Arc<Notify>,
}

/// The call that must work before a connection is used.
pub struct Probe {
    /// A call that the module must refuse.
    pub call: Cmd,
    pub key: String,
}

impl Link {
    /// Keeps a connection to `address` from now on, on which requests wait for `timeout`.
    pub fn open(address: Address, timeout: Duration, probe: Probe) -> Self {
        let (sender, current) = watch::channel(Err("not connected yet".to_owned()));
        let suspect = Arc::new(Notify::new());
        let keeper = Keeper {
            address,
            probe,
            patience: PATIENCE.max(timeout),
            current: sender,
            suspect: suspect.clone(),
        };
        tokio::spawn(keeper.run());
        Self { current, suspect }
    }

    /// Sends `command`, which is about `key`.
    ///
    /// # Errors
    /// The server's, or that there is no connection.
    pub async fn call(&self, command: Cmd, key: impl AsRef<[u8]>) -> RedisResult<Value> {
        let reply = self.connection()?.send(command, key).await;
        // A refusal too may mean that the server is not what it was: a replica, say.
        if reply.as_ref().is_err_and(is_about_server) {
            self.suspect.notify_one();
        }
        reply
    }

    /// Makes sure that the server is there and can do what is needed.
    pub async fn check(&self) -> RedisResult<()> {
        self.connection()?.check().await.map(drop)
    }

    /// Returns whether there is a connection.
    pub fn is_up(&self) -> bool {
        self.current.borrow().is_ok()
    }

    /// Returns the connection of now.
    ///
    /// # Errors
    /// There is none.
    pub fn connection(&self) -> RedisResult<Connection> {
        let none = |why: &String| (ErrorKind::Io, "no connection to Redis", why.clone());
        let current = self.current.borrow();
        current.as_ref().cloned().map_err(|why| none(why).into())
    }
}

/// Connects, watches, connects again, for as long as there is a [`Link`].
struct Keeper {
    address: Address,
    probe: Probe,
    patience: Duration,
    current: watch::Sender<Result<Connection, String>>,
    suspect: Arc<Notify>,
}

impl Keeper {
    async fn run(mut self) {
        let mut last_failure = String::new();
        while !self.current.is_closed() {
            match self.connect().await.map_err(advised) {
                Ok((connection, version)) => {
                    last_failure.clear();
                    let version = version.map_or(String::new(), |v| format!(" (redis-rl {v})"));
                    log(&format!("Connected to Redis{version}"));
                    drop(self.current.send_replace(Ok(connection.clone())));
                    let failure = self.until_lost(connection).await.to_string();
                    drop(self.current.send_replace(Err(failure.clone())));
                    log(&format!("warning: lost the connection to Redis: {failure}"));
                }
                Err(failure) => {
                    let retry = match failure.is_io_error() {
                        true => RETRY,
                        false => RETRY_USELESS,
                    };
                    let failure = failure.to_string();
                    if failure != last_failure {
                        log(&format!("warning: no connection to Redis: {failure}"));
                        drop(self.current.send_replace(Err(failure.clone())));
                        last_failure = failure;
                    }
                    sleep(retry).await;
                }
            }
        }
    }

    async fn connect(&mut self) -> RedisResult<(Connection, Option<String>)> {
        // Sentinels and all.
        let patience = 3 * self.patience;
        let connection = Connection::open(&mut self.address, self.patience);
        let mut connection = in_time(patience, connection).await?;
        let Probe { call, key } = &self.probe;
        let version = in_time(patience, connection.examine(call.clone(), key)).await?;
        Ok((connection, version))
    }

    async fn until_lost(&self, mut connection: Connection) -> RedisError {
        let Probe { call, key } = &self.probe;
        loop {
            let suspected = timeout(HEARTBEAT, self.suspect.notified()).await.is_ok();
            let check = async {
                match suspected {
                    true => connection.examine(call.clone(), key).await,
                    false => connection.check().await,
                }
            };
            match in_time(self.patience, check).await {
                Ok(_) => sleep(RETRY).await,
                Err(failure) => return advised(failure),
            }
        }
    }
}

async fn in_time<T>(
    patience: Duration,
    answer: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    let late = |_| Err((ErrorKind::Io, "no answer in time").into());
    timeout(patience, answer).await.unwrap_or_else(late)
}
