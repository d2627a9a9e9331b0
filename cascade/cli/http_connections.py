"""Connections to the API: how many there may be, and how long one may take for a request and for its answer.

A connection is a file, and files are few. One who opens many and sends little must not keep others out: the head and
the body of a request have deadlines, and without room the connection that has waited longest for its head makes place.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cascade.domain.internet_addresses import networks_of

HEAD_SECONDS: Final = 10.0
"""From the connection, or from a later request's first byte, to the end of the head."""
BODY_SECONDS: Final = 30.0
"""From the head to the end of the body; the largest has one megabyte."""
STALLED_SECONDS: Final = 30.0
"""For a reader that does not read, or does not close."""
MOST_HEAD_BYTES: Final = 32 * 1024
MOST_OF_ONE: Final = 256
"""Connections of one IPv4 address or one /64 of IPv6; a proxy that is trusted has none of these bounds."""
_WIDER: Final = 8
_SWEEP_SECONDS: Final = 1.0
_OTHERS: Final = 1_000
"""Connections beside those that hold a stream."""
_SPARE_FILES: Final = 128
"""Files that are no connection from outside: the database, the node, Stripe, logs."""


class Connections:
    """All connections of a server, each with the time until which it must have gone on.

    Args:
        most: at once.
        trusted: addresses or networks of proxies, comma separated: many people come through them. "*" trusts all.
    """

    def __init__(self, most: int, trusted: str = "") -> None:
        self._most = most
        named = [part.strip() for part in trusted.split(",") if part.strip()]
        self._trusts_all = "*" in named
        self._trusted = [network for network in map(_network, named) if network is not None]
        self._all: dict[BoundedConnection, None] = {}
        self._of_network: Counter[str] = Counter()
        self._sweeper: asyncio.TimerHandle | None = None

    def admit(self, connection: BoundedConnection) -> bool:
        """Take a new connection in, or refuse it; where there is no room, one that waits makes place."""
        connection.networks = networks = self._networks(connection)
        for position, network in enumerate(networks):
            if self._of_network[network] >= MOST_OF_ONE * _WIDER**position and not self._make_place(network):
                return False
        if len(self._all) >= self._most and not self._make_place(None):
            return False
        self._all[connection] = None
        self._of_network.update(networks)
        if self._sweeper is None:
            self._sweep()
        return True

    def forget(self, connection: BoundedConnection) -> None:
        """Note that a connection has ended."""
        if connection not in self._all:
            return
        del self._all[connection]
        for network in connection.networks:
            self._of_network[network] -= 1
            if not self._of_network[network]:
                del self._of_network[network]

    def _networks(self, connection: BoundedConnection) -> tuple[str, ...]:
        if connection.client is None or self._trusts_all:
            return ()
        networks = networks_of(connection.client[0])
        own = _network(connection.client[0])
        if own is not None and any(own.version == one.version and own.subnet_of(one) for one in self._trusted):  # type: ignore[arg-type]
            return ()
        return networks

    def _make_place(self, network: str | None) -> bool:
        """End the connection that has waited longest for the rest of a head: in a network, or among all."""
        for other in self._all:  # in the order in which they came
            if other.awaits_head and (network is None or network in other.networks):
                self.forget(other)
                other.transport.abort()
                return True
        return False

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in [one for one in self._all if one.is_overdue(now)]:
            self.forget(connection)
            connection.transport.abort()
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep) if self._all else None


class BoundedConnection(HttpToolsProtocol):
    """A connection that must go on: its class is made by `bounded`."""

    crowd: Connections

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.networks: tuple[str, ...] = ()
        self.awaits_head = True
        self._due: float | None = None
        self._stalled_until: float | None = None
        self._head_bytes = 0

    def is_overdue(self, now: float) -> bool:
        """Return whether it has not gone on in time."""
        if self.transport.is_closing() and self._stalled_until is None:  # what it still has to read, it may
            self._stalled_until = now + STALLED_SECONDS
        return any(until is not None and now >= until for until in (self._due, self._stalled_until))

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, if there is room."""
        super().connection_made(transport)
        self._due = time.monotonic() + HEAD_SECONDS
        if not self.crowd.admit(self):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.crowd.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        if self.transport.is_closing():
            return
        if not self.awaits_head and self._due is None:  # after a request: an empty line is no other one yet
            self._await_head()
        if self.awaits_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self.awaits_head and self._head_bytes > MOST_HEAD_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Note the first byte of a request, which may have come in one piece with the request before."""
        if self._due is None:
            self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that the head has come."""
        self.awaits_head, self._head_bytes = False, 0
        self._due = time.monotonic() + BODY_SECONDS
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the body has come."""
        self._due = None
        super().on_message_complete()

    def _await_head(self) -> None:
        self.awaits_head = True
        self._due = time.monotonic() + HEAD_SECONDS

    def pause_writing(self) -> None:
        """Note that the other side does not read."""
        self._stalled_until = time.monotonic() + STALLED_SECONDS
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that it reads again."""
        self._stalled_until = None
        super().resume_writing()


def bounded(most: int, trusted: str) -> type[BoundedConnection]:
    """Return the class of a server's connections.

    Args:
        most: at once.
        trusted: proxies, comma separated, as uvicorn's `forwarded_allow_ips`.
    """
    return type("Connection", (BoundedConnection,), {"crowd": Connections(most, trusted)})


def most_connections(streams: int) -> int:
    """Return how many connections this process can hold, once its limit of open files is raised as far as is needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = streams + _OTHERS + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    files = wanted if soft == resource.RLIM_INFINITY else min(wanted, soft)
    return max(1, files - _SPARE_FILES)


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        network = ip_network(text.partition("%")[0], strict=False)
    except ValueError:  # a name, or the path of a socket
        return None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    return network if mapped is None else IPv4Network(mapped)
