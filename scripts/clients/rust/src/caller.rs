//! The key of a caller: one rule in every language, held by `../../vectors.json`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use sha2::{Digest, Sha256};

/// Entries of X-Forwarded-For that are looked at, from the right.
const HOPS: usize = 32;
const LONGEST_HEADER: usize = 4096;

/// Names who is charged: the header, if the request has one, otherwise the address.
#[derive(Clone, Debug)]
pub struct Caller {
    header: Option<String>,
    networks: Vec<(IpAddr, u8)>,
    unix: bool,
    ipv6_prefix: u8,
    pub(crate) prefix: String,
}

impl Default for Caller {
    fn default() -> Self {
        Self {
            header: None,
            networks: Vec::new(),
            unix: false,
            ipv6_prefix: 64,
            prefix: "limit:".to_owned(),
        }
    }
}

/// The text is not a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotANetwork(String);

impl fmt::Display for NotANetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        write!(
            f,
            "'{text}' is not a network; write 10.0.0.0/8, 2001:db8::/32 or unix"
        )
    }
}

impl std::error::Error for NotANetwork {}

/// The address of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address.
    Ip(IpAddr),
    /// A Unix socket.
    Unix,
    /// None that is known.
    Unknown,
}

impl Caller {
    /// Charges the value of this header, hashed, so that no credential is stored. Check it before the
    /// limiter does: a header that nobody checked is a new bucket for the asking. One that is given twice,
    /// has a comma or is empty is not used.
    pub fn header(mut self, name: impl Into<String>) -> Self {
        self.header = Some(name.into());
        self
    }

    /// Believes the X-Forwarded-For of this network; `unix` is a Unix socket.
    ///
    /// # Errors
    /// The text is not a network.
    pub fn trust(mut self, network: &str) -> Result<Self, NotANetwork> {
        if network == "unix" {
            self.unix = true;
        } else {
            let network = parse_network(network).ok_or_else(|| NotANetwork(network.to_owned()))?;
            self.networks.push(network);
        }
        Ok(self)
    }

    /// Cuts addresses of IPv6 at this prefix, from 1 to 128. One user has at least a /64, the default.
    pub fn ipv6_prefix(mut self, prefix: u8) -> Self {
        self.ipv6_prefix = prefix.clamp(1, 128);
        self
    }

    /// Begins every key with this instead of `limit:`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Returns the key for a request.
    pub fn key_of(&self, peer: Address, headers: &http::HeaderMap) -> String {
        let lines = |name: &str| -> Vec<&[u8]> {
            headers
                .get_all(name)
                .iter()
                .map(|value| value.as_bytes())
                .collect()
        };
        let header = self.header.as_deref().map(lines).unwrap_or_default();
        self.key(peer, &lines("x-forwarded-for"), &header)
    }

    /// Returns the key for the address of a connection, the lines of X-Forwarded-For and those of the
    /// header.
    pub fn key(&self, peer: Address, forwarded: &[&[u8]], header: &[&[u8]]) -> String {
        if let [value] = header {
            let value = trim(value);
            if !value.is_empty() && !value.contains(&b',') && value.len() <= LONGEST_HEADER {
                let hash: String = Sha256::digest(value)[..16]
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                return format!("{}key:{hash}", self.prefix);
            }
        }
        let text = match self.address(peer, forwarded) {
            Address::Ip(address) => canonical(address, self.ipv6_prefix),
            Address::Unix | Address::Unknown => "unknown".to_owned(),
        };
        format!("{}ip:{text}", self.prefix)
    }

    /// Returns the first address, from the connection on, that is no trusted proxy. An entry that is no
    /// address is not believed, so the proxy that sent it is charged.
    fn address(&self, peer: Address, forwarded: &[&[u8]]) -> Address {
        let mut current = match peer {
            Address::Ip(address) => Address::Ip(address.to_canonical()),
            other => other,
        };
        let lines = forwarded.iter().rev();
        let entries = lines
            .flat_map(|line| line.rsplit(|byte| *byte == b','))
            .take(HOPS);
        for entry in entries {
            if !self.trusts(current) {
                break;
            }
            let Some(before) = std::str::from_utf8(entry).ok().and_then(parse_address) else {
                break;
            };
            current = Address::Ip(before);
        }
        current
    }

    fn trusts(&self, address: Address) -> bool {
        match address {
            Address::Ip(address) => self.networks.iter().any(|(network, prefix)| {
                address.is_ipv4() == network.is_ipv4() && cut(address, *prefix) == *network
            }),
            Address::Unix => self.unix,
            Address::Unknown => false,
        }
    }
}

/// Returns the address that `text` is, without port, brackets, zone and IPv4 mapping.
pub(crate) fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches([' ', '\t']);
    let is_port = |text: &str| {
        text.strip_prefix(':').is_some_and(|port| {
            (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit())
        })
    };
    let host = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        if !host.contains(':') || !(port.is_empty() || is_port(port)) {
            return None;
        }
        host
    } else if text.matches(':').count() == 1 {
        let (host, port) = text.split_at(text.find(':')?);
        if !is_port(port) {
            return None;
        }
        host
    } else {
        text
    };
    let host = match host.split_once('%') {
        Some((address, _zone)) if host.contains(':') => address,
        _ => host,
    };
    let address: IpAddr = host.parse().ok()?;
    Some(address.to_canonical())
}

/// Returns the text of an address in a key: IPv4 as it is, IPv6 as its network.
pub(crate) fn canonical(address: IpAddr, ipv6_prefix: u8) -> String {
    match cut(address, if address.is_ipv4() { 32 } else { ipv6_prefix }) {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{address}/{ipv6_prefix}"),
    }
}

fn cut(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(prefix.min(32)))
                .unwrap_or(0);
            IpAddr::from((u32::from(address) & mask).to_be_bytes())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(prefix.min(128)))
                .unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(address) & mask))
        }
    }
}

fn parse_network(text: &str) -> Option<(IpAddr, u8)> {
    let (host, prefix) = match text.split_once('/') {
        Some((host, prefix)) => (host, Some(prefix.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address = parse_address(host)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.unwrap_or(most);
    (prefix <= most).then(|| (cut(address, prefix), prefix))
}

fn trim(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value
        .iter()
        .position(|b| !is_space(b))
        .unwrap_or(value.len());
    let end = value
        .iter()
        .rposition(|b| !is_space(b))
        .map_or(start, |end| end + 1);
    &value[start..end]
}
