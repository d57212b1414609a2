"""The key of a caller: one rule in every language, held by ../../vectors.json."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Sequence

_HOPS = 32
"""Entries of X-Forwarded-For that are looked at, from the right."""
_LONGEST_HEADER = 4096
_PORT = re.compile(r":[0-9]{1,5}", re.ASCII)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_address(text: str) -> Address | None:
    """Returns the address that `text` is, without port, brackets, zone and IPv4 mapping, or None."""
    text = text.strip(" \t")
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or (port and not _PORT.fullmatch(port)) or ":" not in text:
            return None
    elif text.count(":") == 1:
        text, colon, port = text.partition(":")
        if not _PORT.fullmatch(colon + port):
            return None
    if ":" in text:
        text = text.partition("%")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def canonical(address: Address, ipv6_prefix: int = 64) -> str:
    """Returns the text of an address in a key: IPv4 as it is, IPv6 as its network."""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    network = ipaddress.IPv6Network((address, ipv6_prefix), strict=False)
    return network.compressed


@dataclass(frozen=True)
class Caller:
    """Names who is charged: the header, if the request has one, otherwise the address.

    header       such as "X-Api-Key". Its value is hashed, so that no credential is stored. Check it
                 before the limiter does: a header that nobody checked is a new bucket for the asking.
                 One that is given twice, has a comma or is empty is not used
    trusted      the proxies whose X-Forwarded-For is believed: networks, and "unix" for a Unix socket
    ipv6_prefix  one user of IPv6 has at least a /64
    prefix       of every key
    """

    header: str | None = None
    trusted: Sequence[str] = ()
    ipv6_prefix: int = 64
    prefix: str = "limit:"

    def __post_init__(self) -> None:
        if not 1 <= self.ipv6_prefix <= 128:
            raise ValueError(f"ipv6_prefix must be from 1 to 128, not {self.ipv6_prefix}")
        _ = self._networks  # Raises ValueError here rather than at the first request.

    @cached_property
    def _networks(self) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        return [ipaddress.ip_network(text) for text in self.trusted if text != "unix"]

    def key(self, peer: str | None, forwarded: Sequence[str] = (), header: Sequence[str | bytes] = ()) -> str:
        """Returns the key for a request.

        peer       the address of the connection; None for a Unix socket
        forwarded  the lines of X-Forwarded-For
        header     the lines of the header that `header` names
        """
        if len(header) == 1:
            value = header[0] if isinstance(header[0], bytes) else header[0].encode("latin-1", "replace")
            value = value.strip(b" \t")
            if value and b"," not in value and len(value) <= _LONGEST_HEADER:
                return f"{self.prefix}key:{hashlib.sha256(value).hexdigest()[:32]}"
        address = self.address(peer, forwarded)
        text = canonical(address, self.ipv6_prefix) if address else "unknown"
        return f"{self.prefix}ip:{text}"

    def address(self, peer: str | None, forwarded: Sequence[str] = ()) -> Address | None:
        """Returns the address of the caller: the first, from the connection on, that is no trusted
        proxy. An entry that is no address is not believed, so the proxy that sent it is charged."""
        current = parse_address(peer) if peer else None
        hops = [hop for line in forwarded for hop in line.split(",")][-_HOPS:]
        while hops and self._trusts(current, peer):
            before = parse_address(hops.pop())
            if before is None:
                break
            current = before
        return current

    def _trusts(self, address: Address | None, peer: str | None) -> bool:
        if address is None:
            return not peer and "unix" in self.trusted
        return any(address in network for network in self._networks)
