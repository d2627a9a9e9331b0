"""Leases of the dispatcher: short, renewed while a try runs, and due again when a claim is lost."""

from __future__ import annotations

import threading
from datetime import timedelta

import psycopg
import pytest

from cascade.db import credits, orders
from cascade.db.database import Conn, Database
from cascade.domain.credits import Credit
from cascade.domain.delivery_states import DeliveryState
from cascade.domain.order_events import EventType
from cascade.workers import delivery_loop
from tests.integration.test_dispatcher import LEDGER_MODE, buy
from tests.support.delivery import WebhookEndpoint, add_endpoint, dispatching, make_due, rows, until
from tests.support.purchases import open_order


def test_long_try_keeps_its_lease(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_loop, "LEASE_SECONDS", 0.6)
    with WebhookEndpoint.open() as hearer:
        hearer.answer = lambda _: 204 if hearer.released.wait(2.5) else 200
        add_endpoint(database, hearer.url, [EventType.ORDER_OPENED])
        open_order(database)
        with dispatching(database, LEDGER_MODE, count=3):
            until(lambda: rows(database, "delivered"))
    assert len(hearer.heard) == 1


def test_what_a_lost_claim_holds_is_due_again_after_the_lease(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the database goes away after it committed a claim, and before it says so."""
    claim, lost = credits.QUEUE.claim, threading.Event()

    def lose(connection: Conn, destination: str, *, limit: int, seconds: float) -> list[Credit]:
        claimed = claim(connection, destination, limit=limit, seconds=seconds)
        if claimed and not lost.is_set():
            lost.set()
            connection.commit()
            raise psycopg.OperationalError("the server closed the connection")
        return claimed

    monkeypatch.setattr(credits.QUEUE, "claim", lose)
    buy(database)
    with dispatching(database, LEDGER_MODE):
        until(lost.is_set)
        (held,) = rows(database, "pending", "venice")
        with database.transaction() as connection:
            now = orders.clock(connection)
        assert timedelta(seconds=5) < held["due_at"] - now <= timedelta(seconds=15)
        make_due(database)
        until(lambda: rows(database, "delivered", "venice"))


def test_renewal_leaves_what_was_overtaken_or_has_ended(database: Database) -> None:
    buy(database, "one")
    buy(database, "two")
    with database.transaction() as connection:
        ended, overtaken = credits.QUEUE.claim(connection, "venice", limit=5, seconds=0)
        credits.QUEUE.settle(connection, ended, DeliveryState.DELIVERED)
    with database.transaction() as connection:
        (again,) = credits.QUEUE.claim(connection, "venice", limit=5, seconds=60)
    before = rows(database, None, "venice")
    with database.transaction() as connection:
        credits.QUEUE.renew(connection, [ended, overtaken], 3600)
    assert rows(database, None, "venice") == before
    with database.transaction() as connection:
        credits.QUEUE.renew(connection, [again], 3600)
    (pending,) = rows(database, "pending", "venice")
    assert pending["due_at"] > next(row for row in before if row["id"] == again.id)["due_at"]
