"""Messages of streams: Server-Sent Events, https://html.spec.whatwg.org/#server-sent-events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from api.schemas.economics import CascadeOut
from api.schemas.purchases import Body
from cascade.db.order_events import Notification
from cascade.domain.ducat_rate import Rate
from cascade.domain.order_events import EventType, OrderEvent
from cascade.rate.city_state import CityNews, city_state

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
    """Return an event or a notification as one message. JSON holds no line break, so it is one line of data."""
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
    return _message(item.number, event.type, data)


def city_message(city: CityNews, start: Rate) -> bytes:
    """Return the city as one message.

    Args:
        city: as it is now.
        start: the rate before the first tick.
    """
    return _message(city.number, "cascade", CascadeOut.of(city_state(city.pulse), city.rate or start, city.tick))


def _message(number: int, kind: str, data: Body) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {data.model_dump_json()}\n\n".encode()
