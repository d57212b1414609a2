//! One connection to Redis, shared by all requests, that mends itself.
//!
//! A request never waits for a connection to be made: while there is none, it is told so at once.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, RedisResult, Value};
use tokio::sync::{watch, Notify};
use tokio::time::timeout;

use crate::log::log;

/// How long connecting, or a sign of life, may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks at whether the server is there.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(100);

/// The shared end of the connection.
pub struct Link {
    current: watch::Receiver<Option<MultiplexedConnection>>,
    suspect: Arc<Notify>,
}

impl Link {
    /// Keeps a connection to the server of `client` from now on.
    pub fn open(client: Client) -> Self {
        let (sender, current) = watch::channel(None);
        let suspect = Arc::new(Notify::new());
        tokio::spawn(keep(client, sender, suspect.clone()));
        Self { current, suspect }
    }

    /// Sends `command`, which is about `key`.
    pub async fn call(&self, command: Cmd, _key: &str) -> RedisResult<Value> {
        let connection = self.current.borrow().clone();
        let Some(mut connection) = connection else {
            return Err(RedisError::from((ErrorKind::Io, "no connection to Redis")));
        };
        let reply = connection.send_packed_command(&command).await;
        if reply
            .as_ref()
            .is_err_and(RedisError::is_unrecoverable_error)
        {
            self.suspect.notify_one();
        }
        reply
    }
}

/// Connects, watches, connects again, for as long as there is a [`Link`].
async fn keep(
    client: Client,
    current: watch::Sender<Option<MultiplexedConnection>>,
    suspect: Arc<Notify>,
) {
    let mut last_failure = String::new();
    while !current.is_closed() {
        match dial(&client).await {
            Ok(connection) => {
                last_failure.clear();
                log("Connected to Redis");
                current.send_replace(Some(connection.clone()));
                let failure = until_lost(connection, &suspect).await;
                current.send_replace(None);
                log(&format!("warning: lost the connection to Redis: {failure}"));
            }
            Err(failure) => {
                let failure = failure.to_string();
                if failure != last_failure {
                    log(&format!("warning: no connection to Redis: {failure}"));
                    last_failure = failure;
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn dial(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    let mut connection = timeout(PATIENCE, connecting)
        .await
        .unwrap_or_else(|_| late())?;
    beat(&mut connection).await?;
    Ok(connection)
}

async fn until_lost(mut connection: MultiplexedConnection, suspect: &Notify) -> RedisError {
    loop {
        let _ = timeout(HEARTBEAT, suspect.notified()).await;
        if let Err(failure) = beat(&mut connection).await {
            return failure;
        }
    }
}

/// Any answer is a sign of life, a refusal too.
async fn beat(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let ping = redis::cmd("PING");
    let answer = timeout(PATIENCE, connection.send_packed_command(&ping)).await;
    match answer.unwrap_or_else(|_| late()) {
        Err(failure) if !matches!(failure.kind(), ErrorKind::Server(_) | ErrorKind::Extension) => {
            Err(failure)
        }
        _ => Ok(()),
    }
}

fn late<T>() -> RedisResult<T> {
    Err(RedisError::from((ErrorKind::Io, "no answer in time")))
}
