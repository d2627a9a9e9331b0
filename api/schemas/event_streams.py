"""What goes over the wire of streams: Server-Sent Events, https://html.spec.whatwg.org/#server-sent-events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from api.schemas.economics import CascadeOut
from api.schemas.purchases import Body
from cascade.db.event_streams import CityNews
from cascade.db.events import Notification
from cascade.domain.events import EventType, OrderEvent
from cascade.domain.rates import Rate
from cascade.services.pricing import city_state

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


def message(item: OrderEvent | Notification | CityNews, start: Rate) -> bytes:
    """Return an event, a notification or the city as one message. JSON holds no line break, so it is one line of data.

    Args:
        item: what is told.
        start: the rate before the first tick.
    """
    if isinstance(item, CityNews):
        city = CascadeOut.of(city_state(item.pulse), item.rate or start, item.tick)
        return _message(item.number, "cascade", city)
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


def _message(number: int, kind: str, data: Body) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {data.model_dump_json()}\n\n".encode()
