"""Internet addresses: URLs that an operator sets, and networks that requests are counted for."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s\[\]:@/\\?#%<>\"'`;,]+)(:[0-9]{1,5})?")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""Holds IPv4 addresses as a translator writes them (RFC 6052)."""


def parts_of(url: str, *, many_hosts: bool = False) -> SplitResult:
    """Split a URL.

    Args:
        url: as it was set.
        many_hosts: it may name several hosts with their ports, as libpq's URLs do.

    Raises:
        ValueError: it is none. The message never repeats it, since it may hold a password.
    """
    try:
        parts = urlsplit(url)
        if not many_hosts:
            _ = parts.port  # is checked only when it is read
    except ValueError:
        raise ValueError("is not a URL") from None
    return parts


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL that has nothing else, without a slash at the end.

    Raises:
        ValueError: there is more than that, or less. The message never repeats it.
    """
    parts = parts_of(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("must be an address such as https://pay.example.org")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user or a password: it is printed and sent to citizens")
    if parts.path not in ("", "/"):
        raise ValueError("must not have a path, since links begin at the host's root: use a host of its own")
    if parts.query or parts.fragment:
        raise ValueError("must end after the host and its port: no ? and no #")
    if not _HOST.fullmatch(parts.netloc):
        raise ValueError("must be an address such as https://pay.example.org")
    return f"{parts.scheme}://{parts.netloc}"


def listening_url(host: str, port: int) -> str:
    """Return the URL at which this machine reaches a server that listens on a host."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host or '127.0.0.1'}:{port}"
    if address.is_unspecified:  # "every address" is none that a browser can open
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    shown = str(address).replace("%", "%25")  # the zone of a link-local address, RFC 6874
    return f"http://[{shown}]:{port}" if address.version == 6 else f"http://{shown}:{port}"


def networks_of(host: str) -> tuple[str, ...]:
    """Return the networks that a client is counted for, the narrowest first.

    An IPv4 address counts for itself, however it is written. The holder of one IPv6 address usually has all of its /64,
    and may have a /48: both are counted.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return (host[:64],)
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return (str(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)),)
        if address.ipv4_mapped is None:
            return tuple(f"{ipaddress.IPv6Address(int(address) >> left << left)}/{128 - left}" for left in (64, 80))
        address = address.ipv4_mapped
    return (str(address),)
