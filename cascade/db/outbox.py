"""The outbox: outgoing messages about events, a row each, worked through by any number of dispatchers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from psycopg.types.json import Jsonb

from cascade.db.database import Conn
from cascade.db.delivery_queue import DeliveryQueue
from cascade.domain.delivery_states import OutboxMessage

QUEUE: Final = DeliveryQueue("outbox", "outbox_attempts", "o.payload", lambda row: OutboxMessage(**row))


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


def redeliver(connection: Conn, delivery_id: int) -> bool:
    """Deliver once more what a webhook endpoint had accepted. False when there is no such delivery."""
    again = connection.execute(
        "UPDATE outbox SET state = 'pending', settled_at = NULL, due_at = clock_timestamp(), tried_since = NULL"
        " WHERE id = %s AND state = 'delivered' AND starts_with(destination, 'webhook:')",
        (delivery_id,),
    )
    connection.execute("NOTIFY cascade_outbox")
    return again.rowcount == 1


def prune(connection: Conn, days: int) -> int:
    """Forget what was delivered longer ago than this; what waits or is parked stays. Returns how many."""
    return connection.execute(
        "DELETE FROM outbox WHERE state IN ('delivered', 'void') AND settled_at < now() - %s * interval '1 day'",
        (days,),
    ).rowcount
