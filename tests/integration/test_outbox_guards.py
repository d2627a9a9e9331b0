"""What the database itself holds of events and deliveries, against rivals and careless clients."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import errors

from cascade.db import card_attempts, credits, order_events, outbox
from cascade.db.database import Database
from cascade.domain.card_payments import CardEvidence, CardIntent, IntentStatus
from cascade.domain.money import DUCAT, Money
from cascade.domain.order_events import EventType
from cascade.services.booking import book_payment
from cascade.services.checkout import emit_card_events, expire_orders
from cascade.services.order_events import record
from tests.support.concurrency import run_concurrently
from tests.support.delivery import rows
from tests.support.purchases import confirmed, open_order


def numbers(database: Database, order_id: str) -> list[int]:
    with database.transaction() as connection:
        found = connection.execute("SELECT number FROM order_events WHERE order_id = %s ORDER BY number", (order_id,))
        return [row["number"] for row in found.fetchall()]


def test_the_same_event_is_recorded_once_and_enqueues_nothing_again(database: Database) -> None:
    order = open_order(database).order
    for _ in range(2):
        with database.transaction() as connection:
            record(connection, order, EventType.PAYMENT_FAILED, "evt_1", {"code": "card_declined"})
    assert numbers(database, order.id) == [1, 2]
    assert len(rows(database, destination="message")) == 1
    with pytest.raises(errors.UniqueViolation), database.transaction() as connection:
        connection.execute(
            "INSERT INTO order_events (order_id, number, type, key, data)"
            " VALUES (%s, 9, 'payment.failed', 'evt_1', '{}')",
            (order.id,),
        )


def test_rivals_number_an_orders_events_without_a_gap(database: Database) -> None:
    order = open_order(database).order

    def tell(number: int) -> None:
        with database.transaction() as connection:
            order_events.append(connection, order.id, EventType.PAYMENT_FAILED, f"evt_{number}", {})

    run_concurrently(8, tell)
    assert numbers(database, order.id) == list(range(1, 10))


def test_cards_that_are_refused_at_the_same_moment_are_both_told_of(database: Database) -> None:
    """How an intent stands is noted before it is told: what was noted refers to the order, and keeps nobody from it."""
    order = open_order(database).order
    declined = [CardIntent(f"pi_{i}", order.id, IntentStatus.REQUIRES_PAYMENT_METHOD, "card_declined") for i in (1, 2)]
    with database.transaction() as first, database.transaction() as second:
        for number, (connection, intent) in enumerate(zip((first, second), declined, strict=True), 1):
            connection.execute("SET LOCAL lock_timeout = '1s'")
            card_attempts.save_evidence(connection, number, CardEvidence(intent, None, (), (), frozenset()))
        emit_card_events(first, declined[0], ["evt_1"])
        first.commit()
        emit_card_events(second, declined[1], ["evt_2"])
    assert numbers(database, order.id) == [1, 2, 3]


@pytest.mark.parametrize("change", ["UPDATE order_events SET data = '{}'", "DELETE FROM order_events"])
def test_what_was_told_cannot_be_changed(database: Database, change: str) -> None:
    open_order(database)
    with pytest.raises(errors.IntegrityError, match="append-only"), database.transaction() as connection:
        connection.execute(change.encode())


def test_a_delivery_is_enqueued_once(database: Database) -> None:
    order = open_order(database).order
    with database.transaction() as connection:
        outbox.enqueue(connection, "message", order.citizen_id, order.id, "evt_1", {})
    with pytest.raises(errors.UniqueViolation), database.transaction() as connection:
        outbox.enqueue(connection, "message", order.citizen_id, order.id, "evt_1", {})


def test_a_credit_is_enqueued_once(database: Database) -> None:
    order = open_order(database).order
    event: Any = {"event_type": EventType.ORDER_FULFILLED, "event_key": "chain:137:1:1", "event_data": {}}
    booked = (order.citizen_id, order.id, "chain:137:1:1")
    with database.transaction() as connection:
        credits.enqueue(connection, *booked, ducats=Money(DUCAT, 1), **event)
    with pytest.raises(errors.UniqueViolation), database.transaction() as connection:
        credits.enqueue(connection, *booked, ducats=Money(DUCAT, 1), **event)
    with pytest.raises(errors.CheckViolation), database.transaction() as connection:
        credits.enqueue(connection, order.citizen_id, order.id, "chain:137:1:2", ducats=Money(DUCAT, 0), **event)


def test_two_dispatchers_never_take_the_same_delivery(database: Database) -> None:
    order = open_order(database).order
    with database.transaction() as connection:
        outbox.enqueue(connection, "message", order.citizen_id, order.id, "evt_1", {})
    with database.transaction() as first:
        assert len(outbox.QUEUE.claim(first, "message", limit=5, seconds=60)) == 1
        with database.transaction() as second:  # does not wait either
            second.execute("SET LOCAL lock_timeout = '1s'")
            assert outbox.QUEUE.claim(second, "message", limit=5, seconds=60) == []
    with database.transaction() as third:
        assert outbox.QUEUE.claim(third, "message", limit=5, seconds=60) == []


def test_neither_a_paid_order_nor_one_that_can_still_be_paid_expires(database: Database) -> None:
    paid, begun, over = open_order(database), open_order(database), open_order(database)
    with database.transaction() as connection:
        book_payment(connection, confirmed(paid.terms[0]))
        connection.execute("UPDATE orders SET expiry_due = now() - interval '1 hour' WHERE expiry_due IS NOT NULL")
        connection.execute(
            "INSERT INTO card_attempts (order_id, flow, number, payable_until)"
            " VALUES (%s, 'checkout_session', 1, now() + interval '10 minutes')",
            (begun.order.id,),
        )
    with database.transaction() as connection:
        assert expire_orders(connection, seconds=30) == 1
        expired = connection.execute("SELECT order_id FROM order_events WHERE type = 'order.expired'").fetchall()
        assert expired == [{"order_id": over.order.id}]


def test_a_payment_that_was_seen_keeps_its_order_from_expiring(database: Database) -> None:
    view = open_order(database)
    with database.transaction() as connection:
        connection.execute("UPDATE orders SET expiry_due = now() - interval '1 hour'")
        connection.execute(
            "INSERT INTO chain_cursors (stream, height, hash, finalized_height, finalized_at)"
            " VALUES ('chain', 1, %(hash)s, 1, now())",
            {"hash": b"\1" * 32},
        )
        connection.execute(
            "INSERT INTO chain_sightings VALUES ('chain', %(id)s, 2, 0, %(hash)s, %(hash)s)",
            {"id": view.terms[0].on_chain_order_id, "hash": b"\2" * 32},
        )
        assert expire_orders(connection, seconds=30) == 0
