"""TCP ports on this machine."""

from __future__ import annotations

import itertools
import os
import socket

_FIRST, _LAST = 13_000, 32_000
"""Below those that systems give to outgoing connections, which take what was free a moment ago."""
_BLOCK = 50
"""Ports that one process tries in turn, so that of several processes none is given what another is about to bind."""
_turn = itertools.count()


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on right now, and that another process is not given soon."""
    first = _FIRST + os.getpid() * _BLOCK % (_LAST - _FIRST)
    for _ in range(_BLOCK):
        port = first + next(_turn) % _BLOCK
        if is_free(port):
            return port
    raise OSError(f"none of the {_BLOCK} ports from {first} on is free")


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: a closed one may linger
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
