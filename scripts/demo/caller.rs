//! Identifies the caller: the name of a request's bucket.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use hyper::header::{HeaderName, HeaderValue};

use crate::http::{single, Peer, Request};
use crate::proxy::Proxies;

/// The property that identifies a caller.
#[derive(Clone, Debug)]
pub enum By {
    /// Nothing: all share one bucket of this name.
    Name(String),
    /// The address they come from.
    Ip,
    /// The value of a header; the address where it is missing.
    Header(HeaderName, Shown),
}

/// The form of a header's value in a key.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    /// Its SHA-256, so that keys do not reveal a value that may be a password.
    Hashed,
    /// The value itself, if it is short and plain.
    Plain,
}

impl FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let header = |name: &str, shown| {
            let parsed = name
                .parse()
                .map_err(|_| format!("'{name}' is not a header name"));
            parsed.map(|name| Self::Header(name, shown))
        };
        match text.split_once(':') {
            None if text == "ip" => Ok(Self::Ip),
            Some(("name", name)) => Ok(Self::Name(name.to_owned())),
            Some(("header", name)) => header(name, Shown::Hashed),
            Some(("plain-header", name)) => header(name, Shown::Plain),
            _ => Err("expected ip, name:NAME, header:NAME or plain-header:NAME".to_owned()),
        }
    }
}

/// Derives the key of a request.
pub struct KeyBy {
    pub prefix: String,
    pub by: By,
    pub proxies: Proxies,
    /// Bits of an IPv6 address that identify one caller.
    pub ipv6_prefix: u8,
}

impl KeyBy {
    /// Returns the key to which `request` is charged.
    ///
    /// # Errors
    /// The request does not identify its caller clearly; contains the answer.
    pub fn key(&self, request: &Request) -> Result<String, String> {
        let caller = match &self.by {
            By::Name(name) => name.clone(),
            By::Ip => self.ip(request)?,
            By::Header(name, shown) => {
                match single(request.headers(), name)?.map(HeaderValue::as_bytes) {
                    None => self.ip(request)?,
                    Some(b"") => return Err(format!("The header {name} is empty\n")),
                    Some(value) => format!("key:{}", shown.part(value)),
                }
            }
        };
        Ok(format!("{}{caller}", self.prefix))
    }

    fn ip(&self, request: &Request) -> Result<String, String> {
        let Some(Peer(peer)) = request.extensions().get::<Peer>().copied() else {
            return Ok("ip:unknown".to_owned());
        };
        let client = self.proxies.client(peer, request.headers())?;
        Ok(self.network(client))
    }

    fn network(&self, client: IpAddr) -> String {
        match client {
            IpAddr::V4(ip) => format!("ip:{ip}"),
            IpAddr::V6(ip) => {
                let rest = 128 - u32::from(self.ipv6_prefix.min(128));
                let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
                let network = Ipv6Addr::from_bits(ip.to_bits() & mask);
                format!("ip:{network}/{}", self.ipv6_prefix)
            }
        }
    }

    /// Returns the key for a value of the header, or for `ip:` and an address if the header is
    /// missing.
    ///
    /// # Errors
    /// It is not an address.
    pub fn of(&self, text: &str) -> Result<String, String> {
        let network = |text: &str| {
            let ip = text.parse::<IpAddr>();
            let ip = ip.map_err(|_| format!("'{}' is not an address\n", text.escape_default()))?;
            Ok::<_, String>(self.network(ip.to_canonical()))
        };
        let caller = match (&self.by, text.strip_prefix("ip:")) {
            (By::Name(name), _) => name.clone(),
            (_, Some(address)) => network(address)?,
            (By::Ip, None) => network(text)?,
            (By::Header(_, shown), None) => format!("key:{}", shown.part(text.as_bytes())),
        };
        Ok(format!("{}{caller}", self.prefix))
    }

    /// Describes how callers are identified.
    pub fn words(&self) -> String {
        match &self.by {
            By::Name(_) => "all callers together".to_owned(),
            By::Ip => "address".to_owned(),
            By::Header(name, Shown::Hashed) => format!("{name}, hashed, else address"),
            By::Header(name, Shown::Plain) => format!("{name}, else address"),
        }
    }
}

impl Shown {
    /// Returns a header's value as part of a key.
    ///
    /// The value itself is used only if it is short and plain: a hostile value can neither create
    /// huge keys nor choose a cluster's slot with braces, and any bytes have a bucket of their own.
    fn part(self, value: &[u8]) -> String {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:~+/=@".contains(b);
        if matches!(self, Self::Plain) && value.len() <= 64 && value.iter().all(plain) {
            return String::from_utf8_lossy(value).into_owned();
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, value);
        let mut text = "sha256:".to_owned();
        for byte in digest.as_ref() {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}
