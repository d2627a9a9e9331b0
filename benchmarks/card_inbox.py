"""How many payments by card a worker books in a second, looking at one intent at a time and at four.

Usage: python -m benchmarks.card_inbox

A double of Stripe answers each request after 100 ms, as a server far away does; a look takes four requests.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from cascade.db.database import Database, migrate
from cascade.workers import stripe_worker
from sandbox.postgres import EmbeddedPostgres
from tests.support.card_shop import CardShop
from tests.support.purchases import write_nowhere

PAYMENTS = 24
ROUNDS = 5
ANSWER_SECONDS = 0.1
AT_ONCE = (1, stripe_worker.AT_ONCE)


def payments_per_second(shop: CardShop, at_once: int) -> float:
    """Sells, lets Stripe tell of everything, and times the booking alone."""
    stripe_worker.AT_ONCE = at_once  # what is measured
    shop.double.control.reset_chaos()
    for i in range(PAYMENTS):
        shop.paid(citizen_id=f"citizen{i}", package="starter")
    shop.double.control.deliver_now(60)
    shop.double.control.set_chaos(slow_seconds=ANSWER_SECONDS, only_posts=False)
    started = time.monotonic()
    shop.work_through_inbox()
    return PAYMENTS / (time.monotonic() - started)


def main() -> None:
    """Measure in turns, several times, and print the medians."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres.start(Path(folder) / "postgres")
        url = server.create_database("benchmark")
        os.environ |= {
            "DATABASE_URL": url,
            "CASCADE_RPC_URL": "http://127.0.0.1:1",
            "CASCADE_DEPLOYMENT": str(write_nowhere(Path(folder))),
        }
        database = Database(url)
        database.open()
        migrate(database)
        with CardShop.open(database, os.environ.__setitem__) as shop:
            measured = [
                [payments_per_second(shop, at_once) for at_once in AT_ONCE] for _ in track(range(ROUNDS), "Rounds")
            ]
        database.close()
        server.stop()
    _print([statistics.median(column) for column in zip(*measured, strict=True)])


def _print(medians: list[float]) -> None:
    table = Table(title=f"Payments by card booked a second; medians of {ROUNDS} rounds of {PAYMENTS}")
    for name in ("intents at once", "payments/s", "x one at a time"):
        table.add_column(name, justify="right")
    for at_once, median in zip(AT_ONCE, medians, strict=True):
        table.add_row(str(at_once), f"{median:.1f}", f"{median / medians[0]:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
