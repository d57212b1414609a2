//! The address of Redis: one server, a master behind Sentinels, or a cluster.

use std::fmt;

use redis::cluster::ClusterClient;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{Client, IntoConnectionInfo, TlsMode};

/// The value of `--redis`.
pub enum Address {
    Server(Client),
    /// With a name for display.
    Sentinel(SentinelClient, String),
    Cluster(ClusterClient, String),
}

/// A URL for several hosts, in its parts.
struct Parts<'a> {
    /// `redis` or `rediss`.
    scheme: &'a str,
    /// `USER:PASSWORD@`, or nothing.
    user: &'a str,
    hosts: Vec<&'a str>,
    path: &'a str,
    query: &'a str,
}

impl Address {
    /// Reads a URL: `redis://`, `rediss://` or `unix://`, and for several hosts
    /// `redis-sentinel://` or `redis-cluster://` (with TLS, `rediss-`).
    ///
    /// # Errors
    /// The URL is none of these, or lacks a part. The error contains no text of it, which may be a
    /// password.
    pub fn parse(url: &str) -> Result<Self, String> {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        match scheme {
            "redis" | "rediss" | "unix" | "redis+unix" => {
                let client = Client::open(url).map_err(|error| error.to_string())?;
                Ok(Self::Server(client))
            }
            "redis-cluster" | "rediss-cluster" => cluster(&Parts::of(url)?),
            "redis-sentinel" | "rediss-sentinel" => sentinel(&Parts::of(url)?),
            _ => Err(
                "expected redis://, rediss://, unix://, redis-sentinel://, rediss-sentinel://, \
                 redis-cluster:// or rediss-cluster://"
                    .to_owned(),
            ),
        }
    }
}

impl fmt::Display for Address {
    /// Formats the address without its password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(client) => client.get_connection_info().addr().fmt(f),
            Self::Sentinel(_, name) | Self::Cluster(_, name) => f.write_str(name),
        }
    }
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or("no URL")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let user = rest.rfind('@').map_or(0, |at| at + 1);
        let (user, rest) = rest.split_at(user);
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts: Vec<_> = hosts.split(',').collect();
        if hosts.contains(&"") {
            return Err("a host is missing: expected HOST:PORT,HOST:PORT".to_owned());
        }
        Ok(Self {
            scheme: scheme.split('-').next().unwrap_or(scheme),
            user,
            hosts,
            path,
            query,
        })
    }

    /// Returns the value of a query parameter, still percent-encoded.
    fn query(&self, name: &str) -> Option<&str> {
        let mut parts = self
            .query
            .split('&')
            .filter_map(|part| part.split_once('='));
        parts.find_map(|(key, value)| (key == name).then_some(value))
    }
}

fn cluster(parts: &Parts<'_>) -> Result<Address, String> {
    let Parts { scheme, user, .. } = parts;
    let nodes = parts
        .hosts
        .iter()
        .map(|host| format!("{scheme}://{user}{host}"));
    let client = ClusterClient::builder(nodes).retries(2).build();
    let name = format!("cluster {}", parts.hosts.join(","));
    let client = client.map_err(|error| error.to_string())?;
    Ok(Address::Cluster(client, name))
}

fn sentinel(parts: &Parts<'_>) -> Result<Address, String> {
    let Parts { scheme, user, .. } = parts;
    let (name, database) = parts.path.split_once('/').unwrap_or((parts.path, ""));
    if name.is_empty() {
        return Err(
            "the master's name is missing: expected redis-sentinel://HOST:PORT/MASTER".to_owned(),
        );
    }
    let own_user = match parts.query("sentinel_password") {
        Some(password) => {
            let user = parts.query("sentinel_username").unwrap_or("");
            format!("{user}:{password}@")
        }
        None => String::new(),
    };
    let sentinels = parts
        .hosts
        .iter()
        .map(|host| format!("{scheme}://{own_user}{host}"));
    // The host stands in for the master, whose address only the Sentinels know.
    let master = format!("{scheme}://{user}master/{database}");
    let master = master
        .into_connection_info()
        .map_err(|error| error.to_string())?;
    let mut node = SentinelNodeConnectionInfo::default()
        .set_redis_connection_info(master.redis_settings().clone());
    if *scheme == "rediss" {
        node = node.set_tls_mode(TlsMode::Secure);
    }
    let kind = SentinelServerType::Master;
    let client = SentinelClient::build(sentinels.collect(), name, Some(node), kind);
    let shown = format!("{name} of the Sentinels {}", parts.hosts.join(","));
    let client = client.map_err(|error| error.to_string())?;
    Ok(Address::Sentinel(client, shown))
}
