"""Dust at deposit addresses: booked, and nobody is told or kept busy, however often somebody sends and collects it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cascade.adapters.chain.log_reader import Node
from cascade.adapters.chain.router_logs import deposit_address
from cascade.chains import Deployment
from cascade.cli import cli
from cascade.db import balances, deposits, receipt_contacts, webhook_endpoints
from cascade.db.database import Database
from cascade.domain.delivery_states import EMAIL
from cascade.domain.money import USDC, Money
from cascade.domain.orders import OrderStatus
from cascade.domain.payments import Outcome, SuspenseReason
from cascade.services.booking import book_payment
from cascade.services.checkout import Checkout
from cascade.services.order_view import OrderView
from cascade.workers.deposit_watcher import DepositWatcher
from cascade.workers.log_follower import Router
from sandbox.polygon import TOKENS, LocalPolygon
from tests.faults.chain_rail import collect, follow, indexer, transfer
from tests.faults.relaying import items
from tests.support.purchases import CATALOGUE, NOWHERE, balance_of, collected, confirmed, open_order

CENT = 10**4
TOLD = ("order_events", "outbox", "notifications")


def rows(database: Database, table: str) -> int:
    with database.transaction() as connection:
        row = connection.execute(f"SELECT count(*) AS count FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row["count"])


def everybody_listens(database: Database, view: OrderView) -> None:
    """An endpoint that hears every event, and an address for receipts."""
    with database.transaction() as connection:
        receipt_contacts.insert(connection, view.order.id, "citizen@example.org")
        webhook_endpoints.insert(connection, "ep_" + "a" * 16, "https://platform.example.org", [], "whsec_x")


def run(*words: str) -> Any:
    return json.loads(CliRunner().invoke(cli, [*words, "--json"]).stdout)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("standing", ["open", "fulfilled", "late", "unknown"])
def test_nobody_is_told_of_dust_and_the_books_are_right(database: Database, standing: str) -> None:
    view = open_order(database)
    terms = view.terms[0]
    everybody_listens(database, view)
    if standing == "fulfilled":
        with database.transaction() as connection:
            book_payment(connection, confirmed(terms))
    if standing == "unknown":
        with database.transaction() as connection:
            connection.execute("DELETE FROM chain_terms WHERE order_id = %s", (view.order.id,))
    before = {table: rows(database, table) for table in TOLD}
    for units in (1, 1, 9_999):
        with database.transaction() as connection:
            payment = collected(terms, units, late=standing == "late")
            assert book_payment(connection, payment) is Outcome.SUSPENSE
            assert book_payment(connection, payment) is Outcome.SUSPENSE
    assert {table: rows(database, table) for table in TOLD} == before
    assert balance_of(database, "suspense", "USDC") == 10_001
    with database.transaction() as connection:
        assert not any(balances.totals(connection).values())
        assert balances.drifts(connection) == []
        assert len(Checkout(CATALOGUE, NOWHERE, 15).view(connection, view.order).payments) == (standing == "fulfilled")
    (row,) = run("suspense")
    assert (row["kind"], row["reference"], row["amount"]["units"]) == ("dust", "3 payments", "10001")


@pytest.mark.usefixtures("environment")
def test_a_cent_is_told_of_and_waits_by_itself(database: Database) -> None:
    view = open_order(database)
    everybody_listens(database, view)
    with database.transaction() as connection:
        book_payment(connection, collected(view.terms[0], CENT, late=True))
    (row,) = run("suspense")
    assert (row["kind"], row["reason"]) == ("payment", SuspenseReason.LATE)
    with database.transaction() as connection:
        mails = connection.execute("SELECT FROM outbox WHERE destination = %s", (EMAIL,)).fetchall()
    assert len(mails) == 1


def test_dust_that_completes_a_price_is_credited(database: Database) -> None:
    view = open_order(database)
    terms = view.terms[0]
    with database.transaction() as connection:
        assert book_payment(connection, collected(terms, terms.units - 1)) is Outcome.CREDITED
        assert book_payment(connection, collected(terms, 1)) is Outcome.FULFILLED
    assert balance_of(database, "citizen:Marco_Polo") == view.order.quote.total_ducats.units


@pytest.fixture
def router(deployment: Path) -> Deployment:
    return Deployment.load(deployment)


@pytest.fixture
def watcher(polygon: LocalPolygon, database: Database, router: Deployment) -> Iterator[DepositWatcher]:
    node = Node(polygon.rpc_url)
    worker = DepositWatcher(
        database,
        node,
        Router(router.chain.chain_id, router.router, router.block_number, router.stablecoins),
        check=lambda: None,
        days=30,
        minimum=5 * CENT,
        poll_seconds=0.01,
        lease_seconds=0.01,
        log_range_blocks=100,
    )
    worker.step()
    yield worker
    node.close()


def test_dust_that_is_seen_is_not_told_of_and_transfers_of_it_are_folded(
    polygon: LocalPolygon, database: Database, router: Deployment, watcher: DepositWatcher
) -> None:
    view = open_order(database, router)
    key = view.terms[0].on_chain_order_id
    for units in (1, 2, 2 * CENT):
        transfer(polygon, router, key, "USDC", units)
    polygon.mine(3)
    while watcher.step():
        pass
    transfer(polygon, router, key, "USDT", 3)
    before = rows(database, "order_events")
    collect(polygon, router, key, "USDT")
    with indexer(database, router, polygon.rpc_url, lease_seconds=0.01) as worker:
        while worker.step():
            pass
    checkout = Checkout(CATALOGUE, router, 15)
    with database.transaction() as connection:
        shown = checkout.view(connection, view.order)
    assert (shown.status, rows(database, "order_events")) == (OrderStatus.OPEN, before)
    assert sorted(arrival.units for arrival in shown.deposits) == [3, 2 * CENT]
    follow(polygon, database, router)
    with database.transaction() as connection:
        shown = checkout.view(connection, view.order)
    assert shown.payments == []
    assert shown.missing == Money(USDC, view.terms[0].units - 2 * CENT - 3)


def looked_at(database: Database) -> list[Any]:
    """The plan of what a look reads first, as PostgreSQL carried it out."""
    with database.transaction() as connection:
        plan = connection.execute(
            b"EXPLAIN (ANALYZE, FORMAT JSON) " + deposits.TO_LOOK_AT.encode(), {"most": 500}
        ).fetchone()
    assert plan is not None
    return plan["QUERY PLAN"]  # type: ignore[no-any-return]


def touched(node: dict[str, Any]) -> int:
    """Rows that a plan read from tables and indexes, also those that it threw away."""
    own = 0
    if "Scan" in node["Node Type"]:
        read = (
            node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        )
        own = int(read * node["Actual Loops"])
    return own + sum(touched(child) for child in node.get("Plans", []))


def lay_dust(database: Database, router: Deployment, orders: int) -> None:
    """Dust at the addresses of so many expired orders, as the watcher stores it."""
    view = open_order(database, router)
    with database.transaction() as connection:
        connection.execute(
            "WITH ids AS (SELECT sha256(n::text::bytea) AS id, n FROM generate_series(1, %(orders)s) n),"
            " terms AS (INSERT INTO chain_terms (on_chain_order_id, order_id, chain_id, router, token, token_address,"
            " units, expires_at, salt, deposit_address) SELECT id, %(order)s, 137, '0x' || lpad(n::text, 40, '0'),"
            " 'USDC', %(usdc)s, 250000000, 1, id, '0x' || lpad(n::text, 40, 'f') FROM ids)"
            " INSERT INTO deposit_transfers (chain_id, block_number, log_index, block_hash, transaction_hash,"
            " on_chain_order_id, token_address, sender, units, block_time)"
            " SELECT 137, 1, n, id, id, id, %(usdc)s, '0x', 1, 1 FROM ids",
            {"orders": orders, "order": view.order.id, "usdc": TOKENS["USDC"].address},
        )
        connection.execute("UPDATE orders SET expires_at = created_at + interval '1 second'")
    with database.transaction() as connection:
        connection.execute("ANALYZE deposit_transfers")


def test_dust_costs_one_look_and_then_none(
    polygon: LocalPolygon, database: Database, router: Deployment, watcher: DepositWatcher
) -> None:
    lay_dust(database, router, 2000)
    assert touched(looked_at(database)[0]["Plan"]) >= 500
    for _ in range(5):
        watcher.step()
    with database.transaction() as connection:
        connection.execute("ANALYZE deposit_transfers")
        assert deposits.uncollected(connection, 137) == []
    assert touched(looked_at(database)[0]["Plan"]) == 0
    assert rows(database, "relay_items") == 0


def test_what_was_dust_is_looked_at_again_when_more_comes_or_somebody_collects_it(
    polygon: LocalPolygon, database: Database, router: Deployment, watcher: DepositWatcher
) -> None:
    view, other = (open_order(database, router, citizen=citizen) for citizen in ("first", "second"))
    for each in (view, other):
        transfer(polygon, router, each.terms[0].on_chain_order_id, "USDC", 1)
    polygon.mine(3)
    with database.transaction() as connection:
        connection.execute("UPDATE chain_terms SET expires_at = 1")
    while watcher.step():
        pass
    with database.transaction() as connection:
        assert deposits.uncollected(connection, 137) == []
    polygon.mint("USDC", deposit_address(router.router, view.terms[0].on_chain_order_id), 5 * CENT)
    polygon.mine(3)
    while watcher.step():
        pass
    assert len(items(database, view)) == 1
    collect(polygon, router, other.terms[0].on_chain_order_id, "USDC")
    follow(polygon, database, router)
    watcher.step()
    with database.transaction() as connection:
        (arrival,) = deposits.of_order(connection, other.order.id)
    assert arrival.collected


def test_another_minimum_holds_after_a_restart(
    polygon: LocalPolygon, database: Database, router: Deployment, watcher: DepositWatcher
) -> None:
    view = open_order(database, router)
    transfer(polygon, router, view.terms[0].on_chain_order_id, "USDC", 2 * CENT)
    polygon.mine(3)
    with database.transaction() as connection:
        connection.execute("UPDATE chain_terms SET expires_at = 1")
    while watcher.step():
        pass
    assert items(database, view) == []
    watcher._minimum, watcher._looked = CENT, False
    watcher.step()
    assert len(items(database, view)) == 1
