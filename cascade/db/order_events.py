"""Events of orders, and what citizens were told of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from cascade.db.database import Conn, Row
from cascade.domain.order_events import EventType, OrderEvent


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification of a citizen; ``number`` is 1, 2, ... of this citizen."""

    citizen_id: str
    number: int
    event: OrderEvent
    read_at: datetime | None


def append(connection: Conn, order_id: str, kind: EventType, key: str, data: Mapping[str, Any]) -> OrderEvent | None:
    """Append an event to an order's life; the order stays locked until the transaction ends.

    Args:
        connection: the event is stored in its transaction.
        order_id: of a stored order.
        kind: what happened.
        key: what it is about, e.g. a payment's reference: of one thing it is told once.
        data: what is told.

    Returns:
        The event; None when it was told before.
    """
    connection.execute("SELECT FROM orders WHERE id = %s FOR NO KEY UPDATE", (order_id,))
    row = connection.execute(
        "INSERT INTO order_events (order_id, number, type, key, data)"
        " SELECT %(order)s, coalesce(max(number), 0) + 1, %(type)s, %(key)s, %(data)s FROM order_events"
        " WHERE order_id = %(order)s ON CONFLICT (order_id, type, key) DO NOTHING"
        " RETURNING order_id, number, type, occurred_at, data",
        {"order": order_id, "type": kind, "key": key, "data": Jsonb(dict(data))},
    ).fetchone()
    return event_of(row) if row else None


def newest(connection: Conn, order_id: str) -> int:
    """Return the number of an order's newest event; 0 when it has none."""
    row = connection.execute(
        "SELECT coalesce(max(number), 0) AS newest FROM order_events WHERE order_id = %s", (order_id,)
    ).fetchone()
    return int(row["newest"]) if row else 0


def notify(connection: Conn, citizen_id: str, event: OrderEvent) -> None:
    """Put an event into a citizen's inbox.

    Raises:
        psycopg.errors.UniqueViolation: it is there.
    """
    row = connection.execute(
        "INSERT INTO notification_counters AS c (citizen_id, last) VALUES (%s, 1)"
        " ON CONFLICT (citizen_id) DO UPDATE SET last = c.last + 1 RETURNING last",
        (citizen_id,),
    ).fetchone()
    assert row is not None  # noqa: S101 - inserted or updated
    connection.execute(
        "INSERT INTO notifications (citizen_id, number, order_id, event_number) VALUES (%s, %s, %s, %s)",
        (citizen_id, row["last"], event.order_id, event.number),
    )


def inbox(connection: Conn, citizen_id: str, *, before: int | None, unread: bool, limit: int) -> list[Notification]:
    """Return a citizen's notifications, the newest first.

    Args:
        connection: where they are read.
        citizen_id: whose.
        before: only those with a smaller number, to read on; None for the newest.
        unread: only those that were not marked as read.
        limit: most to return.
    """
    rows = connection.execute(
        "SELECT n.citizen_id, n.number AS of_citizen, n.read_at, e.* FROM notifications n"
        " JOIN order_events e ON (e.order_id, e.number) = (n.order_id, n.event_number)"
        " WHERE n.citizen_id = %(citizen)s AND (%(before)s::int IS NULL OR n.number < %(before)s)"
        " AND (NOT %(unread)s OR n.read_at IS NULL) ORDER BY n.number DESC LIMIT %(limit)s",
        {"citizen": citizen_id, "before": before, "unread": unread, "limit": limit},
    ).fetchall()
    return [notification_of(row) for row in rows]


def unread(connection: Conn, citizen_id: str) -> int:
    """Return how many notifications a citizen has not marked as read."""
    row = connection.execute(
        "SELECT count(*) AS unread FROM notifications WHERE citizen_id = %s AND read_at IS NULL", (citizen_id,)
    ).fetchone()
    return int(row["unread"]) if row else 0


def mark_read(connection: Conn, citizen_id: str, until: int) -> int:
    """Mark a citizen's notifications up to a number as read. Returns how many were not yet."""
    return connection.execute(
        "UPDATE notifications SET read_at = now() WHERE citizen_id = %s AND number <= %s AND read_at IS NULL",
        (citizen_id, until),
    ).rowcount


def event_of(row: Row) -> OrderEvent:
    """Return the event in a row of ``order_events``."""
    return OrderEvent(row["order_id"], row["number"], EventType(row["type"]), row["occurred_at"], row["data"])


def notification_of(row: Row) -> Notification:
    """Return the notification in a row of ``order_events`` with ``citizen_id``, ``of_citizen`` and ``read_at``."""
    return Notification(row["citizen_id"], row["of_citizen"], event_of(row), row["read_at"])
