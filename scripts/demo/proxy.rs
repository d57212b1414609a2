//! Whom a request comes from where proxies stand between.

use std::net::IpAddr;
use std::str::FromStr;

use hyper::header::HeaderName;
use hyper::HeaderMap;

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    base: IpAddr,
    bits: u32,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no address and no network such as 10.0.0.0/8");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let given: IpAddr = address.parse().map_err(|_| wrong())?;
        let base = given.to_canonical();
        let bits = bits.unwrap_or(width(given));
        // ::ffff:10.0.0.0/104 is 10.0.0.0/8.
        let bits = bits.checked_sub(width(given) - width(base));
        let bits = bits.filter(|&bits| bits <= width(base)).ok_or_else(wrong)?;
        let network = Self { base, bits };
        if network.first_bits(base) << network.shift() != to_bits(base) {
            return Err(format!("'{text}' has bits beyond its prefix"));
        }
        Ok(network)
    }
}

impl Network {
    fn contains(&self, ip: IpAddr) -> bool {
        width(ip) == width(self.base) && self.first_bits(ip) == self.first_bits(self.base)
    }

    fn first_bits(&self, ip: IpAddr) -> u128 {
        // Of no bits at all, a shift by the whole width would be left.
        to_bits(ip)
            .checked_shr(width(self.base) - self.bits)
            .unwrap_or(0)
    }

    fn shift(&self) -> u32 {
        (width(self.base) - self.bits).min(127)
    }
}

fn width(ip: IpAddr) -> u32 {
    if ip.is_ipv4() {
        32
    } else {
        128
    }
}

fn to_bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// Who is believed about whom a request comes from.
pub struct Proxies {
    pub trusted: Vec<Network>,
    /// Where they tell it: X-Forwarded-For, Forwarded, or a header with one address.
    pub header: HeaderName,
}

impl Proxies {
    /// The address that a request from `peer` comes from.
    ///
    /// Each proxy appends the peer it saw, so only what stands right of the last untrusted address
    /// was written by somebody we trust. Where that is no address, the last one known counts.
    ///
    /// # Errors
    /// A header that has one address comes twice; what to tell whoever sent it.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, String> {
        if !self.trusts(peer) {
            return Ok(peer);
        }
        let lines: Vec<_> = headers.get_all(&self.header).iter().collect();
        let lines = lines.iter().rev().map(|line| line.as_bytes());
        let mut client = peer;
        let mut hops: Box<dyn Iterator<Item = Option<IpAddr>>> = match self.header.as_str() {
            "x-forwarded-for" => Box::new(elements(lines).map(address)),
            "forwarded" => Box::new(elements(lines).map(forwarded)),
            name if lines.len() > 1 => return Err(format!("The header {name} comes twice\n")),
            _ => Box::new(lines.map(address)),
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
        self.trusted.iter().any(|network| network.contains(ip))
    }
}

/// The elements of a list, from right to left. Empty ones are ignored (RFC 9110, 5.6.1).
fn elements<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    let elements = lines.flat_map(|line| from_right(line, b','));
    elements.filter(|element| !element.trim_ascii().is_empty())
}

/// `192.0.2.1`, `192.0.2.1:54321`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:443`.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    let ip = if let Some(rest) = hop.strip_prefix('[') {
        let (ip, port) = rest.split_once(']')?;
        (port.is_empty() || port.starts_with(':')).then_some(ip)?
    } else if hop.matches(':').count() == 1 {
        hop.split(':').next()?
    } else {
        hop
    };
    ip.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

/// The `for` of an element of Forwarded (RFC 7239), if it is an address.
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

/// What stands between the separators that are in no quotes, from right to left: so an open quote
/// that a caller sent hides nothing of what a proxy appended.
fn from_right(line: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let mut quoted = false;
        let at = line.iter().rposition(|&byte| {
            quoted ^= byte == b'"';
            byte == separator && !quoted
        });
        let (before, part) = match at {
            Some(at) => (line.get(..at), line.get(at + 1..)),
            None => (None, Some(line)),
        };
        rest = before;
        part
    })
}
