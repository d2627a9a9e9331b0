"""The server of the API: where it listens, and that it says when it is up."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from typing import Any, TypeAlias

import uvicorn

from cascade.cli.http_connections import bounded, most_connections
from cascade.errors import SettingsError
from cascade.settings import Settings

Application: TypeAlias = Callable[[], Any]
"""Returns the ASGI application; the library knows none."""


class Server(uvicorn.Server):
    """A server that says when it is up.

    Args:
        config: of uvicorn.
        sockets: what it listens on.
        announce: called when it is up.
    """

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], announce: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(config)
        self._listening = sockets
        self._announce = announce

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop."""
        super().run(sockets or self._listening)

    def end(self) -> None:
        """Stop, at whatever moment of its life. The signal tells open streams, for which it would wait in vain."""
        self.should_exit = True
        signal.raise_signal(signal.SIGTERM)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        if self.started:
            self._announce()


def listen(settings: Settings) -> list[socket.socket]:
    """Take the addresses to listen on, before anything is started: a port in use ends the start with a sentence.

    Raises:
        SettingsError: they cannot be taken.
    """
    host, port = settings.host, settings.port
    taken: list[socket.socket] = []
    try:
        for family, _, _, _, address in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            if family in (socket.AF_INET, socket.AF_INET6):
                taken.append(_bound(family, address))
    except OSError as error:
        for one in taken:
            one.close()
        raise SettingsError(
            f"CASCADE_HOST and CASCADE_PORT: cannot listen on {host or 'any address'}, port {port}:"
            f" {error.strerror or error}; stop what listens there, or set another"
        ) from None
    return taken


def _bound(family: int, address: object) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        listener.bind(address)  # type: ignore[arg-type] # as getaddrinfo told it
        listener.listen(2048)  # takes the port at once, so that of two processes one is refused
    except OSError:
        listener.close()
        raise
    return listener


def server_config(application: Application, settings: Settings) -> uvicorn.Config:
    """Return how an application is served."""
    return uvicorn.Config(
        application(),
        http=bounded(most_connections(settings.streams), settings.forwarded_allow_ips),
        ws="none",  # there are none here, and an upgrade would leave the bounds
        proxy_headers=True,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        access_log=False,  # paths hold payment links
        log_config=None,
        timeout_graceful_shutdown=5,
    )
