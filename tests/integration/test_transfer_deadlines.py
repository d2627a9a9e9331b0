"""A plain transfer is in time by its own block: collected late by anybody, and with the watcher stopped meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cascade.adapters.chain.erc20_transfers import TRANSFER_TOPIC, last_block_before
from cascade.adapters.chain.log_reader import Node
from cascade.chains import Deployment
from cascade.db import balances, payments
from cascade.db.database import Database
from cascade.db.payments import BookedPayment
from cascade.domain.payments import Outcome, SuspenseReason
from cascade.errors import NodeUnavailable
from cascade.services.order_view import OrderView
from cascade.workers.deposit_watcher import DepositWatcher
from cascade.workers.indexer import Indexer
from cascade.workers.log_follower import Router
from sandbox.polygon import LocalPolygon
from tests.faults.chain_rail import collect, follow, indexer, transfer
from tests.faults.relaying import items
from tests.support.purchases import balance_of, open_order

PRICE = 250_000_000
DUCATS = 2_750_000_000
PART = 100_000_001
LATE = 33_333_333


@pytest.fixture
def router(deployment: Path) -> Deployment:
    return Deployment.load(deployment)


@pytest.fixture
def view(database: Database, router: Deployment) -> OrderView:
    return open_order(database, router)


@pytest.fixture
def key(view: OrderView) -> bytes:
    return view.terms[0].on_chain_order_id


@pytest.fixture
def deadline(view: OrderView) -> int:
    return view.terms[0].expires_at


@pytest.fixture
def watcher(polygon: LocalPolygon, database: Database, router: Deployment) -> Iterator[DepositWatcher]:
    """A watcher that looked once, before anything came."""
    node = Node(polygon.rpc_url)
    worker = DepositWatcher(
        database,
        node,
        Router(router.chain.chain_id, router.router, router.block_number, router.stablecoins),
        check=lambda: None,
        days=30,
        minimum=50_000,
        poll_seconds=0.01,
        lease_seconds=0.01,
        log_range_blocks=100,
    )
    worker.step()
    yield worker
    node.close()


def watch(worker: DepositWatcher) -> None:
    while worker.step():
        pass


class Counting(Node):
    """Counts the questions for transfers, and refuses them when told to."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked = 0
        self.refuses = False

    def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        for method, parameters in calls:
            if method == "eth_getLogs" and parameters[0]["topics"][0] == "0x" + TRANSFER_TOPIC.hex():
                self.asked += 1
                if self.refuses:
                    raise NodeUnavailable("refused by the test")
        return super().batch(calls)


@contextmanager
def counting(polygon: LocalPolygon, database: Database, router: Deployment) -> Iterator[tuple[Indexer, Counting]]:
    node = Counting(polygon.rpc_url)
    followed = Router(router.chain.chain_id, router.router, router.block_number, router.stablecoins)
    yield (
        Indexer(
            database,
            node,
            followed,
            check=lambda: None,
            poll_seconds=0.01,
            lease_seconds=0.01,
            log_range_blocks=2000,
        ),
        node,
    )
    node.close()


def booked(database: Database, view: OrderView) -> list[BookedPayment]:
    with database.transaction() as connection:
        assert not any(balances.totals(connection).values())
        assert balances.drifts(connection) == []
        return payments.of_order(connection, view.order.id)


def told(database: Database, view: OrderView) -> list[tuple[int, Outcome, SuspenseReason | None]]:
    return [(each.received.units, each.outcome, each.reason) for each in booked(database, view)]


@pytest.mark.parametrize("watched", ["all the time", "only afterwards", "never"])
@pytest.mark.parametrize("seconds", [-1, 0, 1])
def test_it_is_in_time_until_the_last_second_whenever_it_is_collected(
    polygon: LocalPolygon,
    database: Database,
    router: Deployment,
    view: OrderView,
    key: bytes,
    deadline: int,
    watcher: DepositWatcher,
    seconds: int,
    watched: str,
) -> None:
    transfer(polygon, router, key, "USDC", PRICE, at=deadline + seconds)
    if watched == "all the time":
        polygon.mine(3)
        watch(watcher)
    collect(polygon, router, key, "USDC", at=deadline + 3600)
    follow(polygon, database, router)
    if watched == "only afterwards":
        watch(watcher)
        follow(polygon, database, router)
    in_time = seconds < 0
    expected = (Outcome.FULFILLED, None) if in_time else (Outcome.SUSPENSE, SuspenseReason.LATE)
    assert told(database, view) == [(PRICE, *expected)]
    assert balance_of(database, "citizen:Marco_Polo") == (DUCATS if in_time else 0)
    assert balance_of(database, "suspense", "USDC") == (0 if in_time else PRICE)
    if watched == "only afterwards":
        assert items(database, view) == []  # it finds it collected


@pytest.mark.parametrize("watched", [True, False])
def test_one_collect_of_transfers_in_time_and_late_is_divided_exactly(
    polygon: LocalPolygon,
    database: Database,
    router: Deployment,
    view: OrderView,
    key: bytes,
    deadline: int,
    watcher: DepositWatcher,
    watched: bool,
) -> None:
    transfer(polygon, router, key, "USDC", PART, at=deadline - 2)
    transfer(polygon, router, key, "USDC", 1, at=deadline - 1)
    transfer(polygon, router, key, "USDC", LATE, at=deadline)
    polygon.mine(3)
    if watched:
        watch(watcher)
    collect(polygon, router, key, "USDC", at=deadline + 60)
    follow(polygon, database, router)
    assert told(database, view) == [
        (PART + 1, Outcome.CREDITED, None),
        (LATE, Outcome.SUSPENSE, SuspenseReason.LATE),
    ]
    first, second = booked(database, view)
    assert second.reference == first.reference + ":late"
    assert balance_of(database, "citizen:Marco_Polo") == (PART + 1) * 10
    assert balance_of(database, "suspense", "USDC") == LATE
    whole = PART + 1 + LATE
    assert -balance_of(database, "partner", "USDC") == whole // 2
    assert -balance_of(database, "treasury", "USDC") == whole - whole // 2
    with indexer(database, router, polygon.rpc_url) as worker:
        assert worker.rescan(0) == []


def test_earlier_collects_took_the_earliest_transfers(
    polygon: LocalPolygon, database: Database, router: Deployment, view: OrderView, key: bytes, deadline: int
) -> None:
    collect(polygon, router, key, "USDC", PART)
    transfer(polygon, router, key, "USDC", 5_000_000, at=deadline - 1)
    transfer(polygon, router, key, "USDC", LATE, at=deadline)
    collect(polygon, router, key, "USDC")
    transfer(polygon, router, key, "USDC", 7_000_000)
    collect(polygon, router, key, "USDC")
    follow(polygon, database, router)
    late = (Outcome.SUSPENSE, SuspenseReason.LATE)
    assert told(database, view) == [
        (PART, Outcome.CREDITED, None),
        (5_000_000, Outcome.CREDITED, None),
        (LATE, *late),
        (7_000_000, *late),
    ]


def test_each_stablecoin_is_divided_by_itself(
    polygon: LocalPolygon, database: Database, router: Deployment, view: OrderView, key: bytes, deadline: int
) -> None:
    transfer(polygon, router, key, "USDC", PART, at=deadline - 1)
    transfer(polygon, router, key, "USDT", LATE, at=deadline)
    for token in ("USDC", "USDT"):
        collect(polygon, router, key, token)
    follow(polygon, database, router)
    assert told(database, view) == [
        (PART, Outcome.CREDITED, None),
        (LATE, Outcome.SUSPENSE, SuspenseReason.LATE),
    ]


def test_nothing_is_booked_as_late_while_the_transfers_cannot_be_read(
    polygon: LocalPolygon, database: Database, router: Deployment, view: OrderView, key: bytes, deadline: int
) -> None:
    transfer(polygon, router, key, "USDC", PRICE, at=deadline - 1)
    collect(polygon, router, key, "USDC", at=deadline + 86_400 * 20)
    polygon.mine(3)
    with counting(polygon, database, router) as (worker, node):
        node.refuses = True
        for _ in range(3):
            with pytest.raises(NodeUnavailable, match="refused by the test"):
                worker.step()
        assert booked(database, view) == []
        node.refuses = False
        while worker.step():
            pass
    assert told(database, view) == [(PRICE, Outcome.FULFILLED, None)]


def test_the_chain_is_asked_once_for_an_order_and_never_for_what_is_stored(
    polygon: LocalPolygon,
    database: Database,
    router: Deployment,
    view: OrderView,
    key: bytes,
    deadline: int,
    watcher: DepositWatcher,
) -> None:
    other = open_order(database, router, citizen="other")
    other_key = other.terms[0].on_chain_order_id
    transfer(polygon, router, other_key, "USDC", PRICE, at=deadline - 1)
    polygon.mine(3)
    watch(watcher)
    collect(polygon, router, other_key, "USDC", at=deadline + 1)
    polygon.mine(3)
    with counting(polygon, database, router) as (worker, node):
        while worker.step():
            pass
        assert node.asked == 0
        for _ in range(3):
            collect(polygon, router, key, "USDC", LATE)
            polygon.mine(3)
            while worker.step():
                pass
        assert node.asked == 1
    assert told(database, other) == [(PRICE, Outcome.FULFILLED, None)]
    assert told(database, view) == [(LATE, Outcome.SUSPENSE, SuspenseReason.LATE)] * 3


def test_transfers_that_were_stored_without_their_time_are_read_again(
    polygon: LocalPolygon,
    database: Database,
    router: Deployment,
    view: OrderView,
    key: bytes,
    deadline: int,
    watcher: DepositWatcher,
) -> None:
    transfer(polygon, router, key, "USDC", PRICE, at=deadline - 1)
    polygon.mine(3)
    watch(watcher)
    with database.transaction() as connection:  # as an earlier release stored it
        connection.execute("UPDATE deposit_transfers SET block_time = NULL")
    collect(polygon, router, key, "USDC", at=deadline + 1)
    follow(polygon, database, router)
    assert told(database, view) == [(PRICE, Outcome.FULFILLED, None)]
    with database.transaction() as connection:
        rows = connection.execute("SELECT block_time FROM deposit_transfers").fetchall()
    assert [row["block_time"] for row in rows] == [deadline - 1]


@pytest.mark.parametrize("gap", [1, 2, 300, 40_000])
def test_the_last_block_before_a_moment_is_found(gap: int) -> None:
    class Clockwork(Node):
        """Two blocks have each second, as on a fast chain."""

        def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
            return [
                {"number": asked[0], "hash": "0x" + "11" * 32, "timestamp": hex(1000 + int(asked[0], 16) // 2)}
                for _, asked in calls
            ]

    node, find = Clockwork("http://127.0.0.1:1"), last_block_before
    high = 50_000
    wanted: Callable[[int], int] = lambda number: 1000 + number // 2  # noqa: E731
    last = (high - gap) // 2 * 2 - 1
    assert find(node, wanted(high - gap), 0, high).number == last
    assert find(node, 0, 7, high).number == 7
    node.close()
