//! The address a request comes from where proxies stand in between.

use std::net::IpAddr;

use hyper::header::HeaderName;
use hyper::HeaderMap;
use ipnet::IpNet;

use crate::http::single;

/// The trusted proxies.
pub struct Proxies {
    pub trusted: Vec<IpNet>,
    /// The header with the origin: X-Forwarded-For, Forwarded, or a header with one address.
    pub header: HeaderName,
}

/// Parses an address, or a network such as 10.0.0.0/8.
///
/// # Errors
/// The text is neither, or has bits beyond its prefix.
pub fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_canonical().into());
    }
    let network: Result<IpNet, _> = text.parse();
    let wrong = |_| format!("'{text}' is neither an address nor a network such as 10.0.0.0/8");
    let network = network.map_err(wrong)?;
    if network.trunc() != network {
        return Err(format!("'{text}' has bits beyond its prefix"));
    }
    Ok(network)
}

impl Proxies {
    /// Returns the origin of a request from `peer`.
    ///
    /// Each proxy appends the peer it saw, so only the part to the right of the last untrusted
    /// address was written by a trusted proxy. If that part is not an address, the last known one
    /// counts.
    ///
    /// # Errors
    /// A header with a single address is repeated; contains the answer.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, String> {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return Ok(client);
        }
        let lines: Vec<_> = headers.get_all(&self.header).iter().collect();
        let lines = lines.iter().rev().map(|line| line.as_bytes());
        let mut hops: Box<dyn Iterator<Item = Option<IpAddr>>> = match self.header.as_str() {
            "x-forwarded-for" => Box::new(elements(lines).map(address)),
            "forwarded" => Box::new(elements(lines).map(forwarded)),
            _ => {
                let value = single(headers, &self.header)?;
                Box::new(value.map(|value| address(value.as_bytes())).into_iter())
            }
        };
        while self.trusts(client) {
            match hops.next().flatten() {
                Some(hop) => client = hop,
                None => break,
            }
        }
        Ok(client)
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&ip))
    }
}

/// Returns the elements of a list, from right to left. Empty ones are ignored (RFC 9110, 5.6.1).
fn elements<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    let elements = lines.flat_map(|line| from_right(line, b','));
    elements.filter(|element| !element.trim_ascii().is_empty())
}

/// `192.0.2.1`, `192.0.2.1:54321`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:443`.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    let ip = match hop.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(bracketed) => {
            let (ip, port) = bracketed?;
            (port.is_empty() || port.starts_with(':')).then_some(ip)?
        }
        None if hop.matches(':').count() == 1 => hop.split(':').next()?,
        None => hop,
    };
    ip.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

/// Returns the `for` of an element of Forwarded (RFC 7239), if it is an address.
fn forwarded(element: &[u8]) -> Option<IpAddr> {
    let mut found = from_right(element, b';').filter_map(|pair| {
        let (name, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    });
    let value = found.next()?.trim();
    if found.next().is_some() {
        return None;
    }
    let quoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    address(quoted.unwrap_or(value).as_bytes())
}

/// Splits at separators outside quotes, from right to left, so an open quote sent by a caller hides
/// nothing that a proxy appended.
fn from_right(line: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    line.rsplit(move |&byte| {
        quoted ^= byte == b'"';
        byte == separator && !quoted
    })
}
