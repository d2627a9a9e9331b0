"""What listeners cost the API, and how soon after a commit they hear of it.

Usage: python -m benchmarks.order_streams [--listeners 2000]

Each listens over a connection of its own: first each to another order, then all to one. PostgreSQL, the API and the
listeners share this machine. A round is one transaction that tells all of them, and is timed from its COMMIT on.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cascade.db import order_events
from cascade.db.database import Database, migrate
from cascade.domain.order_events import EventType
from sandbox.ports import free_port
from sandbox.postgres import EmbeddedPostgres
from tests.support.purchases import open_order, write_nowhere

ROUNDS = 7
OPENED_AT_ONCE = 50
PATIENCE_SECONDS = 60.0
_NEVER = 2**31 - 1


@dataclass(frozen=True)
class Cost:
    """What was measured; memory in bytes, time in seconds."""

    what: str
    before: int
    after: int
    connections: int
    first: float
    median: float
    last: float


class Listener(asyncio.Protocol):
    """Asks for an order's events, and notes when each arrives."""

    def __init__(self, order_id: str, after: int) -> None:
        self._request = f"GET /api/payments/orders/{order_id}/events?last_event_id={after} HTTP/1.1\r\nhost: x\r\n\r\n"
        self._received = b""
        self.opened = asyncio.get_running_loop().create_future()
        self.heard_at: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP
        transport.write(self._request.encode())

    def data_received(self, data: bytes) -> None:
        """Count messages; each ends with an empty line."""
        now = time.perf_counter()
        *messages, self._received = (self._received + data).split(b"\n\n")
        for message in messages:
            if b"retry: " in message:
                self.opened.set_result(None)
            elif b"id: " in message:
                self.heard_at.append(now)


async def measure(what: str, url: str, database: Database, orders: list[str], count: int) -> Cost:
    """Start an API of its own, open the streams, tell them, and stop it."""
    with _api(url) as (process, port):
        await _open(port, orders, OPENED_AT_ONCE, _NEVER)  # so that what is loaded once is loaded
        before = process.memory_info().rss
        after = _seen(database, orders[0])
        listeners = await _open(port, [orders[i % len(orders)] for i in range(count)], count, after)
        spent = process.memory_info().rss
        rounds = []
        for turn in track(range(ROUNDS), what):
            committed = await asyncio.to_thread(_tell_all, database, orders, f"{what} {turn}")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while any(len(listener.heard_at) <= turn for listener in listeners):
                    await asyncio.sleep(0.05)
            times = [listener.heard_at[turn] - committed for listener in listeners]
            rounds.append((min(times), statistics.median(times), max(times)))
        first, median, last = (statistics.median(column) for column in zip(*rounds, strict=True))
        return Cost(what, before, spent, _connections(database), first, median, last)


async def _open(port: int, orders: list[str], count: int, after: int) -> list[Listener]:
    loop, listeners = asyncio.get_running_loop(), list[Listener]()
    for begin in range(0, count, OPENED_AT_ONCE):
        wanted = orders[begin : begin + OPENED_AT_ONCE]
        made = [loop.create_connection(partial(Listener, order, after), "127.0.0.1", port) for order in wanted]
        opened = [listener for _, listener in await asyncio.gather(*made)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*(listener.opened for listener in opened))
        listeners += opened
    return listeners


def _tell_all(database: Database, orders: list[str], key: str) -> float:
    with database.transaction() as connection:
        for order in orders:
            order_events.append(connection, order, EventType.ORDER_SEEN, key, {"order_id": order, "ducats": "2500"})
        return time.perf_counter()


def _seen(database: Database, order: str) -> int:
    with database.transaction() as connection:
        query = "SELECT coalesce(max(number), 0) AS last FROM order_events WHERE order_id = %s"
        row = connection.execute(query, (order,)).fetchone()
        return int(row["last"]) if row else 0


def _connections(database: Database) -> int:
    """Those of the API: all but the one that asks."""
    with database.transaction() as connection:
        query = "SELECT count(*) AS count FROM pg_stat_activity WHERE datname = current_database()"
        row = connection.execute(query + " AND pid <> pg_backend_pid()").fetchone()
        return int(row["count"]) if row else 0


@contextlib.contextmanager
def _api(url: str) -> Iterator[tuple[psutil.Process, int]]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "api.main:app", "--port", str(port), "--no-access-log"]
    child = subprocess.Popen(command, env={**os.environ, "DATABASE_URL": url}, stderr=subprocess.DEVNULL)
    try:
        process = psutil.Process(child.pid)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not any(c.status == psutil.CONN_LISTEN for c in process.net_connections("tcp")):
            if child.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the API did not start")
            time.sleep(0.05)
        yield process, port
    finally:
        child.terminate()
        child.wait(PATIENCE_SECONDS)


def main() -> None:
    """Measure both, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=int, default=2000)
    count = parser.parse_args().listeners
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    room = str(2 * count + OPENED_AT_ONCE)
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres.start(Path(folder) / "postgres")
        url = server.create_database("benchmark")
        os.environ |= {
            "CASCADE_RPC_URL": "http://127.0.0.1:1",
            "CASCADE_DEPLOYMENT": str(write_nowhere(Path(folder))),
            "CASCADE_READS_PER_MINUTE": "1000000",
            "CASCADE_STREAMS": room,
            "CASCADE_STREAMS_PER_ADDRESS": room,
        }
        database = Database(url, connections=1)
        database.open()
        migrate(database)
        orders = [open_order(database).order.id for _ in track(range(count), "Orders")]
        costs = [
            asyncio.run(measure(f"{count} orders", url, database, orders, count)),
            asyncio.run(measure("one order", url, database, orders[:1], count)),
        ]
        database.close()
        server.stop()
    _print(costs, count)


def _print(costs: list[Cost], count: int) -> None:
    table = Table(title=f"{count} listeners; times in ms after COMMIT, medians of {ROUNDS} rounds")
    for name in ("to", "API MB", "then MB", "kB each", "DB conn.", "first", "median", "last"):
        table.add_column(name, justify="right", no_wrap=True)
    for cost in costs:
        memory = (
            f"{cost.before / 1e6:.0f}",
            f"{cost.after / 1e6:.0f}",
            f"{(cost.after - cost.before) / count / 1e3:.1f}",
        )
        times = (f"{1000 * seconds:.0f}" for seconds in (cost.first, cost.median, cost.last))
        table.add_row(cost.what, *memory, str(cost.connections), *times)
    Console().print(table)


if __name__ == "__main__":
    main()
