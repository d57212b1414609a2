//! Who is asking: the name of a request's bucket.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName};

/// The address a connection comes from, as the HTTP server attaches it to each request.
#[derive(Clone, Copy)]
pub struct Peer(pub IpAddr);

/// What tells one caller from another.
#[derive(Clone, Debug)]
pub enum By {
    /// Nothing: all share one bucket of this name.
    Name(String),
    /// The address they come from.
    Ip,
    /// The value of a header; the address where it is missing.
    Header(HeaderName),
}

impl FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "ip" => Ok(Self::Ip),
            Some(("name", name)) => Ok(Self::Name(name.to_owned())),
            Some(("header", header)) => header
                .parse()
                .map(Self::Header)
                .map_err(|_| format!("'{header}' is no header name")),
            _ => Err("expected ip, name:NAME or header:NAME".to_owned()),
        }
    }
}

/// How a request's key is made.
pub struct KeyBy {
    pub prefix: String,
    pub by: By,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
}

impl KeyBy {
    /// The key of the bucket that `request` is charged to.
    pub fn key(&self, request: &Request) -> String {
        let caller = match &self.by {
            By::Name(name) => name.clone(),
            By::Ip => self.ip(request),
            By::Header(name) => match request.headers().get(name) {
                Some(value) => format!("key:{}", short(value.as_bytes())),
                None => self.ip(request),
            },
        };
        format!("{}{caller}", self.prefix)
    }

    /// A whole /64 counts as one caller, since that is what one IPv6 user is given.
    fn ip(&self, request: &Request) -> String {
        let Some(Peer(peer)) = request.extensions().get::<Peer>().copied() else {
            return "ip:unknown".to_owned();
        };
        match self.client(peer.to_canonical(), request.headers()) {
            IpAddr::V4(ip) => format!("ip:{ip}"),
            IpAddr::V6(ip) => {
                let network = Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX));
                format!("ip:{network}/64")
            }
        }
    }

    /// Each proxy appends the peer it saw, so only what stands right of the last untrusted
    /// address was written by somebody we trust.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
        let hops = lines
            .iter()
            .rev()
            .flat_map(|line| line.as_bytes().rsplit(|&b| b == b','));
        for hop in hops {
            if !self.trusted_proxies.contains(&client) {
                break;
            }
            let hop = std::str::from_utf8(hop)
                .ok()
                .and_then(|hop| hop.trim().parse().ok());
            let Some(hop) = hop.map(|ip: IpAddr| ip.to_canonical()) else {
                break;
            };
            client = hop;
        }
        client
    }
}

/// A header's value as part of a key: as it is if it is short and plain, else its SHA-256.
///
/// So a hostile value can neither make huge keys nor choose a cluster's slot with braces, and any
/// bytes at all name a bucket of their own.
fn short(value: &[u8]) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:~+/=@".contains(b);
    if value.len() <= 64 && value.iter().all(plain) {
        return String::from_utf8_lossy(value).into_owned();
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, value);
    digest
        .as_ref()
        .iter()
        .fold("sha256:".to_owned(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
