"""What goes over the wire of streams: Server-Sent Events, https://html.spec.whatwg.org/#server-sent-events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from api.schemas import Body
from cascade.domain.events import EventType, OrderEvent
from cascade.store.events import Notification

RETRY = b"retry: 2000\n\n"
"""After how many milliseconds a reader comes back when a stream has ended."""
ALIVE = b": alive\n\n"
"""A comment: readers pass over it, and proxies see that the connection is in use."""


class EventOut(Body):
    """The data of a message."""

    type: EventType
    occurred_at: datetime
    data: dict[str, Any]


class NotificationEventOut(EventOut):
    """The data of a message to a citizen."""

    number: int
    read: bool


def message(item: OrderEvent | Notification) -> bytes:
    """An event or a notification as one message. JSON holds no line break, so it is one line of data."""
    if isinstance(item, OrderEvent):
        event, data = item, EventOut(type=item.type, occurred_at=item.occurred_at, data=dict(item.data))
    else:
        event = item.event
        data = NotificationEventOut(
            type=event.type,
            occurred_at=event.occurred_at,
            data=dict(event.data),
            number=item.number,
            read=item.read_at is not None,
        )
    return f"id: {item.number}\nevent: {event.type}\ndata: {data.model_dump_json()}\n\n".encode()
