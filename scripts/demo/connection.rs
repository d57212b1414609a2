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
    /// Connects. One server may take up to `patience` to accept a connection.
    pub async fn open(address: &mut Address, patience: Duration) -> RedisResult<Self> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(patience))
            .set_response_timeout(Some(LATEST_ANSWER));
        Ok(match address {
            Address::Server(client) => {
                let connection = client.get_multiplexed_async_connection_with_config(&config);
                Self::Server(connection.await?)
            }
            Address::Sentinel(client, _) => {
                Self::Server(client.get_async_connection_with_config(&config).await?)
            }
            Address::Cluster(client, _) => {
                // A late answer makes the client ask the others who has the slots.
                let config = ClusterConfig::new()
                    .set_connection_timeout(patience)
                    .set_response_timeout(patience);
                Self::Cluster(client.get_async_connection_with_config(config).await?)
            }
        })
    }

    /// Sends `command` to where `key` is.
    pub async fn send(&mut self, command: Cmd, key: impl AsRef<[u8]>) -> RedisResult<Value> {
        let route = Route::with_key(key, SlotAddr::Master);
        let node = SingleNodeRoutingInfo::SpecificNode(route);
        self.ask(command, RoutingInfo::SingleNode(node)).await
    }

    /// Sends `command`, which is about no key, to every server that takes writes; each answer
    /// comes with the server's address, where it is known.
    pub async fn send_to_all(&mut self, command: Cmd) -> RedisResult<Vec<(String, Value)>> {
        let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        match (self.ask(command, all).await?, self) {
            (Value::Map(answers), Self::Cluster(_)) => {
                let name = |value| String::from_redis_value(value).unwrap_or_default();
                Ok(answers.into_iter().map(|(k, v)| (name(k), v)).collect())
            }
            (answer, _) => Ok(vec![(String::new(), answer)]),
        }
    }

    /// Sends a command. An error reply, which the client library returns as a value, becomes an error.
    async fn ask(&mut self, command: Cmd, to: RoutingInfo) -> RedisResult<Value> {
        let reply = match self {
            Self::Server(server) => server.send_packed_command(&command).await?,
            Self::Cluster(cluster) => cluster.route_command(command, to).await?,
        };
        reply.extract_error()
    }

    /// Makes sure that somebody with the module at the other end takes writes, as far as the user may
    /// ask. Returns the module's version, if it is known.
    pub async fn check(&mut self) -> RedisResult<Option<String>> {
        // In a cluster one is enough: while a master is replaced, the others do their part.
        let one = Some(ResponsePolicy::OneSucceeded);
        let any = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, one));
        let command = match self {
            Self::Server(_) => "ROLE",
            Self::Cluster(_) => "PING",
        };
        let role = allowed(self.ask(redis::cmd(command), any).await)?;
        let replica = Value::BulkString(b"slave".into());
        if matches!(role, Some(Value::Array(role)) if role.first() == Some(&replica)) {
            return Err(useless("the server is a replica, which takes no writes"));
        }
        let mut info = redis::cmd("INFO");
        info.arg("rl");
        let infos = match (self.send_to_all(info).await, self) {
            (Err(_), Self::Cluster(_)) => None,
            (infos, _) => allowed(infos)?,
        };
        let mut version = None;
        for (node, info) in infos.unwrap_or_default() {
            let info = String::from_redis_value(info).unwrap_or_default();
            let mut lines = info.lines();
            let found = lines.find_map(|line| line.strip_prefix("rl_version:"));
            let Some(found) = found else {
                return Err(useless(&format!("{node} {NO_MODULE}")));
            };
            version = Some(found.to_owned());
        }
        Ok(version)
    }

    /// Makes sure in addition that the command that will be needed can be called, by `probe`, a call
    /// of it that the module must refuse.
    pub async fn examine(&mut self, probe: Cmd, key: &str) -> RedisResult<Option<String>> {
        match self.send(probe, key).await {
            // The module's own words about the probe's numbers.
            Err(error)
                if error
                    .detail()
                    .is_some_and(|text| text.contains(" must be ")) =>
            {
                self.check().await
            }
            Err(error) => Err(error),
            Ok(_) => Err(useless("what answers is not redis-rl")),
        }
    }
}

pub const NO_MODULE: &str = "the server does not have the module redis-rl: start it with \
                         --loadmodule /path/to/libredis_rl.so";

/// `None` if the user may not ask.
fn allowed<T>(answer: RedisResult<T>) -> RedisResult<Option<T>> {
    match answer {
        Err(error) if error.code() == Some("NOPERM") => Ok(None),
        answer => answer.map(Some),
    }
}

/// Adds advice to the error.
pub fn advised(error: RedisError) -> RedisError {
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
        _ if is_unknown_command(&error) => useless(NO_MODULE),
        _ => error,
    }
}

fn is_unknown_command(error: &RedisError) -> bool {
    error
        .detail()
        .is_some_and(|text| text.contains("unknown command"))
}

/// Returns the error for a server that answers but cannot do what is needed.
pub fn useless(why: &str) -> RedisError {
    RedisError::from((ErrorKind::Client, "", why.to_owned()))
}

/// Returns whether an error concerns the server rather than the call, so that the call may succeed
/// on another connection.
pub fn is_about_server(error: &RedisError) -> bool {
    match error.code() {
        None => true,
        Some("ERR") => is_unknown_command(error),
        Some(code) => !["WRONGTYPE", "OOM", "CROSSSLOT", "TRYAGAIN"].contains(&code),
    }
}
