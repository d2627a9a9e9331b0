"""How long an event takes to an endpoint that is well, while others hang for ever; and how many go out in a second.

Usage: python -m benchmarks.outbox

Endpoints that hang take each request and never answer. Rounds alternate, in one run.
"""

from __future__ import annotations

import itertools
import logging
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from cascade.db import webhook_endpoints
from cascade.db.database import Database, migrate
from cascade.domain.order_events import EventType
from sandbox.postgres import EmbeddedPostgres
from tests.support.delivery import DispatcherConfig, WebhookEndpoint, add_endpoint, dispatching, until
from tests.support.purchases import open_order

HANGING = (0, 1, 20)
EVENTS = 50
BULK = 500
ROUNDS = 5
WISHES = DispatcherConfig(webhook_timeout_seconds=10.0)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Round:
    """Milliseconds from an event's commit to the endpoint, and events a second when many wait."""

    median_ms: float
    slowest_ms: float
    per_second: float


def one_round(database: Database, hanging: int) -> Round:
    """Some endpoints hang, one is well; events come one by one, and then many at once."""
    heard_at: dict[str, float] = {}
    with ExitStack() as stack:
        well = stack.enter_context(WebhookEndpoint.open())
        well.answer = lambda body: 204 if heard_at.setdefault(body.decode(), time.monotonic()) else 500
        made = [add_endpoint(database, well.url, [EventType.ORDER_OPENED])[0]]
        for _ in range(hanging):
            dead = stack.enter_context(WebhookEndpoint.open())
            dead.answer = lambda _, dead=dead: 200 + dead.released.wait(60)  # type: ignore[misc]
            made.append(add_endpoint(database, dead.url, [EventType.ORDER_OPENED])[0])
        with dispatching(database, WISHES):
            latencies = []
            for _ in range(EVENTS):
                before, committed = len(heard_at), _open(database)
                until(lambda before=before: len(heard_at) > before)  # type: ignore[misc]
                latencies.append((max(heard_at.values()) - committed) * 1000)
        for _ in range(BULK):
            _open(database)
        begun, before = time.monotonic(), len(heard_at)
        with dispatching(database, WISHES):
            until(lambda: len(heard_at) == before + BULK, 120)
            per_second = BULK / (max(heard_at.values()) - begun)
            for endpoint in made:  # so that nothing of this round is left for the next
                with database.transaction() as connection:
                    webhook_endpoints.delete(connection, endpoint)
    return Round(statistics.median(latencies), max(latencies), per_second)


def _open(database: Database) -> float:
    """Opens an order of a citizen of its own; returns when it was committed."""
    open_order(database, citizen=f"citizen{next(_numbers)}")
    return time.monotonic()


def main() -> None:
    """Measure in turns, several times, and print the medians."""
    logging.disable(logging.WARNING)  # that endpoints hang is what is measured
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres.start(Path(folder) / "postgres")
        database = Database(server.create_database("benchmark"))
        database.open()
        migrate(database)
        measured = [[one_round(database, hanging) for hanging in HANGING] for _ in track(range(ROUNDS), "Rounds")]
        database.close()
        server.stop()
    table = Table(title=f"To an endpoint that is well; medians of {ROUNDS} rounds")
    for name in ("endpoints that hang", "median ms", "slowest ms", "events/s in bulk"):
        table.add_column(name, justify="right")
    for hanging, column in zip(HANGING, zip(*measured, strict=True), strict=True):
        medians = (
            statistics.median(getattr(one, name) for one in column)
            for name in ("median_ms", "slowest_ms", "per_second")
        )
        table.add_row(str(hanging), *(f"{median:.1f}" for median in medians))
    Console().print(table)


if __name__ == "__main__":
    main()
