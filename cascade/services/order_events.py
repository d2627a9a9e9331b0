"""Record what happens to an order, once, and with it every delivery that it causes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cascade.db import order_events, orders, outbox, receipt_contacts, webhook_endpoints
from cascade.db.database import Conn
from cascade.domain.delivery_states import EMAIL, MESSAGE, webhook
from cascade.domain.order_events import EventType, OrderEvent, order_data
from cascade.domain.orders import Order


def record(
    connection: Conn,
    order: Order,
    kind: EventType,
    key: str,
    data: Mapping[str, Any] | None = None,
    *,
    notify: bool = True,
) -> OrderEvent | None:
    """Record an event and enqueue its deliveries. The same event again is a no-op.

    Args:
        connection: everything is written in its transaction; the order stays locked until its end.
        order: whose life it belongs to.
        kind: what happened.
        key: what it is about, e.g. a payment's reference: of one thing it is told once.
        data: what is told beside the order's own data; amounts are plain decimals as text.
        notify: tell the citizen as well, not only those who watch the order.

    Returns:
        The event; None when it was recorded before.
    """
    event = order_events.append(connection, order.id, kind, key, {**order_data(order), **(data or {})})
    if event is None:
        return None
    message = {
        "type": event.type,
        "timestamp": f"{event.occurred_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "data": {"citizen_id": order.citizen_id, **event.data},
    }
    for endpoint in webhook_endpoints.listening(connection, kind):
        outbox.enqueue(connection, webhook(endpoint), order.citizen_id, order.id, event.id, message)
    if not notify or not kind.is_told_to_citizen:
        return event
    order_events.notify(connection, order.citizen_id, event)
    letter = {**message, "language": orders.language_of(connection, order.id)}
    outbox.enqueue(connection, MESSAGE, order.citizen_id, order.id, event.id, letter)
    if kind.is_mailed:
        address = receipt_contacts.email_of(connection, order.id)
        if address is not None:
            outbox.enqueue(connection, EMAIL, order.citizen_id, order.id, event.id, {**letter, "to": address})
    return event
