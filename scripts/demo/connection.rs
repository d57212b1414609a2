//! A connection to Redis, whatever the address stands for, and whether it is of use.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterConfig;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, ResponsePolicy, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr,
};
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, Value,
};

use crate::address::Address;

mod link;

pub use link::{Link, Probe};

/// Maximum wait for a single server's reply that no request needs any more. It reveals whether
/// something was taken that must be refunded.
const LATEST_ANSWER: Duration = Duration::from_secs(60);

/// Clones share it.
#[derive(Clone)]
pub enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    /// Connects. `patience` is the timeout per server.
    pub async fn open(address: &mut Address, patience: Duration) -> RedisResult<Self> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(patience))
            .set_response_timeout(Some(LATEST_ANSWER));
        Ok(match address {
            Address::Server(client) => Self::Server(
                client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await?,
            ),
            Address::Sentinel(client, _) => {
                Self::Server(client.get_async_connection_with_config(&config).await?)
            }
            Address::Cluster(client, _) => {
                // An answer that is late makes the client ask the others who has the slots.
                let config = ClusterConfig::new()
                    .set_connection_timeout(patience)
                    .set_response_timeout(patience);
                Self::Cluster(client.get_async_connection_with_config(config).await?)
            }
        })
    }

    /// Sends `command` to where `key` is.
    pub async fn send(&mut self, command: Cmd, key: impl AsRef<[u8]>) -> RedisResult<Value> {
        match self {
            Self::Server(server) => on_server(server, &command).await,
            Self::Cluster(cluster) => {
                let route = Route::with_key(key, SlotAddr::Master);
                let node = SingleNodeRoutingInfo::SpecificNode(route);
                on_cluster(cluster, command, RoutingInfo::SingleNode(node)).await
            }
        }
    }

    /// Sends `command`, which is about no key, to every server that takes writes; each answer
    /// comes with the server's address, where it is known.
    pub async fn send_to_all(&mut self, command: Cmd) -> RedisResult<Vec<(String, Value)>> {
        match self {
            Self::Server(server) => Ok(vec![(String::new(), on_server(server, &command).await?)]),
            Self::Cluster(cluster) => {
                let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                match on_cluster(cluster, command, all).await? {
                    Value::Map(answers) => {
                        let name = |value| String::from_redis_value(value).unwrap_or_default();
                        Ok(answers.into_iter().map(|(k, v)| (name(k), v)).collect())
                    }
                    answer => Ok(vec![(String::new(), answer)]),
                }
            }
        }
    }

    /// Checks that a server that accepts writes and knows `command` is connected.
    ///
    /// # Errors
    /// There is none.
    pub async fn check(&mut self, command: &str) -> RedisResult<()> {
        match self {
            Self::Server(server) => {
                let role = allowed(on_server(server, &redis::cmd("ROLE")).await)?;
                if matches!(role, Some(Value::Array(role))
                    if role.first() == Some(&Value::BulkString(b"slave".into())))
                {
                    return Err(useless("the server is a replica, which takes no writes"));
                }
                let mut about = redis::cmd("COMMAND");
                about.arg("INFO").arg(command);
                match allowed(on_server(server, &about).await)? {
                    Some(Value::Array(known)) if known == [Value::Nil] => Err(useless(NO_MODULE)),
                    _ => Ok(()),
                }
            }
            // One is enough: while a master is replaced, the others keep working.
            Self::Cluster(cluster) => {
                let one = Some(ResponsePolicy::OneSucceeded);
                let any = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, one));
                allowed(on_cluster(cluster, redis::cmd("PING"), any).await).map(|_| ())
            }
        }
    }

    /// Sees to it that the commands that will be needed can be called: `probe`, a call that the
    /// module has to refuse, is one of them. Returns the module's version, if it may be asked.
    ///
    /// # Errors
    /// They cannot; contains advice.
    pub async fn examine(&mut self, probe: Cmd, key: &str) -> RedisResult<Option<String>> {
        match self.send(probe, key).await {
            // The module's own words about the probe's numbers.
            Err(error)
                if error
                    .detail()
                    .is_some_and(|text| text.contains(" must be ")) => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(useless("what answers is not redis-rl")),
        }
        let mut info = redis::cmd("INFO");
        info.arg("rl");
        let Ok(infos) = self.send_to_all(info).await else {
            return Ok(None);
        };
        let mut version = None;
        for (node, info) in infos {
            let info = String::from_redis_value(info).unwrap_or_default();
            let line = info
                .lines()
                .find_map(|line| line.strip_prefix("rl_version:"));
            let Some(found) = line else {
                return Err(useless(&format!("{node}: {NO_MODULE}")));
            };
            version = Some(found.to_owned());
        }
        Ok(version)
    }
}

pub const NO_MODULE: &str = "the server does not have the module redis-rl: start it with \
                         --loadmodule /path/to/libredis_rl.so";

// The client library hands a server's error over as a value here. These two, which everything
// goes through, make it an error.

async fn on_server(server: &mut MultiplexedConnection, command: &Cmd) -> RedisResult<Value> {
    let reply = server.send_packed_command(command).await?;
    reply.extract_error()
}

async fn on_cluster(
    cluster: &mut ClusterConnection,
    command: Cmd,
    to: RoutingInfo,
) -> RedisResult<Value> {
    let reply = cluster.route_command(command, to).await?;
    reply.extract_error()
}

/// Converts a missing permission to `None`.
fn allowed(answer: RedisResult<Value>) -> RedisResult<Option<Value>> {
    match answer {
        Err(error) if error.code() == Some("NOPERM") => Ok(None),
        answer => answer.map(Some),
    }
}

/// Adds advice to the error.
fn advised(error: RedisError) -> RedisError {
    let unknown = |text: &str| text.contains("unknown command");
    match error.code() {
        Some("NOAUTH") => useless(
            "the server wants a password: give it in --redis or REDIS_URL, as in \
             redis://USER:PASSWORD@HOST",
        ),
        Some("NOPERM") => useless(&format!(
            "the user may not do what the demo needs (ACL SETUSER USER … +rl.take +rl.give, or \
             with other limits than one bucket +rl.all +rl.give +rl.wgive +rl.renew +rl.release, \
             and a key pattern that fits --prefix): {error}"
        )),
        _ if error.detail().is_some_and(unknown) => useless(NO_MODULE),
        _ => error,
    }
}

/// Returns the error for a server that answers but cannot do what is needed.
fn useless(why: &str) -> RedisError {
    RedisError::from((ErrorKind::Client, "", why.to_owned()))
}

/// Returns whether an error concerns the server rather than the call, so that the call may succeed
/// on another connection.
fn is_about_server(error: &RedisError) -> bool {
    match error.code() {
        None => true,
        Some("ERR") => error
            .detail()
            .is_some_and(|text| text.contains("unknown command")),
        Some(code) => !["WRONGTYPE", "OOM", "CROSSSLOT", "TRYAGAIN"].contains(&code),
    }
}
