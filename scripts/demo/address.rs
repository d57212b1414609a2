//! The address of Redis: one server, a master behind Sentinels, or a cluster.

use std::error::Error;
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

impl Address {
    /// Reads a URL: `redis://`, `rediss://` or `unix://`, and for several hosts
    /// `redis-sentinel://` or `redis-cluster://` (with TLS, `rediss-`).
    ///
    /// # Errors
    /// The URL is none of these, or lacks a part. The error contains no text of it, which may be a
    /// password.
    pub fn parse(url: &str) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        match scheme.split_once('-') {
            None if ["redis", "rediss", "unix", "redis+unix"].contains(&scheme) => {
                Ok(Self::Server(Client::open(url)?))
            }
            Some((scheme @ ("redis" | "rediss"), kind @ ("cluster" | "sentinel"))) => {
                Self::several(scheme, kind, rest)
            }
            _ => Err("expected redis://, rediss://, unix://, redis-sentinel://, \
                      rediss-sentinel://, redis-cluster:// or rediss-cluster://"
                .into()),
        }
    }

    /// Reads `[USER:PASSWORD@]HOST,HOST[/PATH][?QUERY]`.
    fn several(scheme: &str, kind: &str, rest: &str) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, rest) = rest.split_at(rest.rfind('@').map_or(0, |at| at + 1));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        if hosts.split(',').any(str::is_empty) {
            return Err("a host is missing: expected HOST:PORT,HOST:PORT".into());
        }
        let urls = |user: &str| -> Vec<_> {
            let urls = hosts
                .split(',')
                .map(|host| format!("{scheme}://{user}{host}"));
            urls.collect()
        };
        if kind == "cluster" {
            let client = ClusterClient::builder(urls(user)).retries(2).build()?;
            return Ok(Self::Cluster(client, format!("cluster {hosts}")));
        }
        let (name, database) = path.split_once('/').unwrap_or((path, ""));
        if name.is_empty() {
            let expected = "expected redis-sentinel://HOST:PORT/MASTER";
            return Err(format!("the master's name is missing: {expected}").into());
        }
        // Still percent-encoded.
        let parameter = |name| {
            let mut parts = query.split('&').filter_map(|part| part.split_once('='));
            parts.find_map(|(key, value)| (key == name).then_some(value))
        };
        let own_user = parameter("sentinel_password").map_or(String::new(), |password| {
            let user = parameter("sentinel_username").unwrap_or("");
            format!("{user}:{password}@")
        });
        // The host stands in for the master, whose address only the Sentinels know.
        let master = format!("{scheme}://{user}master/{database}").into_connection_info()?;
        let mut node = SentinelNodeConnectionInfo::default()
            .set_redis_connection_info(master.redis_settings().clone());
        if scheme == "rediss" {
            node = node.set_tls_mode(TlsMode::Secure);
        }
        let (name, master) = (name.to_owned(), SentinelServerType::Master);
        let shown = format!("{name} of the Sentinels {hosts}");
        let client = SentinelClient::build(urls(&own_user), name, Some(node), master)?;
        Ok(Self::Sentinel(client, shown))
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
