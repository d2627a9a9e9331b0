"""Credits: ducats that bookings owe citizens in Venice, a row each, and how far each has come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from psycopg.types.json import Jsonb

from cascade.db.database import Conn, Row
from cascade.db.delivery_queue import DeliveryQueue, Filter
from cascade.domain.credits import Credit
from cascade.domain.delivery_states import VENICE, DeliveryState
from cascade.domain.money import DUCAT, Money
from cascade.domain.order_events import EventType


def _credit(row: Row) -> Credit:
    columns = dict(row)
    ducats, handed = columns.pop("ducat_units"), columns.pop("handed_units")
    return Credit(
        **columns
        | {
            "event_type": EventType(row["event_type"]),
            "ducats": Money(DUCAT, int(ducats)),
            "handed": None if handed is None else Money(DUCAT, int(handed)),
        }
    )


QUEUE: Final = DeliveryQueue(
    "credits",
    "credit_attempts",
    """o.ducat_units, o.event_type, o.event_key, o.event_data, o.handed_units, o.sent_number,
        extract(epoch FROM clock_timestamp() - o.sent_at)::float AS sent_seconds""",
    _credit,
    destination=VENICE,
)


def enqueue(
    connection: Conn,
    citizen_id: str,
    order_id: str,
    reference: str,
    *,
    ducats: Money,
    event_type: EventType,
    event_key: str,
    event_data: Mapping[str, Any],
) -> None:
    """Enqueue a credit, in the transaction of the booking that owes it.

    Args:
        connection: everything is written in its transaction.
        citizen_id: Venice's username.
        order_id: the order it belongs to.
        reference: of the payment or the reversal that brought the ducats.
        ducats: what is due.
        event_type: of the event that is recorded once the credit is confirmed.
        event_key: of that event.
        event_data: of that event.

    Raises:
        psycopg.errors.UniqueViolation: the same was enqueued before.
    """
    connection.execute(
        "INSERT INTO credits (citizen_id, order_id, reference, ducat_units, event_type, event_key, event_data)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (citizen_id, order_id, reference, ducats.units, event_type, event_key, Jsonb(dict(event_data))),
    )


def states_of_order(connection: Conn, order_id: str) -> list[DeliveryState]:
    """Return how the credits of an order stand."""
    rows = connection.execute("SELECT state FROM credits WHERE order_id = %s", (order_id,))
    return [DeliveryState(row["state"]) for row in rows.fetchall()]


def note_handed(connection: Conn, credit: Credit, handed: Money | None) -> None:
    """Note what has left our ledger for a credit; None: nothing, or it came back."""
    connection.execute(
        "UPDATE credits SET handed_units = %s, sent_at = NULL, sent_number = NULL WHERE id = %s",
        (handed and handed.units, credit.id),
    )


def note_sent(connection: Conn, credit: Credit) -> bool:
    """Note that a credit is about to be sent. False when this try was overtaken: then nothing may be sent."""
    sent = connection.execute(
        "UPDATE credits SET sent_at = clock_timestamp(), sent_number = attempts"
        " WHERE id = %s AND attempts = %s AND state = 'pending'",
        (credit.id, credit.attempts),
    )
    return sent.rowcount == 1


def replay(connection: Conn, wanted: Filter) -> int:
    """Let parked credits be tried again as if for the first time. Returns how many."""
    # Of what was unclear the operator has seen that Venice did not do it.
    return QUEUE.replay(
        connection,
        wanted,
        """, sent_at = CASE WHEN o.problem = 'unclear' THEN NULL ELSE o.sent_at END,
            sent_number = CASE WHEN o.problem = 'unclear' THEN NULL ELSE o.sent_number END""",
    )
