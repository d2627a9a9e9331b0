"""An indexer in a process of its own that stops or kills itself in the middle of its work."""

from __future__ import annotations

from multiprocessing.context import ForkServerProcess

from cascade.chains import Deployment
from cascade.db.database import Database
from sandbox.polygon import LocalPolygon
from tests.faults.chain_rail import indexer
from tests.faults.dying import FORK, die_before
from tests.support.soak import SOAK

RANGE_BLOCKS = 8  # several commits, with payments in more than one of them


def index_until_killed(
    url: str, deployment: Deployment, rpc_url: str, messages: int | None, wish: int, every: bool
) -> None:
    """Books everything; sends itself a signal instead of the message with this number (counted from 1)."""
    database = Database(url, connections=1)
    database.open()
    if messages is not None:
        die_before(messages, wish, every=every)
    with indexer(database, deployment, rpc_url, lease_seconds=0.01, log_range_blocks=RANGE_BLOCKS) as worker:
        while worker.step():
            pass
    database.close()


def spawn(
    url: str, deployment: Deployment, polygon: LocalPolygon, messages: int | None, wish: int, *, every: bool = SOAK
) -> ForkServerProcess:
    process = FORK.Process(target=index_until_killed, args=(url, deployment, polygon.rpc_url, messages, wish, every))
    process.start()
    return process
