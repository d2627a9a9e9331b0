"""Requests and answers about notifications."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.purchases import Body
from cascade.app import App
from cascade.db.order_events import Notification
from cascade.domain.order_events import EventType


class InboxQuery(BaseModel):
    """Which part of an inbox. A misspelt name is refused: it would otherwise mean the whole inbox."""

    model_config = ConfigDict(extra="forbid")

    before: Annotated[int | None, Field(ge=1, le=2**31 - 1, description="Read on: only smaller numbers")] = None
    unread: Annotated[bool, Field(description="Only those that were not marked as read")] = False
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class NotificationOut(Body):
    """A notification that a citizen got once, in words and as data."""

    number: Annotated[int, Field(description="1, 2, ... of this citizen")]
    type: EventType
    order_id: str
    title: str
    body: str
    data: Annotated[dict[str, Any], Field(description="Amounts are plain decimals")]
    occurred_at: datetime
    read_at: datetime | None

    @classmethod
    def of(cls, notification: Notification, app: App, accept_language: str | None) -> NotificationOut:
        """Return a notification in the reader's language, or else in the operator's."""
        event = notification.event
        text = app.write(event.type, event.data, accept_language)
        return cls(
            number=notification.number,
            type=event.type,
            order_id=event.order_id,
            title=text.title,
            body=text.body,
            data=dict(event.data),
            occurred_at=event.occurred_at,
            read_at=notification.read_at,
        )


class NotificationsOut(Body):
    """A page of a citizen's inbox."""

    notifications: list[NotificationOut]
    unread: Annotated[int, Field(description="In the whole inbox")]


class ReadIn(BaseModel):
    """Up to which number everything was read."""

    until: Annotated[int, Field(ge=1, le=2**31 - 1)]


class ReadOut(Body):
    """The number of notifications that were marked now, and of those that are left."""

    marked: int
    unread: int
