"""Nodes that lose answers, forget what they were given, lag and reorganise: each payment is made once all the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cascade.chains import Deployment
from cascade.db.database import Database
from cascade.domain.relay_items import RejectReason, RelayState
from cascade.errors import LeaseLost, NodeUnavailable
from sandbox.polygon import LocalPolygon
from sandbox.polygon.faults import Sending
from sandbox.polygon.faulty_node import FaultyNode
from tests.faults.chain_rail import follow
from tests.faults.relaying import HOT_KEY, items, no_blocks, nonces, order_of, payer, queue, relayer
from tests.support.purchases import balance_of

STARTER_UNITS = 100 * 10**6


@pytest.fixture
def router(deployment: Path) -> Deployment:
    return Deployment.load(deployment)


@pytest.fixture
def node(polygon: LocalPolygon) -> Iterator[FaultyNode]:
    with FaultyNode(polygon.rpc_url) as node:
        yield node


@pytest.mark.parametrize("sending", Sending)
def test_whatever_a_node_says_of_a_sending(
    polygon: LocalPolygon, database: Database, router: Deployment, node: FaultyNode, sending: Sending
) -> None:
    view = order_of(polygon, database, router, 0)
    queue(database, view, payer(0))
    with relayer(database, router, node.url, resend_seconds=0.0) as worker:
        node.faults.sending = sending
        worker.step()
        worker.step()
        node.faults.sending = None
        for _ in range(3):
            worker.step()
            polygon.mine(3)
    follow(polygon, database, router)
    assert items(database, view)[0].state is RelayState.SETTLED
    assert [state for _, state in nonces(database)] == ["final"]
    assert balance_of(database, "citizen:citizen0") == STARTER_UNITS


def test_a_node_that_counts_too_few_transactions_gives_no_nonce_twice(
    polygon: LocalPolygon, database: Database, router: Deployment, node: FaultyNode
) -> None:
    views = [order_of(polygon, database, router, n) for n in range(3)]
    with relayer(database, router, node.url) as worker:
        for n, view in enumerate(views):
            queue(database, view, payer(n))
            worker.step()
            polygon.mine(3)
            node.faults.nonces_behind = 2
        worker.step()
    given = [nonce for nonce, _ in nonces(database)]
    assert given == list(range(given[0], given[0] + 3))
    assert [items(database, view)[0].state for view in views] == [RelayState.SETTLED] * 3


def test_a_reorganisation_takes_it_away_and_the_same_transaction_is_sent_again(
    polygon: LocalPolygon, database: Database, router: Deployment
) -> None:
    views = [order_of(polygon, database, router, n) for n in range(2)]
    before = polygon.snapshot()
    with relayer(database, router, polygon.rpc_url, resend_seconds=0.0) as worker:
        for n, view in enumerate(views):
            queue(database, view, payer(n))
            worker.step()
        assert len(nonces(database)) == 2
        polygon.revert(before)  # both are gone, and no pool has them
        polygon.mine(1)
        for _ in range(3):
            worker.step()
            polygon.mine(3)
    follow(polygon, database, router)
    assert [state for _, state in nonces(database)] == ["final", "final"]
    assert [balance_of(database, f"citizen:citizen{n}") for n in range(2)] == [STARTER_UNITS] * 2


def test_after_a_reorganisation_it_is_too_late(polygon: LocalPolygon, database: Database, router: Deployment) -> None:
    view = order_of(polygon, database, router, 0)
    before = polygon.snapshot()
    with relayer(database, router, polygon.rpc_url, resend_seconds=0.0) as worker:
        queue(database, view, payer(0))
        worker.step()
        polygon.revert(before)
        polygon.rpc("evm_setNextBlockTimestamp", view.terms[0].expires_at)
        polygon.mine(1)
        for _ in range(4):
            worker.step()
            polygon.mine(3)
    (item,) = items(database, view)
    assert (item.state, item.reason) == (RelayState.REFUSED, RejectReason.EXPIRED)
    assert [state for _, state in nonces(database)] == ["final"]


def test_somebody_else_uses_the_key(polygon: LocalPolygon, database: Database, router: Deployment) -> None:
    view = order_of(polygon, database, router, 0)
    queue(database, view, payer(0))
    with relayer(database, router, polygon.rpc_url, usurped_seconds=0.0, resend_seconds=0.0) as worker:
        before = polygon.snapshot()
        worker.step()
        polygon.revert(before)
        account = polygon.accounts[HOT_KEY]
        polygon.rpc("eth_sendTransaction", {"from": account, "to": account, "value": "0x0"})
        polygon.mine(3)
        for _ in range(4):
            worker.step()
            polygon.mine(3)
    assert items(database, view)[0].state is RelayState.SETTLED
    given = nonces(database)
    assert [state for _, state in given] == ["usurped", "final"]
    assert given[1][0] == given[0][0] + 1


def test_a_node_that_fails_half_the_time(
    polygon: LocalPolygon, database: Database, router: Deployment, node: FaultyNode
) -> None:
    views = [order_of(polygon, database, router, n) for n in range(4)]
    for n, view in enumerate(views):
        queue(database, view, payer(n))
    node.faults.http_error_rate, node.faults.rpc_error_rate, node.faults.shuffles_batches = 0.2, 0.1, True
    with relayer(database, router, node.url, batch=2, resend_seconds=0.0) as worker:
        for _ in range(400):
            try:
                worker.step()
            except NodeUnavailable:
                continue
            polygon.mine(1)
            if all(items(database, view)[0].state is RelayState.SETTLED for view in views):
                break
    follow(polygon, database, router)
    assert [balance_of(database, f"citizen:citizen{n}") for n in range(4)] == [STARTER_UNITS] * 4
    assert {state for _, state in nonces(database)} == {"final"}


@pytest.mark.parametrize("lease_seconds", [5.0, 0.0], ids=["one leads", "all believe that they lead"])
def test_rivals_use_no_nonce_twice(
    polygon: LocalPolygon, database: Database, router: Deployment, lease_seconds: float
) -> None:
    views = [order_of(polygon, database, router, n) for n in range(6)]
    stop = threading.Event()

    def run() -> None:
        with relayer(
            database, router, polygon.rpc_url, lease_seconds=lease_seconds, batch=1, resend_seconds=0.1
        ) as worker:
            while not stop.is_set():
                try:
                    worker.step()
                except (LeaseLost, NodeUnavailable, psycopg.errors.UniqueViolation):
                    continue

    rivals = [threading.Thread(target=run) for _ in range(3)]
    for rival in rivals:
        rival.start()
    try:
        for n, view in enumerate(views):
            queue(database, view, payer(n))
        for _ in range(300):
            polygon.mine(1)
            if all(items(database, view)[0].state is RelayState.SETTLED for view in views):
                break
            stop.wait(0.1)
    finally:
        stop.set()
        for rival in rivals:
            rival.join()
    given = nonces(database)
    assert [nonce for nonce, _ in given] == list(range(given[0][0], given[0][0] + len(given)))
    assert {state for _, state in given} == {"final"}
    assert len(given) == len(views)
    follow(polygon, database, router)
    assert [balance_of(database, f"citizen:citizen{n}") for n in range(6)] == [STARTER_UNITS] * 6


def test_nothing_is_concluded_while_the_transaction_is_in_no_block(
    polygon: LocalPolygon, database: Database, router: Deployment
) -> None:
    view, other = (order_of(polygon, database, router, n) for n in range(2))
    queue(database, view, payer(0))
    with relayer(database, router, polygon.rpc_url) as worker, no_blocks(polygon):
        worker.step()
        queue(database, other, payer(1))
        worker.step()
        assert len(nonces(database)) == 1
        assert items(database, view)[0].state is RelayState.SENT
        assert items(database, other)[0].state is RelayState.QUEUED
