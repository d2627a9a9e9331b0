"""Nodes that lag, forget, stutter and lie. Nothing is lost, nothing is booked twice, and what cannot be, is said."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cascade.adapters.chain.router_logs import PAID_TOPIC, REFUNDED_TOPIC
from cascade.chains import Deployment
from cascade.db import checkpoints
from cascade.db.database import Database
from cascade.domain.orders import OrderStatus
from cascade.errors import NodeUnavailable, ReorgBelowFinality, SequenceGap
from cascade.services.checkout import Checkout
from cascade.services.order_view import OrderView
from cascade.workers.indexer import Indexer
from sandbox.polygon import LocalPolygon
from sandbox.polygon.faults import Faults
from sandbox.polygon.faulty_node import FaultyNode
from tests.faults.chain_rail import (
    Paid,
    assert_booked_once,
    assert_given_back_once,
    collect,
    give_back,
    indexer,
    is_booked,
    pay_orders,
)
from tests.support.purchases import CATALOGUE, NOWHERE, open_order, pay


@pytest.fixture
def router(deployment: Path) -> Deployment:
    return Deployment.load(deployment)


@pytest.fixture
def paid(polygon: LocalPolygon, router: Deployment, database: Database) -> Paid:
    return pay_orders(polygon, database, router, count=4)


@pytest.fixture
def node(polygon: LocalPolygon) -> Iterator[FaultyNode]:
    with FaultyNode(polygon.rpc_url, seed=7) as node:
        yield node


WEATHER = {
    "behind": Faults(backends_behind=12),  # some backends have not seen the last payments, which are final elsewhere
    "capped": Faults(max_log_range=3, max_log_range_message="Block range is too large"),
    "refusing": Faults(http_error_rate=0.3),
    "erring": Faults(rpc_error_rate=0.15),
    "shuffling": Faults(shuffles_batches=True),
    "proof of authority": Faults(poa_headers=True),
    "finality going back": Faults(finalized_back=3),
}


@pytest.mark.parametrize("faults", WEATHER.values(), ids=WEATHER)
def test_everything_is_booked_once_through_a_bad_connection(
    polygon: LocalPolygon,
    router: Deployment,
    database: Database,
    paid: Paid,
    node: FaultyNode,
    faults: Faults,
) -> None:
    node.faults = faults
    with indexer(database, router, node.url, log_range_blocks=6) as worker, running(worker):
        assert wait_until(lambda: is_booked(database, paid), meanwhile=polygon.mine)
    assert_booked_once(database, paid)


@pytest.mark.parametrize("faults", WEATHER.values(), ids=WEATHER)
def test_transfers_and_refunds_are_booked_once_through_a_bad_connection(
    polygon: LocalPolygon,
    router: Deployment,
    database: Database,
    paid: Paid,
    node: FaultyNode,
    faults: Faults,
) -> None:
    view = open_order(database, router, citizen="Late")
    terms = view.terms[0]
    collect(polygon, router, terms.on_chain_order_id, terms.token.code, terms.units)
    give_back(polygon, router, paid)
    node.faults = faults
    with indexer(database, router, node.url, log_range_blocks=6) as worker, running(worker):
        assert wait_until(lambda: count(database, "refunds") == 1, meanwhile=polygon.mine)
    assert status(database, view) is OrderStatus.FULFILLED
    assert_given_back_once(database, paid)


USELESS = {
    "no finality": Faults(finalized_missing=True),
    "hanging up": Faults(hangs_up=True),
    "too slow": Faults(answers_after_seconds=3),
    "a member missing": Faults(drops_batch_member=True),
    "logs twice": Faults(duplicates_logs=True),
    "logs removed": Faults(marks_removed=True),
    "logs of another block": Faults(wrong_block_hash=True),
}


@pytest.mark.parametrize("faults", USELESS.values(), ids=USELESS)
def test_an_answer_that_cannot_be_trusted_books_nothing_and_is_asked_again(
    router: Deployment,
    database: Database,
    paid: Paid,
    node: FaultyNode,
    faults: Faults,
) -> None:
    node.faults = faults
    with indexer(database, router, node.url) as worker:
        for _ in range(2):
            with pytest.raises(NodeUnavailable):
                worker.step()
        assert count(database, "payments") == 0
        node.faults = Faults()
        finish(worker)
    assert_booked_once(database, paid)


def test_an_order_is_confirmed_while_only_its_booking_is_to_come(
    router: Deployment, database: Database, node: FaultyNode, polygon: LocalPolygon
) -> None:
    polygon.mine(3)
    view = open_order(database, router)
    with indexer(database, router, node.url, log_range_blocks=20) as worker:
        assert status(database, view) is OrderStatus.OPEN
        pay(polygon, view.terms[0])
        finish(worker)
        assert status(database, view) is OrderStatus.SEEN
        polygon.mine(40)
        node.faults.max_log_range = 0  # what is final is known, but not its logs
        with pytest.raises(NodeUnavailable):
            worker.step()
        assert status(database, view) is OrderStatus.CONFIRMED
        node.faults = Faults()
        assert worker.step()  # there is more to book before the head is looked at again
    assert status(database, view) is OrderStatus.FULFILLED
    with database.transaction() as connection:  # booked, so no longer only seen
        assert checkpoints.sightings_of_order(connection, view.order.id) == []


def test_a_hidden_payment_is_noticed_by_its_number(
    router: Deployment, database: Database, paid: Paid, node: FaultyNode, polygon: LocalPolygon
) -> None:
    hidden = payment_log(polygon, router, 2)
    node.faults.hides_log = (hidden["transactionHash"], int(hidden["logIndex"], 16))
    with indexer(database, router, node.url) as worker:
        with pytest.raises(SequenceGap, match=r"payment 1 was followed by payment 3"):
            worker.step()
        assert count(database, "payments") == 0
        node.faults = Faults()
        finish(worker)
    assert_booked_once(database, paid)


def test_a_last_payment_that_is_hidden_is_noticed_with_the_next(
    router: Deployment, database: Database, paid: Paid, node: FaultyNode, polygon: LocalPolygon
) -> None:
    hidden = payment_log(polygon, router, 5)
    node.faults.hides_log = (hidden["transactionHash"], int(hidden["logIndex"], 16))
    with indexer(database, router, node.url) as worker:
        finish(worker)  # nobody can know yet
        pay_orders(polygon, database, router, count=1)
        with pytest.raises(SequenceGap, match="payment 4 was followed by payment 6"):
            worker.step()


def test_a_hidden_refund_is_not_noticed_until_another_node_is_asked(
    router: Deployment, database: Database, paid: Paid, node: FaultyNode, polygon: LocalPolygon
) -> None:
    """Refunds are not numbered, so a lie about them cannot be seen by itself: docs/operations.md says what to do."""
    give_back(polygon, router, paid)
    (hidden,) = logs_with_topic(polygon, router, REFUNDED_TOPIC)
    node.faults.hides_log = (hidden["transactionHash"], int(hidden["logIndex"], 16))
    with indexer(database, router, node.url) as worker:
        finish(worker)
        assert_booked_once(database, paid)
        assert count(database, "refunds") == 0
        assert worker.rescan(0) == []  # the same node tells the same
        node.faults = Faults(max_log_range=3)
        (found,) = worker.rescan(0)
        assert found == f"chain:137:{int(hidden['blockNumber'], 16)}:{int(hidden['logIndex'], 16)}"
        assert_given_back_once(database, paid)
        assert worker.rescan(0) == []
        node.faults = Faults(hangs_up=True)
        with pytest.raises(NodeUnavailable):
            worker.rescan(0)
    assert_given_back_once(database, paid)


def test_a_second_look_does_not_go_beyond_what_is_booked(
    router: Deployment, database: Database, paid: Paid, polygon: LocalPolygon
) -> None:
    with indexer(database, router, polygon.rpc_url) as worker:
        assert worker.rescan(0) == []  # nothing was followed yet
        assert count(database, "payments") == 0
        finish(worker)
        give_back(polygon, router, paid)
        assert worker.rescan(0) == []  # not yet booked: this is the stream's own work
    assert_booked_once(database, paid)


def test_an_answer_about_a_refund_that_cannot_be_trusted_books_nothing(
    router: Deployment, database: Database, paid: Paid, node: FaultyNode, polygon: LocalPolygon
) -> None:
    with indexer(database, router, node.url) as worker:
        finish(worker)
        give_back(polygon, router, paid)
        for lie in (Faults(duplicates_logs=True), Faults(marks_removed=True), Faults(drops_batch_member=True)):
            node.faults = lie
            with pytest.raises(NodeUnavailable):
                worker.step()
            assert count(database, "refunds") == count(database, "chain_refund_logs") == 0
        node.faults = Faults()
        finish(worker)
    assert_given_back_once(database, paid)


def test_nothing_begins_at_a_block_that_is_not_final(
    router: Deployment, database: Database, paid: Paid, node: FaultyNode, polygon: LocalPolygon
) -> None:
    node.faults.finalized_back = int(polygon.rpc("eth_blockNumber"), 16) - router.block_number + 2
    with indexer(database, router, node.url) as worker:
        assert worker.step() is False
        assert count(database, "chain_cursors") == 0
        node.faults = Faults()
        finish(worker)
    assert_booked_once(database, paid)


def test_a_replaced_block_below_finality_stops_everything(
    router: Deployment, database: Database, paid: Paid, polygon: LocalPolygon
) -> None:
    with indexer(database, router, polygon.rpc_url) as worker:
        finish(worker)
        polygon.rpc("anvil_reorg", 5, [])
        polygon.mine(1)
        with pytest.raises(ReorgBelowFinality, match="compare both"):
            worker.step()
    assert_booked_once(database, paid)  # nothing is undone by software


def test_what_waiting_does_not_mend_is_shown_as_an_alarm(
    router: Deployment, database: Database, paid: Paid, node: FaultyNode, polygon: LocalPolygon
) -> None:
    hidden = payment_log(polygon, router, 2)
    node.faults.hides_log = (hidden["transactionHash"], int(hidden["logIndex"], 16))
    with indexer(database, router, node.url) as worker, running(worker):
        assert wait_until(lambda: "SequenceGap" in (alarm(database) or ""))
        node.faults = Faults()
        assert wait_until(lambda: is_booked(database, paid) and alarm(database) is None)
    assert_booked_once(database, paid)


def test_the_rpc_url_is_in_no_message(router: Deployment, database: Database) -> None:
    with (
        indexer(database, router, "http://127.0.0.1:1/secret-key") as worker,
        pytest.raises(NodeUnavailable) as refused,
    ):
        worker.step()
    assert "secret-key" not in str(refused.value)
    assert refused.value.__cause__ is None


@contextmanager
def running(worker: Indexer) -> Iterator[None]:
    """An indexer at work until the block ends."""
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def finish(worker: Indexer) -> None:
    while worker.step():
        pass


def payment_log(polygon: LocalPolygon, router: Deployment, number: int) -> dict[str, str]:
    """The log of the payment with this number, as the chain itself tells it."""
    (log,) = (log for log in logs_with_topic(polygon, router, PAID_TOPIC) if int(log["data"][-64:], 16) == number)
    return log


def logs_with_topic(polygon: LocalPolygon, router: Deployment, topic: bytes) -> list[dict[str, str]]:
    query = {"address": router.router, "topics": ["0x" + topic.hex()], "fromBlock": "0x0", "toBlock": "latest"}
    logs: list[dict[str, str]] = polygon.rpc("eth_getLogs", query)
    return logs


def count(database: Database, table: str) -> int:
    with database.transaction() as connection:
        row = connection.execute(f"SELECT count(*) AS count FROM {table}".encode()).fetchone()
    return int(row["count"]) if row else 0


def status(database: Database, view: OrderView) -> OrderStatus:
    with database.transaction() as connection:
        return Checkout(CATALOGUE, NOWHERE, order_minutes=15).view(connection, view.order).status


def alarm(database: Database) -> str | None:
    with database.transaction() as connection:
        streams = checkpoints.health(connection)
    return streams[0].alarm if streams else None


def wait_until(true: Callable[[], bool], meanwhile: Callable[[], None] = lambda: None) -> bool:
    """Whether something becomes true within a minute; the chain may go on meanwhile."""
    pause = threading.Event()
    for i in range(1200):
        if true():
            return True
        if i % 10 == 9:
            meanwhile()
        pause.wait(0.05)
    return False
