"""A relayer in a process of its own that kills itself in the middle of its work."""

from __future__ import annotations

from multiprocessing.context import ForkServerProcess

from cascade.chains import Deployment
from cascade.db.database import Database
from sandbox.polygon import LocalPolygon
from sandbox.polygon.rpc import Rpc
from tests.faults.dying import FORK, die_before
from tests.faults.relaying import relayer

STEPS = 4


def relay_until_killed(url: str, deployment: Deployment, rpc_url: str, messages: int | None, wish: int) -> None:
    """Sends everything, with blocks between; sends itself a signal instead of the message with this number."""
    database, rpc = Database(url, connections=1), Rpc(rpc_url)
    database.open()
    if messages is not None:
        die_before(messages, wish)
    with relayer(database, deployment, rpc_url, batch=2, resend_seconds=0.0) as worker:
        for _ in range(STEPS):
            worker.step()
            rpc("anvil_mine", "0x3")
    database.close()


def spawn(
    url: str, deployment: Deployment, polygon: LocalPolygon, messages: int | None, wish: int
) -> ForkServerProcess:
    process = FORK.Process(target=relay_until_killed, args=(url, deployment, polygon.rpc_url, messages, wish))
    process.start()
    return process
