"""Plain transfers to deposit addresses: seen, collected when it is worth it, and shown; whatever the nodes do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cascade.adapters.chain.log_reader import Node
from cascade.adapters.chain.router_logs import deposit_address, transfer_uri
from cascade.chains import Deployment
from cascade.db import deposits, relay_queue
from cascade.db.database import Database
from cascade.domain.money import USDC, Money
from cascade.domain.orders import OrderStatus
from cascade.domain.relay_items import RelayState
from cascade.errors import LeaseLost, NodeUnavailable
from cascade.services.checkout import Checkout
from cascade.services.order_view import OrderView
from cascade.workers import deposit_watcher as module
from cascade.workers.deposit_watcher import DepositWatcher
from cascade.workers.log_follower import Router
from sandbox.polygon import TOKENS, LocalPolygon
from sandbox.polygon.faulty_node import FaultyNode
from tests.faults.chain_rail import follow
from tests.faults.relaying import items, relayer
from tests.support.purchases import CATALOGUE, balance_of, open_order

CENT = 10**4
STARTER_UNITS = 100 * 10**6


@pytest.fixture
def router(deployment: Path) -> Deployment:
    return Deployment.load(deployment)


@contextmanager
def watching(
    database: Database, router: Deployment, rpc_url: str, lease_seconds: float = 0.01
) -> Iterator[DepositWatcher]:
    node = Node(rpc_url)
    try:
        yield DepositWatcher(
            database,
            node,
            Router(router.chain.chain_id, router.router, router.block_number, router.stablecoins),
            check=lambda: None,
            days=30,
            minimum=5 * CENT,
            poll_seconds=0.01,
            lease_seconds=lease_seconds,
            log_range_blocks=100,
        )
    finally:
        node.close()


@pytest.fixture
def worker(polygon: LocalPolygon, database: Database, router: Deployment) -> Iterator[DepositWatcher]:
    """A watcher that has begun."""
    with watching(database, router, polygon.rpc_url) as watcher:
        watcher.step()
        yield watcher


def send(polygon: LocalPolygon, view: OrderView, units: int, token: str | None = None) -> None:
    terms = view.terms[0]
    polygon.mint(token or terms.token.code, deposit_address(terms.router, terms.on_chain_order_id), units)
    polygon.mine(3)


def watch(worker: DepositWatcher) -> None:
    while worker.step():
        pass


def relay_all(polygon: LocalPolygon, database: Database, router: Deployment, worker: DepositWatcher) -> None:
    with relayer(database, router, polygon.rpc_url) as sender:
        for _ in range(3):
            sender.step()
            polygon.mine(3)
    follow(polygon, database, router)
    watch(worker)


def look(database: Database, router: Deployment, view: OrderView) -> OrderView:
    with database.transaction() as connection:
        return Checkout(CATALOGUE, router, 15).view(connection, view.order)


def status(database: Database, router: Deployment, view: OrderView) -> OrderStatus:
    return look(database, router, view).status


@pytest.mark.parametrize("token", ["USDC", "USDT"])
def test_the_price_is_collected_at_once_and_credited(
    polygon: LocalPolygon, database: Database, router: Deployment, worker: DepositWatcher, token: str
) -> None:
    view = open_order(database, router, package="starter", token=token)
    price = view.terms[0].units
    send(polygon, view, price)
    watch(worker)
    with database.transaction() as connection:
        (arrival,) = deposits.of_order(connection, view.order.id)
    assert (arrival.units, arrival.collected) == (price, False)
    with relayer(database, router, polygon.rpc_url) as sender:
        for _ in range(3):
            sender.step()
            polygon.mine(3)
    with database.transaction() as connection:  # long ago, and the indexer has not come so far yet
        connection.execute("UPDATE relay_items SET created_at = created_at - interval '2 minutes'")
        connection.execute("UPDATE deposit_transfers SET recorded_at = recorded_at - interval '3 minutes'")
    watch(worker)  # looks again, and queues nothing more
    assert len(items(database, view)) == 1
    relay_all(polygon, database, router, worker)
    assert balance_of(database, "citizen:Marco_Polo") == STARTER_UNITS
    with database.transaction() as connection:
        (arrival,) = deposits.of_order(connection, view.order.id)
    assert arrival.collected
    assert len(items(database, view)) == 1


def test_what_is_short_waits_for_the_rest(
    polygon: LocalPolygon, database: Database, router: Deployment, worker: DepositWatcher
) -> None:
    view = open_order(database, router, package="starter")
    price = view.terms[0].units
    send(polygon, view, price - CENT)
    watch(worker)
    assert items(database, view) == []
    send(polygon, view, CENT)
    watch(worker)
    relay_all(polygon, database, router, worker)
    assert balance_of(database, "citizen:Marco_Polo") == STARTER_UNITS
    assert status(database, router, view) is OrderStatus.FULFILLED


def test_either_stablecoin_completes_what_the_other_left_short_and_what_lies_there_is_not_asked_for_again(
    polygon: LocalPolygon, database: Database, router: Deployment, worker: DepositWatcher
) -> None:
    view = open_order(database, router, package="starter")
    usdc, usdt = view.terms
    assert look(database, router, view).missing is None
    for terms, units in ((usdc, usdc.units - CENT), (usdt, CENT)):
        polygon.mint(terms.token.code, deposit_address(terms.router, terms.on_chain_order_id), units)
        polygon.mine(3)
        watch(worker)
        seen = look(database, router, view)
        assert seen.status is OrderStatus.OPEN
        assert seen.missing == Money(USDC, CENT if terms == usdc else 0)
        assert len(items(database, view)) == (0 if terms == usdc else 2)
    relay_all(polygon, database, router, worker)
    assert status(database, router, view) is OrderStatus.FULFILLED
    assert balance_of(database, "citizen:Marco_Polo") == STARTER_UNITS


def test_what_was_collected_counts_once(
    polygon: LocalPolygon, database: Database, router: Deployment, worker: DepositWatcher
) -> None:
    view = open_order(database, router, package="starter")
    send(polygon, view, 4 * 10**6)
    watch(worker)
    with database.transaction() as connection:  # somebody collects it early, as anybody may
        relay_queue.enqueue_collect(
            connection,
            order_id=view.order.id,
            on_chain_order_id=view.terms[0].on_chain_order_id,
            token_address=view.terms[0].token_address,
        )
    assert look(database, router, view).missing == Money(USDC, view.terms[0].units - 4 * 10**6)
    with relayer(database, router, polygon.rpc_url) as sender:
        for _ in range(3):
            sender.step()
            polygon.mine(3)
    follow(polygon, database, router)  # booked, and the watcher has not looked again
    assert look(database, router, view).missing == Money(USDC, view.terms[0].units - 4 * 10**6)


def test_what_stays_short_is_collected_in_time_and_credited_for_what_it_is(
    polygon: LocalPolygon, database: Database, router: Deployment, worker: DepositWatcher
) -> None:
    view = open_order(database, router, package="starter")
    send(polygon, view, view.terms[0].units // 2)
    with database.transaction() as connection:  # its time is almost over
        connection.execute("UPDATE chain_terms SET expires_at = extract(epoch FROM now())::bigint + 60")
    watch(worker)
    assert len(items(database, view)) == 1


def test_a_transfer_after_a_collect_is_collected_again(
    polygon: LocalPolygon, database: Database, router: Deployment, worker: DepositWatcher
) -> None:
    view = open_order(database, router, package="starter")
    send(polygon, view, view.terms[0].units)
    watch(worker)
    relay_all(polygon, database, router, worker)
    with database.transaction() as connection:  # the relayer is not asked twice in a minute
        connection.execute("UPDATE relay_items SET created_at = created_at - interval '2 minutes'")
    watch(worker)
    assert len(items(database, view)) == 1
    send(polygon, view, 100 * CENT)
    watch(worker)
    assert len(items(database, view)) == 2
    relay_all(polygon, database, router, worker)
    assert balance_of(database, "suspense", "USDC") == 100 * CENT


def test_rest_of_the_price_is_collected_at_once_after_the_first_part(
    polygon: LocalPolygon, database: Database, router: Deployment, worker: DepositWatcher
) -> None:
    view = open_order(database, router, package="starter")
    price = view.terms[0].units
    with database.transaction() as connection:  # its last minutes, in which what is short is not kept waiting
        connection.execute("UPDATE chain_terms SET expires_at = extract(epoch FROM now())::bigint + 60")
    send(polygon, view, price // 2)
    watch(worker)
    relay_all(polygon, database, router, worker)
    send(polygon, view, price - price // 2)
    watch(worker)
    assert [item.state for item in items(database, view)] == [RelayState.SETTLED, RelayState.QUEUED]


def test_dust_and_strangers_transfers_are_left_alone(
    polygon: LocalPolygon, database: Database, router: Deployment, worker: DepositWatcher
) -> None:
    view = open_order(database, router, package="starter")
    send(polygon, view, 1)
    polygon.mint("USDC", "0x" + "77" * 20, 10**9)
    with database.transaction() as connection:
        connection.execute("UPDATE chain_terms SET expires_at = 1")
    polygon.mine(3)
    watch(worker)
    assert items(database, view) == []
    with database.transaction() as connection:
        row = connection.execute("SELECT count(*) AS n FROM deposit_transfers").fetchone()
    assert row is not None
    assert row["n"] == 1  # the dust, but not the stranger's


def test_with_many_orders_the_database_picks(
    polygon: LocalPolygon,
    database: Database,
    router: Deployment,
    worker: DepositWatcher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_RECIPIENTS", 0)
    view = open_order(database, router, package="starter")
    polygon.mint("USDC", "0x" + "77" * 20, 10**9)
    send(polygon, view, view.terms[0].units)
    watch(worker)
    with database.transaction() as connection:
        rows = connection.execute("SELECT units FROM deposit_transfers").fetchall()
    assert [row["units"] for row in rows] == [view.terms[0].units]


def test_orders_of_before_are_watched_too(
    polygon: LocalPolygon, database: Database, router: Deployment, worker: DepositWatcher
) -> None:
    view = open_order(database, router, package="starter")
    with database.transaction() as connection:
        connection.execute("UPDATE chain_terms SET deposit_address = NULL")
    send(polygon, view, view.terms[0].units)
    watch(worker)
    assert len(items(database, view)) == 1


def test_nodes_that_lag_and_lose_hide_no_transfer(
    polygon: LocalPolygon, database: Database, router: Deployment, worker: DepositWatcher
) -> None:
    views = [open_order(database, router, citizen=f"citizen{n}", package="starter") for n in range(6)]
    with (
        FaultyNode(polygon.rpc_url, seed=11) as node,
        watching(database, router, node.url, lease_seconds=0.0) as other,
    ):
        node.faults.backends_behind, node.faults.shuffles_batches, node.faults.rpc_error_rate = 3, True, 0.1
        for view in views:
            send(polygon, view, view.terms[0].units)
            for _ in range(20):
                for each in (other, worker):  # both believe that they lead
                    try:
                        each.step()
                    except (NodeUnavailable, LeaseLost):
                        continue
    with database.transaction() as connection:
        rows = connection.execute("SELECT on_chain_order_id FROM deposit_transfers").fetchall()
    assert sorted(bytes(row["on_chain_order_id"]) for row in rows) == sorted(
        view.terms[0].on_chain_order_id for view in views
    )


def test_a_crash_before_the_commit_loses_nothing(
    polygon: LocalPolygon,
    database: Database,
    router: Deployment,
    worker: DepositWatcher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view = open_order(database, router, package="starter")
    send(polygon, view, view.terms[0].units)
    with monkeypatch.context() as broken:
        broken.setattr(deposits, "insert", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            worker.step()
    watch(worker)
    assert len(items(database, view)) == 1


def test_the_uri_names_token_chain_address_and_amount(database: Database, router: Deployment) -> None:
    terms = open_order(database, router, package="starter").terms[0]
    address = deposit_address(router.router, terms.on_chain_order_id)
    assert transfer_uri(terms) == (
        f"ethereum:{TOKENS['USDC'].address}@137/transfer?address={address}&uint256={terms.units}"
    )
