"""The outbox: outgoing deliveries, a row each, worked through by any number of dispatchers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from psycopg.types.json import Jsonb

from cascade.db.database import Conn, Row
from cascade.db.delivery_queue import DeliveryQueue, Filter
from cascade.domain.deliveries import Delivery, DeliveryState
from cascade.domain.money import DUCAT, Money


def _delivery(row: Row) -> Delivery:
    handed = row["handed_units"]
    return Delivery(
        **{**_without(row, "handed_units"), "handed": None if handed is None else Money(DUCAT, int(handed))}
    )


def _without(row: Row, name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


QUEUE: Final = DeliveryQueue(
    "outbox",
    "outbox_attempts",
    """o.payload, o.handed_units, o.sent_number,
        extract(epoch FROM clock_timestamp() - o.sent_at)::float AS sent_seconds""",
    _delivery,
)


def enqueue(
    connection: Conn, destination: str, citizen_id: str, order_id: str, reference: str, payload: Mapping[str, Any]
) -> None:
    """Enqueue a delivery, in the transaction of what it tells.

    Raises:
        psycopg.errors.UniqueViolation: the same was enqueued before.
    """
    connection.execute(
        "INSERT INTO outbox (destination, citizen_id, order_id, reference, payload) VALUES (%s, %s, %s, %s, %s)",
        (destination, citizen_id, order_id, reference, Jsonb(dict(payload))),
    )


def note_handed(connection: Conn, delivery: Delivery, handed: Money | None) -> None:
    """Note what has left our ledger for a credit; None: nothing, or it came back."""
    connection.execute(
        "UPDATE outbox SET handed_units = %s, sent_at = NULL, sent_number = NULL WHERE id = %s",
        (handed and handed.units, delivery.id),
    )


def note_sent(connection: Conn, delivery: Delivery) -> bool:
    """Note that a credit is about to be sent. False when this try was overtaken: then nothing may be sent."""
    sent = connection.execute(
        "UPDATE outbox SET sent_at = clock_timestamp(), sent_number = attempts"
        " WHERE id = %s AND attempts = %s AND state = 'pending'",
        (delivery.id, delivery.attempts),
    )
    return sent.rowcount == 1


def replay(connection: Conn, wanted: Filter) -> int:
    """Let parked deliveries be tried again as if for the first time. Returns how many."""
    # Of what was unclear the operator has seen that Venice did not do it.
    return QUEUE.replay(
        connection,
        wanted,
        """, sent_at = CASE WHEN o.problem = 'unclear' THEN NULL ELSE o.sent_at END,
            sent_number = CASE WHEN o.problem = 'unclear' THEN NULL ELSE o.sent_number END""",
    )


def redeliver(connection: Conn, delivery_id: int) -> bool:
    """Deliver once more what a webhook endpoint had accepted. False when there is no such delivery."""
    again = connection.execute(
        "UPDATE outbox SET state = 'pending', settled_at = NULL, due_at = clock_timestamp(), tried_since = NULL"
        " WHERE id = %s AND state = 'delivered' AND starts_with(destination, 'webhook:')",
        (delivery_id,),
    )
    connection.execute("NOTIFY cascade_outbox")
    return again.rowcount == 1


def credit_states(connection: Conn, order_id: str) -> list[DeliveryState]:
    """Return how the credits of an order to Venice stand."""
    rows = connection.execute("SELECT state FROM outbox WHERE order_id = %s AND destination = 'venice'", (order_id,))
    return [DeliveryState(row["state"]) for row in rows.fetchall()]


def prune(connection: Conn, days: int) -> int:
    """Forget what was delivered longer ago than this; what waits or is parked stays. Returns how many."""
    return connection.execute(
        "DELETE FROM outbox WHERE state IN ('delivered', 'void') AND destination <> 'venice'"
        " AND settled_at < now() - %s * interval '1 day'",
        (days,),
    ).rowcount
