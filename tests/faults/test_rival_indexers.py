"""Several indexers at once, on one database: each payment is booked once, whoever leads."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from cascade.adapters.chain.log_reader import LogRange, Node
from cascade.adapters.chain.router_logs import confirmed_payment
from cascade.chains import Deployment
from cascade.db import checkpoints
from cascade.db.database import Database
from cascade.domain.payments import Outcome
from cascade.errors import LeaseLost, LedgerConflict
from cascade.services.booking import book_payment
from sandbox.polygon import LocalPolygon
from tests.faults.chain_rail import Paid, assert_booked_once, indexer, is_booked, pay_orders


@pytest.mark.parametrize("lease_seconds", [5.0, 0.0], ids=["one leads", "all believe that they lead"])
def test_rivals_book_each_payment_once(
    polygon: LocalPolygon, deployment: Path, database: Database, lease_seconds: float
) -> None:
    router = Deployment.load(deployment)
    stop = threading.Event()

    def run() -> None:
        with indexer(database, router, polygon.rpc_url, lease_seconds=lease_seconds, log_range_blocks=3) as worker:
            worker.run(stop)

    rivals = [threading.Thread(target=run) for _ in range(4)]
    for rival in rivals:
        rival.start()
    try:
        paid = pay_orders(polygon, database, router, count=6)
        for _ in range(600):
            if is_booked(database, paid):
                break
            stop.wait(0.05)
    finally:
        stop.set()
        for rival in rivals:
            rival.join()
    assert_booked_once(database, paid)


def read(polygon: LocalPolygon, router: Deployment, start: int, end: int) -> LogRange:
    node = Node(polygon.rpc_url)
    try:
        return node.events(router.router, (start, node.block(start).hash), end)
    finally:
        node.close()


def book_without_a_checkpoint(database: Database, router: Deployment, stretch: LogRange) -> Sequence[Outcome]:
    """What an indexer books, but with none of the guards of its checkpoint."""
    with database.transaction() as connection:
        checkpoints.insert_logs(connection, 137, router.router, stretch.events)
        return [
            book_payment(connection, confirmed_payment(137, router.stablecoins, event)) for event in stretch.payments
        ]


@pytest.fixture
def paid(polygon: LocalPolygon, deployment: Path, database: Database) -> Paid:
    return pay_orders(polygon, database, Deployment.load(deployment), count=3)


def test_logs_that_come_again_in_overlapping_ranges_change_nothing(
    polygon: LocalPolygon, deployment: Path, database: Database, paid: Paid
) -> None:
    router = Deployment.load(deployment)
    with indexer(database, router, polygon.rpc_url) as worker:
        while worker.step():
            pass
    first, last = router.block_number, int(polygon.rpc("eth_blockNumber"), 16) - 2
    for start in range(first, last, 2):
        for end in range(start + 1, last + 1, 3):
            book_without_a_checkpoint(database, router, read(polygon, router, start, end))
    assert_booked_once(database, paid)


def test_the_same_place_with_other_contents_is_refused(
    polygon: LocalPolygon, deployment: Path, database: Database, paid: Paid
) -> None:
    router = Deployment.load(deployment)
    stretch = read(polygon, router, router.block_number, int(polygon.rpc("eth_blockNumber"), 16))
    book_without_a_checkpoint(database, router, stretch)
    from dataclasses import replace

    for change in ({"block_hash": b"\1" * 32}, {"units": 1, "partner_units": 0}, {"seq": 99}):
        forged = replace(stretch.events[0], **change)
        with pytest.raises(LedgerConflict, match="stored with other contents"):
            book_without_a_checkpoint(database, router, replace(stretch, events=(forged,)))


def test_a_leader_that_was_replaced_writes_nothing(database: Database) -> None:
    stream = "chain:137:x"
    with database.transaction() as connection:
        checkpoints.start(connection, stream, 5, b"\5" * 32, 0)
        old = checkpoints.lease(connection, stream, "old", 0)
        new = checkpoints.lease(connection, stream, "new", 60)
    assert old is not None
    assert new is not None
    with database.transaction() as connection:
        assert checkpoints.lease(connection, stream, "old", 60) is None
    with pytest.raises(LeaseLost, match="another indexer leads"), database.transaction() as connection:
        checkpoints.advance(connection, old, 6, b"\6" * 32, 0)
    with database.transaction() as connection:
        checkpoints.advance(connection, new, 6, b"\6" * 32, 0)
    with pytest.raises(LeaseLost), database.transaction() as connection:  # the same step twice
        checkpoints.advance(connection, new, 6, b"\6" * 32, 0)
