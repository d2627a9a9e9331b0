"""An indexer in a process of its own that stops or kills itself in the middle of its work."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.context import ForkServerProcess
from typing import Any

import psycopg

from cascade.chains import Deployment
from cascade.store.database import Database
from sandbox.polygon import LocalPolygon
from tests.faults.chain_rail import indexer

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload([__name__])
RANGE_BLOCKS = 8  # several commits, with payments in more than one of them


def index_until_killed(url: str, deployment: Deployment, rpc_url: str, messages: int | None, wish: int) -> None:
    """Books everything; sends itself a signal instead of the message with this number (counted from 1)."""
    database = Database(url, connections=1)
    database.open()
    if messages is not None:
        _die_before(messages, wish)
    with indexer(database, deployment, rpc_url, lease_seconds=0.01, log_range_blocks=RANGE_BLOCKS) as worker:
        while worker.step():
            pass
    database.close()


def _die_before(messages: int, wish: int) -> None:
    """Every message to the server, statements and commits alike, passes through Connection.wait."""
    genuine, sent = psycopg.Connection.wait, 0

    def wait(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal sent
        sent += 1
        if sent == messages:
            os.kill(os.getpid(), wish)
        return genuine(self, *args, **kwargs)

    psycopg.Connection.wait = wait  # type: ignore[method-assign]


def spawn(
    url: str, deployment: Deployment, polygon: LocalPolygon, messages: int | None, wish: int
) -> ForkServerProcess:
    process = FORK.Process(target=index_until_killed, args=(url, deployment, polygon.rpc_url, messages, wish))
    process.start()
    return process
