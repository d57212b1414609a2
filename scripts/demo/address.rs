//! Where Redis is: one server, a master that Sentinels know, or a cluster.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, ResponsePolicy, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr,
};
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, IntoConnectionInfo, RedisError, RedisResult,
    TlsMode, Value,
};

/// What `--redis` names.
pub enum Address {
    Server(Client),
    Sentinel(SentinelClient),
    Cluster(ClusterClient),
}

/// A connection to whatever the address stands for; clones share it.
#[derive(Clone)]
pub enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Address {
    /// Reads a URL: `redis://` or `rediss://`, and for several hosts `redis-sentinel://` or
    /// `redis-cluster://` (with TLS, `rediss-`).
    ///
    /// # Errors
    /// The URL is none of these, or lacks a part.
    pub fn parse(url: &str) -> RedisResult<Self> {
        let parts = url.split_once("://").and_then(|(scheme, rest)| {
            let (scheme, kind) = scheme.split_once('-')?;
            Some((scheme, kind, rest))
        });
        let Some((scheme, kind, rest)) = parts else {
            return Ok(Self::Server(Client::open(url)?));
        };
        let (auth, rest) = rest
            .rsplit_once('@')
            .map_or(("", rest), |(auth, r)| (auth, r));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts = hosts.split(',');
        let at = if auth.is_empty() { "" } else { "@" };
        match kind {
            "cluster" => {
                let nodes = hosts.map(|host| format!("{scheme}://{auth}{at}{host}/{path}"));
                let client = ClusterClient::builder(nodes).retries(2).build()?;
                Ok(Self::Cluster(client))
            }
            "sentinel" => {
                let (name, path) = path.split_once('/').unwrap_or((path, ""));
                let sentinels = hosts.map(|host| format!("{scheme}://{host}")).collect();
                // The host stands in for the master, whose address only the Sentinels know.
                let master =
                    format!("{scheme}://{auth}{at}master/{path}").into_connection_info()?;
                let mut node = SentinelNodeConnectionInfo::default()
                    .set_redis_connection_info(master.redis_settings().clone());
                if scheme == "rediss" {
                    node = node.set_tls_mode(TlsMode::Secure);
                }
                let kind = SentinelServerType::Master;
                let client = SentinelClient::build(sentinels, name, Some(node), kind)?;
                Ok(Self::Sentinel(client))
            }
            _ => Err(RedisError::from((
                ErrorKind::InvalidClientConfig,
                "unknown kind of URL",
            ))),
        }
    }

    /// Connects, and sees to it that there is an answer. One server may take so long to accept a
    /// connection, or to answer on it.
    ///
    /// # Errors
    /// There is none.
    pub async fn connect(&mut self, patience: Duration) -> RedisResult<Connection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(patience))
            .set_response_timeout(Some(patience));
        let mut connection = match self {
            Self::Server(client) => Connection::Server(
                client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await?,
            ),
            Self::Sentinel(client) => {
                Connection::Server(client.get_async_connection_with_config(&config).await?)
            }
            Self::Cluster(client) => {
                let config = ClusterConfig::new()
                    .set_connection_timeout(patience)
                    .set_response_timeout(patience);
                Connection::Cluster(client.get_async_connection_with_config(config).await?)
            }
        };
        connection.check().await?;
        Ok(connection)
    }
}

impl Connection {
    /// Sends `command` to where `key` is.
    pub async fn send(&mut self, command: Cmd, key: impl AsRef<[u8]>) -> RedisResult<Value> {
        match self {
            Self::Server(server) => server.send_packed_command(&command).await,
            Self::Cluster(cluster) => {
                let route = Route::with_key(key, SlotAddr::Master);
                let node = SingleNodeRoutingInfo::SpecificNode(route);
                cluster
                    .route_command(command, RoutingInfo::SingleNode(node))
                    .await
            }
        }
    }

    /// Sends `command`, which is about no key, to every server that takes writes.
    pub async fn send_to_all(&mut self, command: Cmd) -> RedisResult<Vec<Value>> {
        match self {
            Self::Server(server) => Ok(vec![server.send_packed_command(&command).await?]),
            Self::Cluster(cluster) => {
                let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                match cluster.route_command(command, all).await? {
                    Value::Map(answers) => Ok(answers.into_iter().map(|(_, v)| v).collect()),
                    answer => Ok(vec![answer]),
                }
            }
        }
    }

    /// Whether there is somebody at the other end who takes writes.
    ///
    /// # Errors
    /// There is not.
    pub async fn check(&mut self) -> RedisResult<()> {
        let answer = match self {
            Self::Server(server) => server.send_packed_command(&redis::cmd("ROLE")).await,
            Self::Cluster(cluster) => {
                let one = Some(ResponsePolicy::OneSucceeded);
                let any = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, one));
                cluster.route_command(redis::cmd("PING"), any).await
            }
        };
        match answer {
            Ok(Value::Array(role)) if role.first() == Some(&Value::BulkString(b"slave".into())) => {
                Err(RedisError::from((ErrorKind::Io, "the server is a replica")))
            }
            // A user who may not ask is answered all the same.
            Err(error) if error.is_unrecoverable_error() || error.is_timeout() => Err(error),
            _ => Ok(()),
        }
    }
}
